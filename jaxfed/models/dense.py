"""Logistic regression and the multilayer perceptron for tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import numpy as np
from jax import Array

from jaxfed.core.errors import InvalidInput


def relu(x: Array) -> Array:
    """The rectifier. ``nn.relu`` cannot be pickled, and a field of a model has to be."""
    return nn.relu(x)


class MLP(nn.Module):
    """Dense layers with an activation between them; the last one is called ``head``.

    Attributes:
        hidden: widths of the hidden layers; none makes a generalised linear model.
        outputs: width of the output; None lets :class:`jaxfed.Simulation` fill in what the data need.
        dropout: share of hidden units dropped in training.
        activation: between layers.
    """

    hidden: tuple[int, ...] = ()
    outputs: int | None = None
    dropout: float = 0.0
    activation: Callable[[Array], Array] = relu

    def setup(self) -> None:
        """Layers ``hidden_0``, ``hidden_1``, ..., ``head``."""
        self.layers = [nn.Dense(width, name=f"hidden_{i}") for i, width in enumerate(self.hidden)]
        self.drop = nn.Dropout(self.dropout)
        self.head = nn.Dense(self.outputs or 1)

    def features(self, x: Array, train: bool = False) -> Array:
        """What goes into the head, ``[B, width]``."""
        x = x.reshape(len(x), -1)
        for layer in self.layers:
            x = self.activation(layer(x))
            if self.dropout:
                x = self.drop(x, deterministic=not train)
        return x

    def __call__(self, x: Array, train: bool = False) -> Array:
        """Outputs ``[B, outputs]`` of rows ``[B, ...]``, which are flattened."""
        return self.head(self.features(x, train))


def check_widths(name: str, widths: Sequence[Any]) -> None:
    """Raise where a width is no whole number of at least 1."""
    fine = all(isinstance(w, (int, np.integer)) and not isinstance(w, bool) and w >= 1 for w in widths)
    if not fine:
        raise InvalidInput(
            f"{name}({', '.join(map(str, widths))}): give whole numbers of at least 1, as {name}(64, 32)"
        )


def logistic() -> MLP:
    """Logistic regression (softmax regression for classes, linear for regression)."""
    return MLP()


def mlp(*hidden: int, dropout: float = 0.0) -> MLP:
    """A multilayer perceptron with relu: ``mlp(64, 32)`` has two hidden layers.

    Raises:
        InvalidInput: widths that are no whole numbers of at least 1.
    """
    check_widths("mlp", hidden)
    return MLP(tuple(hidden), dropout=dropout)
