"""Variables in two parts: one that stays in the hospital, and one that is shared.

A mask is a tree of Python bools shaped like the variables. The two parts have the structure of the
whole, with None (an empty subtree) where the other part is.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar

import jax
import optax
from jax import Array

from jaxfed.algorithms.server import Averaging, Server, begin
from jaxfed.core import tree
from jaxfed.core.local import LocalTraining
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Metrics, PyTree, Shard, Upload, Variables


def named(variables: Variables, names: str | tuple[str, ...]) -> Variables:
    """A mask of the leaves below a module (or parameter) of one of these names, such as ``"head"``."""
    wanted = {names} if isinstance(names, str) else set(names)
    return jax.tree_util.tree_map_with_path(lambda path, _: not wanted.isdisjoint(_keys(path)), variables)


def missing(variables: Variables, names: str | tuple[str, ...]) -> list[str]:
    """A message for every name that the model does not have."""
    found = [_keys(path) for path, _ in jax.tree_util.tree_leaves_with_path(variables.params)]
    wanted = (names,) if isinstance(names, str) else names
    there = ", ".join(dict.fromkeys(keys[0] for keys in found if keys))
    return [
        f"head={names!r}: the model has no part {name!r}; give some of {there}"
        for name in wanted
        if not any(name in keys for keys in found)
    ]


def norms(variables: Variables) -> Variables:
    """A mask of all ``stats``, and of the ``params`` of normalisation layers.

    These are the modules that have statistics, and those whose parameters are a ``scale`` and perhaps a
    ``bias``, and nothing else (layer norm, group norm).
    """
    modules: dict[tuple[str, ...], set[str]] = {}
    for path, _ in jax.tree_util.tree_leaves_with_path(variables.params):
        modules.setdefault(_keys(path)[:-1], set()).add(_keys(path)[-1])
    counted = {_keys(path)[:-1] for path, _ in jax.tree_util.tree_leaves_with_path(variables.stats)}
    counted |= {keys[1:] for keys in counted if len(keys) > 1}  # linen has the collection's name in front
    norm = {
        module
        for module, own in modules.items()
        if module in counted or {"scale"} <= own <= {"scale", "bias"}
    }
    params = jax.tree_util.tree_map_with_path(lambda path, _: _keys(path)[:-1] in norm, variables.params)
    return Variables(params, jax.tree.map(lambda _: True, variables.stats))


def split(variables: Variables, mask: Variables) -> tuple[Variables, Variables]:
    """The part where ``mask`` is true, and the rest."""
    chosen = jax.tree.map(lambda here, leaf: leaf if here else None, mask, variables)
    return chosen, jax.tree.map(lambda here, leaf: None if here else leaf, mask, variables)


def merge(chosen: Variables, rest: Variables) -> Variables:
    """The whole of two parts."""
    return jax.tree.map(lambda a, b: b if a is None else a, chosen, rest, is_leaf=lambda leaf: leaf is None)


def freeze(local: LocalTraining, frozen: PyTree) -> LocalTraining:
    """Local training that leaves the ``params`` where ``frozen`` is true as they are."""
    assert local.optimizer is not None, "validated by Simulation"
    inner = local.optimizer

    def factory(**arguments: Any) -> optax.GradientTransformation:
        return optax.chain(inner.factory(**arguments), optax.masked(optax.set_to_zero(), frozen))

    return dataclasses.replace(local, optimizer=dataclasses.replace(inner, factory=factory))


@pytree
@dataclasses.dataclass(frozen=True)
class Partial(Averaging):
    """Both parts are trained together, and the shared one is averaged. Abstract: which part is whose."""

    personal: ClassVar[bool] = True

    @abc.abstractmethod
    def mine(self, variables: Variables) -> Variables:
        """A mask of what stays in the hospital."""

    def init(self, variables: Variables, key: Array, clients: int) -> tuple[Server, Variables]:
        """The server has the shared part, each hospital its own copy of the other."""
        own, shared = split(variables, self.mine(variables))
        return begin(self.server_optimizer, shared), own

    def client_update(
        self, local: LocalTraining, server: Server, client: Variables, shard: Shard, key: Array
    ) -> tuple[Upload, Variables, Metrics]:
        """Train the whole; upload the change of the shared part, keep the other."""
        trained = local.train(self.variables(server, client), shard, key)
        own, shared = split(trained.variables, self.mine(trained.variables))
        return Upload(tree.subtract(shared, server.variables)), own, trained.metrics

    def variables(self, server: Server, client: Variables) -> Variables:
        """The shared part with the hospital's own."""
        return merge(client, server.variables)


def _keys(path: tuple[Any, ...]) -> tuple[str, ...]:
    """The names on a path, without that of the field of Variables."""
    keys = tuple(jax.tree_util.keystr((entry,), simple=True) for entry in path)
    return keys[1:] if path and isinstance(path[0], jax.tree_util.GetAttrKey) else keys
