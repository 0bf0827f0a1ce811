"""A flax nnx model as pure functions of :class:`~jaxfed.core.types.Variables`, by nnx's functional split.

Importing nnx takes a while, so this module is imported where a model is given as a function.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from jaxfed.core.nn.base import FlaxModel
from jaxfed.core.nn.linen_model import row_mask
from jaxfed.core.types import PyTree, Variables


@dataclasses.dataclass(frozen=True)
class NnxModel(FlaxModel):
    """A flax nnx model, given as a function from ``nnx.Rngs`` to the module.

    Attributes:
        make: the function.
    """

    make: Callable[[nnx.Rngs], nnx.Module]

    def init(self, key: Array, x: PyTree) -> Variables:
        """Initial variables, which depend on the key."""
        del x  # nnx models know their shapes
        _, params, _, stats = _split(self.make(nnx.Rngs(key)))
        return Variables(nnx.to_pure_dict(params), nnx.to_pure_dict(stats))

    def _apply(
        self, train: bool, variables: Variables, x: PyTree, key: Array | None, mask: Array | None
    ) -> tuple[Array, PyTree]:
        model = self._merge(variables, key)
        model.train() if train else model.eval()
        for _, module in nnx.iter_modules(model):
            if type(module) is nnx.BatchNorm and mask is not None:
                module.__class__ = _MaskedBatchNorm
                object.__setattr__(module, "rows", mask)
        outputs = model(x)
        if not train:
            return outputs, variables.stats
        return outputs, nnx.to_pure_dict(_split(model)[3])

    @property
    def has_features(self) -> bool:
        """Whether the module has a method ``features(x)``."""
        model = nnx.eval_shape(lambda: self.make(nnx.Rngs(0)))
        return callable(getattr(type(model), "features", None))

    def _features(self, variables: Variables, x: PyTree) -> Any:
        model = self._merge(variables, None)
        model.eval()
        return model.features(x)

    def _merge(self, variables: Variables, key: Array | None) -> Any:
        graph, params, rngs, stats = _split(nnx.eval_shape(lambda: self.make(nnx.Rngs(0))))
        nnx.replace_by_pure_dict(params, variables.params)
        nnx.replace_by_pure_dict(stats, variables.stats)
        return nnx.merge(graph, params, _fresh(rngs, key), stats)


class _MaskedBatchNorm(nnx.BatchNorm):
    rows: Array

    def __call__(self, x: Array, *args: Any, **kwargs: Any) -> Array:
        return super().__call__(x, *args, mask=row_mask(self.rows, x), **kwargs)


def _split(model: nnx.Module) -> Any:
    return nnx.split(model, nnx.Param, nnx.RngState, ...)


def _fresh(rngs: Any, key: Array | None) -> Any:
    """Rng streams that start from ``key``: their state is a function of the step, not carried."""
    leaves, tree = jax.tree.flatten(rngs)
    key = jax.random.key(0) if key is None else key
    fresh = [
        jax.random.fold_in(key, i)
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        else jnp.zeros(leaf.shape, leaf.dtype)
        for i, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(tree, fresh)
