"""What the hospitals of a simulation upload in some of its rounds, stacked.

A rule that keeps the uploads as the server's state is all that it takes: the engine hands them over.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxfed.aggregators import as_chain, chain
from jaxfed.core import tree
from jaxfed.core.aggregation import ChainState, Rule
from jaxfed.core.errors import InvalidInput
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Metrics, PyTree
from jaxfed.core.uploads import Aggregate, Uploads
from jaxfed.participation import Everyone


class HonestUploads(NamedTuple):
    """The uploads of n hospitals in T rounds.

    Attributes:
        updates: ``[T, n, N]`` float32.
        hospitals: ``[n]`` names; hospitals without training rows upload nothing and are not among them.
        rounds: ``[T]`` the rounds, from 1.
    """

    updates: np.ndarray
    hospitals: tuple[str, ...]
    rounds: tuple[int, ...]


def honest_uploads(simulation: Any, rounds: Sequence[int] = (1, 5, 10), seed: int = 0) -> HonestUploads:
    """The updates that reach the server in some rounds of a run without attackers.

    Everybody takes part, and the run goes on with the weighted mean. The simulation's transforms act; its
    mixers, its rule and its posts do not.

    Args:
        simulation: a :class:`jaxfed.Simulation` of one model.
        rounds: which rounds, from 1.
        seed: of the run.

    Raises:
        InvalidInput: there are no such rounds, hospitals have different models, or an upload is not finite.
    """
    wanted = sorted({int(number) for number in rounds})
    if not wanted or wanted[0] < 1:
        raise InvalidInput(
            f"honest_uploads: rounds={list(rounds)}: give whole numbers from 1, such as (1, 5)"
        )
    if simulation.models is not None:
        raise InvalidInput(
            "honest_uploads: hospitals with different models upload updates of different sizes; give a "
            "simulation of one model"
        )
    transforms = as_chain(simulation.aggregator).transforms
    keep = Keeping(len(simulation.hospitals))
    kept = simulation.replace(aggregator=chain(*transforms, keep), participation=Everyone())
    run, updates, weights = None, [], []
    for number in wanted:
        more = number if run is None else number - len(run.history.refused)
        run = kept.run(more, seed=seed, eval_every=more, resume=run, progress=False)
        state = _kept(run.state.aggregator)
        updates.append(np.asarray(state[0]))
        weights.append(np.asarray(state[1]))
    present = np.array(weights) > 0
    trained = present.any(0)
    lost = np.array(simulation.hospitals.hospitals)[trained & ~present.all(0)]
    if len(lost):
        raise InvalidInput(
            f"honest_uploads: hospital {lost[0]!r} sent an update that is not finite; give a smaller "
            "learning rate"
        )
    names = tuple(np.array(simulation.hospitals.hospitals)[trained].tolist())
    return HonestUploads(np.array(updates)[:, trained], names, tuple(wanted))


@pytree
@dataclasses.dataclass(frozen=True)
class Keeping(Rule):
    """The weighted mean, with the uploads of the last round as the server's state.

    Attributes:
        clients: static; C.
    """

    clients: int = dataclasses.field(metadata={"static": True})

    def init(self, update: Array) -> tuple[Array, Array]:
        """Zeros, ``[C, N]`` and ``[C]``."""
        return jnp.zeros((self.clients, len(update)), update.dtype), jnp.zeros(self.clients)

    def reduce(
        self, uploads: Uploads, state: tuple[Array, Array], key: Array
    ) -> tuple[Aggregate, PyTree, Metrics]:
        """The mean with the weights of the round; the state is this round's uploads and weights."""
        matrix = jax.vmap(uploads.whole)(uploads.update)
        return uploads.mean(uploads.weights), (matrix, uploads.weights.astype(state[1].dtype)), {}


def _kept(aggregator: PyTree) -> tuple[Array, Array]:
    """The state of the rule in the only slot, among those of the channels, of which the others are empty."""
    states = jax.tree.leaves(aggregator, is_leaf=lambda node: isinstance(node, ChainState))
    (state,) = (node.rule for node in states if isinstance(node, ChainState))
    return tree.entry(state, 0)
