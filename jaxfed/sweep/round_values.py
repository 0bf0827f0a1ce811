"""The utilities of coalitions over one training, from the uploads of each round.

    x_{t+1}(S) = the server's step from x_t with the uploads of round t of the hospitals in S alone
    v_t(S)     = metric of x_{t+1}(S), and of x_t for the empty coalition
    value of k = sum over rounds of its Shapley value for v_t

Wang, Rausch, Zhang, Jia, Song 2020, "A principled approach to data valuation for federated learning",
arXiv:2009.06192 (the federated Shapley value); Song, Tong, Wei 2019, "Profit allocation for federated
learning", doi 10.1109/BigData47090.2019.9006327 (multi-round reconstruction, with weights of the rounds, here
1). Training goes on from x_{t+1}(all). Values sum to the metric after the last round minus that before the
first.

Hospitals train once per round: coalitions differ in the weights of the uploads (0 outside of S), so that
under ``vmap`` only sums over hospitals, the server's step and the evaluation are repeated. A server that
counts hospitals, as those of SCAFFOLD and FedDyn do, counts all that took part.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from tqdm import tqdm

from jaxfed.core.engine.evaluate import Measure, evaluate_on_device
from jaxfed.core.engine.recipe import COPIED, STATE, Plans, Recipe
from jaxfed.core.engine.rounds import round_on_device, start
from jaxfed.core.engine.slots import Data, choose
from jaxfed.core.hyperparameters import PerHospital, padded
from jaxfed.core.types import Metrics, State
from jaxfed.records.history import Arrays
from jaxfed.spec.spec import Spec
from jaxfed.training.trainer import Trainer


def round_utilities(
    spec: Spec, masks: np.ndarray, rounds: int, seed: int, progress: bool
) -> tuple[list[Arrays], list[Arrays]]:
    """For each round, metrics ``name: [M, C, splits]`` of hospitals and ``[M, splits]`` of all rows.

    Args:
        spec: the federation.
        masks: ``[M, C]`` bool, coalitions of all hospitals; the first is everyone, the last is empty.
        rounds: of training.
        seed: of the run.
        progress: whether to show a progress bar.
    """
    trainer = Trainer(spec)
    placed, recipe = trainer.placed, padded(spec.recipe, trainer.plan.clients)
    recipe = jax.tree.map(jnp.asarray, recipe)
    wide = np.zeros((len(masks) - 1, trainer.plan.clients), np.float32)
    wide[:, : masks.shape[1]] = masks[:-1]
    state = start(recipe, placed.plans, choose(placed.data, 0).train, seed)
    single, pooled = [], []
    for _ in tqdm(range(rounds), desc="rounds of coalitions", unit="round", disable=not progress):
        state, seen = _round(
            recipe,
            state,
            wide,
            placed.data,
            plans=placed.plans,
            evaluation_plans=placed.evaluation_plans,
            measure=spec.measure,
            splits=len(spec.splits),
        )
        by_hospital, together = jax.device_get(seen)
        single.append({name: v[:, : len(spec.evaluation_hospitals)] for name, v in by_hospital.items()})
        pooled.append(together)
    return single, pooled


@partial(jax.jit, static_argnames=("plans", "evaluation_plans", "measure", "splits"))
def _round(
    recipe: Recipe,
    state: State,
    masks: Array,
    data: Data,
    *,
    plans: Plans,
    evaluation_plans: Plans,
    measure: Measure,
    splits: int,
) -> tuple[State, tuple[Metrics, Metrics]]:
    """The state after a round of everyone, and the metrics of each coalition's model."""

    def on_device(recipe: Recipe, state: State, masks: Array, data: Data) -> Any:
        train, held = choose(data, 0)
        given = 1.0 if recipe.weights is None else recipe.weights.values

        def heard(mask: Array) -> State:
            return round_on_device(
                dataclasses.replace(recipe, weights=PerHospital(mask * given)), plans, train, state
            )[0]

        states = jax.vmap(heard)(masks)
        after = jax.tree.map(lambda leaf: leaf[0], states)

        def measured(server: Any) -> tuple[Metrics, Metrics]:
            deployed = after._replace(server=server)
            return evaluate_on_device(
                recipe, train, held, deployed, plans=evaluation_plans, measure=measure, splits=splits
            )

        servers = jax.tree.map(
            lambda new, old: jnp.concatenate([new, old[None].astype(new.dtype)]), states.server, state.server
        )
        return after, jax.lax.map(measured, servers)

    return jax.shard_map(
        on_device,
        mesh=plans[0].mesh,
        in_specs=(COPIED, STATE, COPIED, data.specs),
        out_specs=(STATE, COPIED),
        check_vma=False,
    )(recipe, state, masks, data)
