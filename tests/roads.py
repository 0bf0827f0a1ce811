"""Rules and mixers on uploads that are shared over devices, and NumPy in float64 to compare them with."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from jaxfed.core.uploads import Uploads

FULL = (jax.lax.Precision.HIGHEST,) * 2  # of a product of which no factor is rounded


class Aggregated(NamedTuple):
    """What a rule answered, as whole arrays."""

    update: np.ndarray
    aux: np.ndarray
    state: Any
    metrics: dict[str, np.ndarray]


def aggregate(
    x: Any,
    *parts: Any,
    weights: Any = None,
    aux: Any = None,
    state: Any = None,
    devices: int = 1,
    seed: int = 0,
) -> Aggregated:
    """Mixers and a rule on ``x [K, N]``, whose columns are shared over so many devices."""
    *mixers, rule = parts
    x = np.asarray(x, np.float32)
    clients, size = x.shape
    weights = np.ones(clients, np.float32) if weights is None else np.asarray(weights, np.float32)
    aux = np.zeros((clients, 0), np.float32) if aux is None else np.asarray(aux, np.float32)
    state = rule.init(jnp.zeros(size)) if state is None else jnp.asarray(state, jnp.float32)
    padded = np.pad(np.where(weights[:, None] > 0, x, 0), ((0, 0), (0, -size % devices)))
    aux = np.where(weights[:, None] > 0, aux, 0)
    result = _program(size, devices)(padded, aux, weights, tuple(mixers), rule, state, jax.random.key(seed))
    return Aggregated(*jax.tree.map(np.asarray, result))


def aggregate_each(
    x: Any, roads: dict[str, tuple[Any, ...]], weights: Any = None, devices: int = 1, seed: int = 0
) -> dict[str, Aggregated]:
    """As :func:`aggregate` for many roads in one program, with extras that are the first two columns."""
    x = np.asarray(x, np.float32)
    clients, size = x.shape
    weights = np.ones(clients, np.float32) if weights is None else np.asarray(weights, np.float32)
    x = np.where(weights[:, None] > 0, x, 0)
    padded = np.pad(x, ((0, 0), (0, -size % devices)))
    results = _programs(size, devices)(padded, x[:, :2], weights, roads, jax.random.key(seed))
    return {name: Aggregated(*jax.tree.map(np.asarray, result)) for name, result in results.items()}


@functools.lru_cache
def _programs(size: int, devices: int) -> Callable[..., Any]:
    def device(matrix: Any, aux: Any, weights: Any, roads: Any, key: Any) -> dict[str, Any]:
        results, first = {}, Uploads(matrix, aux, weights, size, "devices")
        for name, (*mixers, rule) in roads.items():
            uploads = first
            for i, mixer in enumerate(mixers):
                uploads = mixer.apply(uploads, jax.random.fold_in(key, i))
            result, state, metrics = rule.reduce(uploads, rule.init(jnp.zeros(size)), key)
            results[name] = uploads.whole(result.update), result.aux, state, metrics
        return results

    mesh, everywhere = Mesh(np.array(jax.devices()[:devices]), ("devices",)), PartitionSpec()
    specs = (PartitionSpec(None, "devices"), *[everywhere] * 4)
    return jax.jit(jax.shard_map(device, mesh=mesh, in_specs=specs, out_specs=everywhere, check_vma=False))


@functools.lru_cache
def _program(size: int, devices: int) -> Callable[..., Any]:
    def device(
        matrix: Any, aux: Any, weights: Any, mixers: Any, rule: Any, state: Any, key: Any
    ) -> tuple[Any, ...]:
        uploads = Uploads(matrix, aux, weights, size, "devices")
        for i, mixer in enumerate(mixers):
            uploads = mixer.apply(uploads, jax.random.fold_in(key, i))
        result, state, metrics = rule.reduce(uploads, state, key)
        return uploads.whole(result.update), result.aux, state, metrics

    mesh, everywhere = Mesh(np.array(jax.devices()[:devices]), ("devices",)), PartitionSpec()
    specs = (PartitionSpec(None, "devices"), *[everywhere] * 6)
    return jax.jit(jax.shard_map(device, mesh=mesh, in_specs=specs, out_specs=everywhere, check_vma=False))


def precisions(jaxpr: Any) -> set[Any]:
    """The precisions of all products in a traced program."""
    found = set()
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            found.add(eqn.params["precision"])
        for value in eqn.params.values():
            for body in value if isinstance(value, tuple) else (value,):
                body = getattr(body, "jaxpr", body)
                if hasattr(body, "eqns"):
                    found |= precisions(body)
    return found


def mixed(x: Any, *mixers: Any, weights: Any = None, seed: int = 0) -> Uploads:
    """``x [K, N]`` after mixers, on one device."""
    x = np.asarray(x, np.float32)
    weights = jnp.ones(len(x)) if weights is None else jnp.asarray(weights, jnp.float32)
    uploads = Uploads(jnp.where(weights[:, None] > 0, x, 0), jnp.zeros((len(x), 0)), weights)
    for i, mixer in enumerate(mixers):
        uploads = mixer.apply(uploads, jax.random.fold_in(jax.random.key(seed), i))
    return uploads


def squared_distances(x: np.ndarray) -> np.ndarray:
    """``[K, K]``, pair by pair."""
    x = np.asarray(x, np.float64)
    return np.array([[((a - b) ** 2).sum() for b in x] for a in x])


def krum_order(x: np.ndarray, f: int) -> np.ndarray:
    """Uploads from the least score of Krum to the largest."""
    count = len(x) - f - 2
    far = squared_distances(x)
    scores = [np.sort(np.delete(far[i], i))[:count].sum() for i in range(len(x))]
    return np.argsort(scores, kind="stable")


def nearest_means(x: np.ndarray, f: int) -> np.ndarray:
    """Nearest-neighbour mixing."""
    x = np.asarray(x, np.float64)
    nearest = [np.argsort(row, kind="stable")[: len(x) - f] for row in squared_distances(x)]
    return np.array([x[near].mean(0) for near in nearest])


def geometric_median(x: np.ndarray, weights: np.ndarray, steps: int = 20_000) -> np.ndarray:
    """Weiszfeld's iteration, until nothing moves."""
    x = np.asarray(x, np.float64)
    z = np.average(x, axis=0, weights=weights)
    for _ in range(steps):
        parts = weights / np.maximum(np.linalg.norm(x - z, axis=1), 1e-12)
        z = parts @ x / parts.sum()
    return z


def centred_clipping(x: np.ndarray, v: np.ndarray, tau: float, steps: int) -> np.ndarray:
    """Centred clipping from v."""
    x, v = np.asarray(x, np.float64), np.asarray(v, np.float64)
    for _ in range(steps):
        moves = [(u - v) * min(1, tau / max(np.linalg.norm(u - v), 1e-300)) for u in x]
        v = v + np.mean(moves, axis=0)
    return v


def trimmed_mean(x: np.ndarray, trim: float) -> np.ndarray:
    """The mean without the share ``trim`` at each end."""
    out = int(np.floor(trim * len(x) + 1e-9))
    return np.sort(np.asarray(x, np.float64), axis=0)[out : len(x) - out].mean(axis=0)
