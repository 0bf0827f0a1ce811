"""Exact inversion: rows that the gradient of a dense layer tells.

    x_i = (d loss / d W)_ij / (d loss / d b)_j     for any unit j of the first dense layer

Of one patient a dense layer's gradient is an outer product of row and error (Phong et al. 2018,
doi:10.1109/TIFS.2017.2787987; Geiping et al. 2020, arXiv:2003.14053, Proposition 3.1). Of several patients a
unit that is active for one of them alone still has that row (Boenisch et al. 2023, arXiv:2112.02918).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxfed.core.errors import InvalidInput
from jaxfed.core.problem import Batch, Problem
from jaxfed.core.types import PyTree, Variables, labels

SILENT = 1e-6  # units whose bias gradient is below this share of the largest tell nothing


def dense_rows(kernel: Any, bias: Any) -> np.ndarray:
    """``[units, d]``: what each unit of a dense layer tells of the layer's input, loudest unit first.

    Args:
        kernel: ``[d, units]`` the gradient of the kernel.
        bias: ``[units]`` the gradient of the bias. Units whose gradient is (almost) 0 are left out.

    >>> import numpy as np
    >>> dense_rows(np.outer([63.0, 1.0], [0.5, 0.0]), np.array([0.5, 0.0]))
    array([[63.,  1.]])
    """
    kernel, bias = np.asarray(kernel, np.float64), np.asarray(bias, np.float64)
    loud = np.argsort(-np.abs(bias), kind="stable")
    loud = loud[np.abs(bias[loud]) > SILENT * np.abs(bias).max()]
    return (kernel[:, loud] / bias[loud]).T


def rows_by_layer(
    problem: Problem, variables: Variables, gradient: PyTree, x: np.ndarray, y: Any
) -> np.ndarray:
    """``[units, features]`` what the units of the first dense layer tell: the row itself if there is one.

    Args:
        problem, variables: the model.
        gradient: of the parameters, as the server received it.
        x: ``[B, ...]`` as many rows as there are, of which only the shape is used.
        y: their labels.

    Raises:
        InvalidInput: no dense layer with a bias takes the features, or its gradient tells nothing.
    """
    width = int(np.prod(x.shape[1:]))
    layers = _dense_layers(gradient, width)
    if not layers:
        raise InvalidInput(
            f"invert: no dense layer with a bias takes the {width} features; give method='matching'"
        )
    best = layers[0]
    if len(layers) > 1:  # the layer that gives back a row of the attacker's own
        probe = jax.random.normal(jax.random.key(0), (1, *x.shape[1:]))
        label = jnp.asarray(labels(y)[:1])
        batch = Batch(probe, label, jnp.ones(1), jax.random.key(0))
        known = dict(_dense_layers(problem.gradient(variables, batch).params, width))

        def error(name: str) -> float:
            told = dense_rows(*known[name])
            return float(np.abs(told[0] - np.asarray(probe).ravel()).max()) if len(told) else np.inf

        best = min(layers, key=lambda layer: error(layer[0]))
    told = dense_rows(*best[1])
    if not len(told):
        raise InvalidInput(
            "invert: the first layer's gradient is 0 (all of its units are silent) or not finite, so that "
            "there is nothing to rebuild; give another row or model"
        )
    if len(told) < len(x):
        told = np.concatenate([told, np.repeat(told[:1], len(x) - len(told), 0)])
    return told[:1] if len(x) == 1 else told


def _dense_layers(params: Any, width: int, path: str = "") -> list[tuple[str, tuple[Any, Any]]]:
    """Kernels and biases of dense layers with so many inputs, by their path."""
    if not isinstance(params, dict):
        return []
    kernel, bias = params.get("kernel"), params.get("bias")
    if kernel is not None and bias is not None and kernel.ndim == 2 and kernel.shape[0] == width:
        return [(path, (kernel, bias))]
    return [layer for name, part in params.items() for layer in _dense_layers(part, width, f"{path}/{name}")]
