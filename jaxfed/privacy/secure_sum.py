"""Secure aggregation as arithmetic: the mean from a sum of whole numbers modulo 2^R.

    hospital k:  q_k = round(clip(u_k, -bound, bound) / step),    step = bound / (2^(bits - 1) - 1)
                 y_k = w_k q_k + masks                            (mod 2^R)
    server:      update = step (sum_k y_k - masks, read as signed) / sum_k w_k

Bonawitz et al. 2017, doi:10.1145/3133956.3133982, and for fewer masks Bell et al. 2020,
doi:10.1145/3372297.3417885. Sums of whole numbers have no rounding, so that order, blocks, devices and masks
change no bit of the result. The sum must stay below 2^(R - 1): bits of a value and bits of the sum of weights
share the ring.

This part computes what a server would receive. It is no cryptography, and a simulation protects nobody.
"""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

from jaxfed.core import checks
from jaxfed.core.aggregation import Rule
from jaxfed.core.errors import Problems
from jaxfed.core.hyperparameters import Number
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Metrics, PyTree, Upload
from jaxfed.core.uploads import Aggregate, Uploads
from jaxfed.privacy import masks

KEY, SHARE = 32, 48  # bytes of a public key, and of an encrypted share of a secret
ROUNDING, DROPPING, MASKING, LINKING = range(4)  # purposes of the round's key
NEAR = 1e-6  # how far, relatively, rounding moves a whole weight: rows times the mean weight of a row


