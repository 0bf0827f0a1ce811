"""flax models as pure functions of :class:`~jaxfed.core.types.Variables`.

A linen module is used as it is. An nnx model is given as a function of its rngs
(``lambda rngs: Net(rngs=rngs)``) and goes through nnx's functional split.

Rows that pad a short batch must not enter batch statistics: the batch norms of both flavours get the
row mask without any change to the user's model. Convolutions and pooling are put in a fast form
(:mod:`jaxfed.core.nn.rewrite`), also without any change to it.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn

from jaxfed.core.nn.base import FlaxModel
from jaxfed.core.nn.linen_model import LinenModel


def as_model(model: Any) -> FlaxModel:
    """Wrap what a user gave as ``model``.

    Raises:
        TypeError: neither a linen module nor a function of ``nnx.Rngs``; the message says what to give.
    """
    if isinstance(model, nn.Module):
        return LinenModel(model)
    from flax import nnx  # takes a while to import

    from jaxfed.core.nn.nnx_model import NnxModel

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
