"""flax models as pure functions of :class:`~jaxfed.core.types.Variables`.

A linen module is used as it is. An nnx model is given as a function of its rngs
(``lambda rngs: Net(rngs=rngs)``) and goes through nnx's functional split.

Rows that pad a short batch must not enter batch statistics: the batch norms of both flavours get the
row mask without any change to the user's model. Convolutions and pooling are put in a fast form
(:mod:`jaxfed.core.nn.rewrite`), also without any change to it.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from jaxfed.core.nn.rewrite import Form, routed
from jaxfed.core.types import PyTree, Variables


@dataclasses.dataclass(frozen=True)
class LinenModel:
    """A flax linen module; ``train`` / ``training`` / ``deterministic`` arguments are filled in.

    Attributes:
        module: the module.
        form: of the operations in it, see :func:`jaxfed.core.nn.rewrite.routed`.
    """

    module: nn.Module
    form: Form | None = None

    def init(self, key: Array, x: PyTree) -> Variables:
        """Fresh variables; ``x`` is a batch, of which only shapes and dtypes matter."""
        keys = dict(zip(("params", "dropout"), jax.random.split(key), strict=True))
        module: Any = self.module
        collections = dict(module.init(keys, x, **self._mode(False)))
        params = collections.pop("params", {})
        return Variables(params, collections)

    def apply(
        self, variables: Variables, x: PyTree, *, train: bool, key: Array | None, mask: Array | None
    ) -> tuple[Array, PyTree]:
        """Outputs ``[B, ...]`` and, in training, the new ``stats``; ``mask`` ``[B]`` marks real rows."""
        return routed(partial(self._apply, train), variables, x, key, mask, form=self.form)

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

    def features(self, variables: Variables, x: PyTree) -> Array:
        """The result of the module's method ``features(x)`` in evaluation mode."""

        def features(variables: Variables, x: PyTree) -> Any:
            collections = {"params": variables.params, **variables.stats}
            return self.module.apply(collections, x, method="features")

        return routed(features, variables, x, form=self.form)

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
            kwargs = {**kwargs, "mask": _broadcast(mask, args[0] if args else kwargs["x"])}
        return call(*args, **kwargs)

    return intercept


@dataclasses.dataclass(frozen=True)
class NnxModel:
    """A flax nnx model, given as a function from ``nnx.Rngs`` to the module.

    Attributes:
        make: the function.
        form: as in :class:`LinenModel`.
    """

    make: Callable[[nnx.Rngs], nnx.Module]
    form: Form | None = None

    def init(self, key: Array, x: PyTree) -> Variables:
        """Initial variables, which depend on the key."""
        del x  # nnx models know their shapes
        _, params, _, stats = _split(self.make(nnx.Rngs(key)))
        return Variables(nnx.to_pure_dict(params), nnx.to_pure_dict(stats))

    def apply(
        self, variables: Variables, x: PyTree, *, train: bool, key: Array | None, mask: Array | None
    ) -> tuple[Array, PyTree]:
        """As :meth:`LinenModel.apply`."""
        return routed(partial(self._apply, train), variables, x, key, mask, form=self.form)

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

    def features(self, variables: Variables, x: PyTree) -> Array:
        """The result of the module's method ``features(x)`` in evaluation mode."""

        def features(variables: Variables, x: PyTree) -> Any:
            model = self._merge(variables, None)
            model.eval()
            return model.features(x)

        return routed(features, variables, x, form=self.form)

    def _merge(self, variables: Variables, key: Array | None) -> Any:
        graph, params, rngs, stats = _split(nnx.eval_shape(lambda: self.make(nnx.Rngs(0))))
        nnx.replace_by_pure_dict(params, variables.params)
        nnx.replace_by_pure_dict(stats, variables.stats)
        return nnx.merge(graph, params, _fresh(rngs, key), stats)


class _MaskedBatchNorm(nnx.BatchNorm):
    rows: Array

    def __call__(self, x: Array, *args: Any, **kwargs: Any) -> Array:
        return super().__call__(x, *args, mask=_broadcast(self.rows, x), **kwargs)


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


def _broadcast(mask: Array, x: Array) -> Array:
    return (mask > 0).reshape(mask.shape + (1,) * (x.ndim - mask.ndim))


def as_model(model: Any) -> LinenModel | NnxModel:
    """Wrap what a user gave as ``model``.

    Raises:
        TypeError: neither a linen module nor a function of ``nnx.Rngs``; the message says what to give.
    """
    if isinstance(model, nn.Module):
        return LinenModel(model)
    if isinstance(model, nnx.Module):
        raise TypeError(
            f"model={type(model).__name__}(...) is an nnx module that is already built; give a function "
            "of its rngs instead, model=lambda rngs: Net(..., rngs=rngs), so that every seed has its own "
            "initial values"
        )
    if callable(model):
        return NnxModel(model)
    raise TypeError(
        f"model={model!r} is no flax model; give a linen module such as jaxfed.models.mlp(64, 32), "
        "or a function of nnx rngs"
    )