@pytree
@dataclasses.dataclass(frozen=True)
class SecureSum(Rule):
    """The weighted mean of uploads in fixed point, of which the server sees only the sum.

    A round has no answer, and the server keeps its state, if fewer than ``threshold`` uploads arrive or if
    the sum could leave the ring. The weight of an upload has to be a whole number (n_k, or 1 with
    ``weighting="uniform"``). A hospital that is lost has trained, and what it keeps has changed.

    The engine stores the uploads, ``[K, N / D]`` on each of D devices, as of any rule that is no plain sum.

    Attributes:
        bound: the largest magnitude of a number of an update; may be traced. After ``Clip(bound)`` none is
            larger.
        bits: static; bits of a value with its sign. float32 has 24: more need ``jax_enable_x64``.
        ring: static; R, 32 or 64 bits. 64 needs ``jax_enable_x64``: without it jax would use 32.
        threshold: how many uploads have to arrive, at least 2; may be traced.
        lost: share of the hospitals that is lost after the masks were agreed, in [0, 1); may be traced.
        outside: static; an upload with numbers beyond the bound is sent with these at the bound
            (``"clip"``), or not used (``"refuse"``).
        rounding: static; ``"nearest"``, or ``"stochastic"``, whose mean is the number itself.
        extra_bound: as ``bound``, for an upload's extras (a loss, a count); may be traced.
        masked: static; also compute the masks, which changes no bit and costs K draws per number and
            hospital.
        neighbours: static; with how many others a hospital shares masks, an even number; None for all.
    """

    bound: Number = 1.0
    bits: int = dataclasses.field(default=16, metadata={"static": True})
    ring: int = dataclasses.field(default=32, metadata={"static": True})
    threshold: Number = 2
    lost: Number = 0.0
    outside: Literal["clip", "refuse"] = dataclasses.field(default="clip", metadata={"static": True})
    rounding: Literal["nearest", "stochastic"] = dataclasses.field(
        default="nearest", metadata={"static": True}
    )
    extra_bound: Number = 100.0
    masked: bool = dataclasses.field(default=False, metadata={"static": True})
    neighbours: int | None = dataclasses.field(default=None, metadata={"static": True})
    averages: ClassVar[bool] = True
    hides: ClassVar[bool] = True

    def __post_init__(self) -> None:
        problems = Problems("SecureSum")
        problems.extend(checks.shared("bound", self.bound, above=True))
        problems.extend(checks.shared("extra_bound", self.extra_bound, above=True))
        problems.extend(checks.shared("lost", self.lost, 0, 1, below=True))
        problems.extend(checks.shared_count("bits", self.bits, 2))
        problems.extend(checks.shared_count("threshold", self.threshold, 2))
        problems.check(self.ring in (32, 64), f"ring={self.ring!r}: give 32 or 64")
        for name, known in (("outside", ("clip", "refuse")), ("rounding", ("nearest", "stochastic"))):
            value = getattr(self, name)
            problems.check(value in known, f"{name}={value!r}: give {known[0]!r} or {known[1]!r}")
        even = self.neighbours is None or (
            isinstance(self.neighbours, int) and self.neighbours >= 2 and self.neighbours % 2 == 0
        )
        problems.check(even, f"neighbours={self.neighbours!r}: give an even number >= 2, or None for all")
        problems.raise_if_any()

    @property
    def limit(self) -> int:
        """The largest value in fixed point, 2^(bits - 1) - 1."""
        return 2 ** (int(self.bits) - 1) - 1

    def problems(self, clients: int) -> list[str]:
        """A threshold that is never reached, or numbers that need 64-bit types."""
        problems, threshold = [], checks.known(self.threshold)
        if threshold is not None and threshold > clients:
            problems.append(
                f"threshold={self.threshold} is never reached by {clients} hospitals; "
                + (f"give at most {clients}" if clients >= 2 else "a sum of one upload hides nothing")
            )
        exact, x64 = jnp.finfo(jnp.result_type(float)).nmant + 1, jax.config.jax_enable_x64  # type: ignore[attr-defined]
        remedy = "or call jax.config.update('jax_enable_x64', True)"
        if self.bits > exact:
            problems.append(f"bits={self.bits}: numbers have {exact} bits here; give bits={exact}, {remedy}")
        if self.ring == 64 and not x64:
            problems.append(f"ring=64: whole numbers have 32 bits here; give ring=32, {remedy}")
        return problems

    def weight_problems(self, weights: np.ndarray) -> list[str]:
        """Weights that are no whole numbers, and a sum that would leave the ring."""
        odd = weights[np.abs(np.round(weights) - weights) > NEAR * weights]
        weights = np.round(weights)
        if len(odd):
            return [
                f"a hospital has the weight {odd[0]:g}, and the ring has whole numbers; give whole weights"
            ]
        total = int(weights.sum())
        if total * self.limit < 2 ** (self.ring - 1):
            return []
        most = int(math.log2(2 ** (self.ring - 1) / total)) if total else self.ring
        needed = math.log2(total)
        remedies = [f"give bits={most}"] if most >= 2 else []
        remedies += ["ring=64 (with jax_enable_x64)"] if self.ring == 32 else []
        remedies += ["an algorithm with weighting='uniform'"] if total > len(weights) else []
        return [
            f"values of {self.bits} bits times weights that add up to {total:,} ({needed:.1f} bits, "
            f"{len(weights):,} hospitals) overflow a ring of {self.ring} bits; {', or '.join(remedies)}"
        ]

    def wire_bytes(self, upload: Upload, before: int) -> int:
        """The masked sum alone: every number and the weight in the ring; see also :meth:`messages`."""
        numbers = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves((upload.update, upload.aux)))
        return (numbers + 1) * self.ring // 8

    def messages(self, numbers: int, hospitals: int) -> pd.DataFrame:
        """Bytes that a hospital sends and receives in each stage of the protocol.

        Args:
            numbers: of an upload, extras included.
            hospitals: that take part.

        Keys have 32 bytes and encrypted shares 48; headers and signatures are not counted.
        """
        others = hospitals - 1 if self.neighbours is None else min(self.neighbours, hospitals - 1)
        stages = {
            "keys": (2 * KEY, 2 * KEY * others),
            "shares": (2 * SHARE * others, 2 * SHARE * others),
            "masked sum": ((numbers + 1) * self.ring // 8, -(-hospitals // 8)),
            "unmasking": (SHARE * (others + 1), 0),
        }
        table = pd.DataFrame.from_dict(stages, orient="index", columns=["sent", "received"])
        table.loc["all"] = table.sum()
        return table.rename_axis("stage")

    def reduce(self, uploads: Uploads, state: PyTree, key: Array) -> tuple[Aggregate, PyTree, Metrics]:
        """The mean over the uploads that arrived.

        Metrics ``[M]``: ``lost`` (bool), and ``outside``, how many numbers of an upload are beyond the bound.
        """
        purposes = [jax.random.fold_in(key, purpose) for purpose in range(4)]
        agreed = uploads.present
        lost = agreed & _draws(purposes[DROPPING], self.lost, len(uploads))
        beyond = jax.lax.stop_gradient(jnp.abs(uploads.update) > self.bound).sum(1, dtype=jnp.int32)
        if uploads.axis is not None:
            beyond = jax.lax.psum(beyond, uploads.axis)
        beyond = beyond + (jnp.abs(uploads.aux) > self.extra_bound).sum(1, dtype=jnp.int32)
        beyond = jnp.where(agreed, beyond, 0)
        arrived = agreed & ~lost
        if self.outside == "refuse":
            arrived = arrived & (beyond == 0)
        weights = jnp.where(arrived, uploads.weights, 0)
        rounded = jnp.round(weights)
        whole = rounded.astype(self._unsigned)
        sums = []
        for part, (values, bound) in enumerate(
            ((uploads.update, self.bound), (uploads.aux, self.extra_bound))
        ):
            size, share = (uploads.size, uploads.share) if part == 0 else (values.shape[1], lambda x: x)
            digits = self._digits(values, bound, size, share, jax.random.fold_in(purposes[ROUNDING], part))
            summands = whole[:, None] * digits
            if self.masked:
                total = self._masked_sum(summands, agreed, arrived, size, share, purposes, part)
            else:
                total = summands.sum(0, dtype=summands.dtype)
            signed = jax.lax.bitcast_convert_type(total, self._signed).astype(values.dtype)
            sums.append(signed * (jnp.asarray(bound, values.dtype) / self.limit))
        weight = rounded.sum()
        near = (jnp.abs(rounded - weights) <= NEAR * weights).all()
        fits = near & (weight * self.limit < 2.0 ** (self.ring - 1))
        answer = fits & (arrived.sum() >= self.threshold)
        divisor = jnp.where(answer, weight, jnp.nan)
        update, aux = (total / divisor.astype(total.dtype) for total in sums)
        return Aggregate(update, aux), state, {"lost": lost, "outside": beyond}

    @property
    def _unsigned(self) -> jnp.dtype:
        return jnp.dtype(f"uint{self.ring}")

    @property
    def _signed(self) -> jnp.dtype:
        return jnp.dtype(f"int{self.ring}")

    def _digits(self, values: Array, bound: Number, size: int, share: masks.Draw, key: Array) -> Array:
        """``[K, n]``: values in fixed point, negative ones as their complement in the ring."""
        scaled = jnp.clip(values / jnp.asarray(bound, values.dtype), -1, 1) * self.limit
        if self.rounding == "nearest":
            digits = jnp.round(scaled)
        else:

            def draw(number: Array) -> Array:
                # of the whole update, so that the number of devices changes no draw
                return share(jax.random.uniform(jax.random.fold_in(key, number), (size,), values.dtype))

            digits = jnp.floor(scaled + jax.lax.map(draw, jnp.arange(len(values))))
            digits = jnp.clip(digits, -self.limit, self.limit)
        return jax.lax.bitcast_convert_type(digits.astype(self._signed), self._unsigned)

    def _masked_sum(
        self,
        summands: Array,
        agreed: Array,
        arrived: Array,
        size: int,
        share: masks.Draw,
        purposes: list[Array],
        part: int,
    ) -> Array:
        """The same sum, from what hospitals send with masks and what is revealed of these."""
        key = jax.random.fold_in(purposes[MASKING], part)

        def draw(key: Array) -> Array:
            return share(jax.random.bits(key, (size,), self._unsigned))

        linked = masks.links(agreed, self.neighbours, purposes[LINKING])
        return masks.unmasked_sum(masks.masked(summands, linked, key, draw), linked, arrived, key, draw)


def _draws(key: Array, share: Number, count: int) -> Array:
    """``[count]`` bool, True with the probability ``share``; the k-th draw does not depend on the count."""
    draws = jax.vmap(lambda k: jax.random.uniform(jax.random.fold_in(key, k)))(jnp.arange(count))
    return draws < share
