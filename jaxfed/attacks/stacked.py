"""An attack as a function of stacked updates, without a simulation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxfed.attacks.optimised import Optimised
from jaxfed.core import hyperparameters
from jaxfed.core.aggregation import Attack, Sender, Transform
from jaxfed.core.errors import InvalidInput
from jaxfed.core.types import Upload
from jaxfed.core.uploads import Uploads


def attacked(
    attack: Transform | Attack,
    updates: Any,
    present: Any = None,
    *,
    key: Array | None = None,
    aggregate: Callable[[Uploads], Array] | None = None,
) -> Array:
    """What the server receives of these updates; can be jitted.

    Args:
        attack: any part of :mod:`jaxfed.attacks`, with one mark for each row of ``updates``.
        updates: ``[K, N]``, what honest clients would send.
        present: ``[K]`` bool; None for everybody. Rows of absent clients are 0.
        key: for attacks with noise; None for that of seed 0.
        aggregate: from :class:`~jaxfed.core.uploads.Uploads` to ``[N]``, for attacks that are optimised
            against a rule; None for the mean.

    Returns:
        ``[K, N]``. What is not finite is returned as it is; a simulation refuses such uploads of a client.
    """
    updates = jnp.asarray(updates, jnp.result_type(float))
    clients = len(updates)
    here = jnp.ones(clients, bool) if present is None else jnp.asarray(present, bool)
    key = jax.random.key(0) if key is None else key
    updates = jnp.where(here[:, None], updates, 0)
    part: Any = hyperparameters.at_hospital(attack, ...)
    _check_marks(part, clients)
    if isinstance(attack, Transform):
        arrays = jax.tree.map(jnp.asarray, attack)

        def send(number: Array, update: Array, key: Array) -> Array:
            client: Any = hyperparameters.at_hospital(arrays, number)
            sender = Sender(key, jnp.zeros((), jnp.int32), jnp.ones(()))
            return client.apply(Upload(update), client.init(Upload(update)), sender)[0].update

        sent = jax.vmap(send)(jnp.arange(clients), updates, jax.random.split(key, clients))
        return jnp.where(here[:, None], sent, 0)
    uploads = Uploads(updates, jnp.zeros((clients, 0), updates.dtype), here.astype(updates.dtype))
    mean = aggregate or (lambda uploads: uploads.mean(uploads.weights).update)
    return part.against(uploads, key, mean).update


def _check_marks(part: Any, clients: int) -> None:
    marked = part.attack if isinstance(part, Optimised) else part
    marks = np.shape(marked.malicious)
    if marks != (clients,):
        raise InvalidInput(
            f"attacked: the attack has marks of shape {marks} for {clients} updates; give a mark for each"
        )
