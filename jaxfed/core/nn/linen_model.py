"""A flax linen module as pure functions of :class:`~jaxfed.core.types.Variables`."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
from jax import Array

from jaxfed.core.nn.base import FlaxModel
from jaxfed.core.types import PyTree, Variables


@dataclasses.dataclass(frozen=True)
class LinenModel(FlaxModel):
    """A flax linen module; ``train`` / ``training`` / ``deterministic`` arguments are filled in.

    Attributes:
        module: the module.
    """

    module: nn.Module

    def init(self, key: Array, x: PyTree) -> Variables:
        """Fresh variables; ``x`` is a batch, of which only shapes and dtypes matter."""
        keys = dict(zip(("params", "dropout"), jax.random.split(key), strict=True))
        module: Any = self.module
        collections = dict(module.init(keys, x, **self._mode(False)))
        params = collections.pop("params", {})
        return Variables(params, collections)

    def _apply(
        self, train: bool, variables: Variables, x: PyTree, key: Array | None, mask: Array | None
    ) -> tuple[Array, PyTree]:
        collections = {"params": variables.params, **variables.stats}
        rngs = {} if key is None else {"dropout": key}
        module: Any = self.module
        with nn.intercept_methods(_masked_batch_norm(mask)):
            if not train or not variables.stats:
                outputs = module.apply(collections, x, rngs=rngs, **self._mode(train))
                return outputs, variables.stats
            outputs, stats = module.apply(
                collections, x, rngs=rngs, mutable=list(variables.stats), **self._mode(train)
            )
        return outputs, dict(stats)

    @property
    def has_features(self) -> bool:
        """Whether the module has a method ``features(x)``."""
        return callable(getattr(type(self.module), "features", None))

    def _features(self, variables: Variables, x: PyTree) -> Any:
        collections = {"params": variables.params, **variables.stats}
        return self.module.apply(collections, x, method="features")

    def _mode(self, train: bool) -> dict[str, bool]:
        names = inspect.signature(type(self.module).__call__).parameters
        if "train" in names:
            return {"train": train}
        if "training" in names:
            return {"training": train}
        return {"deterministic": not train} if "deterministic" in names else {}


def _masked_batch_norm(mask: Array | None) -> Callable[..., Any]:
    def intercept(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        norm = isinstance(context.module, nn.BatchNorm) and context.method_name == "__call__"
        if norm and mask is not None and "mask" not in kwargs:
            kwargs = {**kwargs, "mask": row_mask(mask, args[0] if args else kwargs["x"])}
        return call(*args, **kwargs)

    return intercept


def row_mask(mask: Array, x: Array) -> Array:
    """The row mask ``[B]`` as bool with as many axes as ``x``."""
    return (mask > 0).reshape(mask.shape + (1,) * (x.ndim - mask.ndim))
