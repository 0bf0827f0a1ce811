"""``jaxfed bench algorithms``: how fast global methods converge when hospitals differ.

Every method trains the same models on the same hospitals from the same seeds; its step size is chosen on
validation rows from one grid for all. All seeds of a method are one compiled program, and its step sizes
and the data sets of equal shape run through it again without compiling.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from tqdm import tqdm

from jaxfed import algorithms, data, models
from jaxfed.core.dataset import Dataset
from jaxfed.core.optimizer import optimizer
from jaxfed.core.types import Algorithm
from jaxfed.core.whole import over_seeds
from jaxfed.evaluation import MEASURES
from jaxfed.report.costs import costs
from jaxfed.simulation import Simulation


@dataclasses.dataclass(frozen=True)
class Method:
    """A global method as the benchmark runs it.

    Attributes:
        make: the algorithm, from the step size.
        grid: step sizes to choose from: the hospitals', or the server's where they take no steps.
    """

    make: Callable[[float], Algorithm]
    grid: tuple[float, ...] = (0.03, 0.1, 0.3)


def _fixed(algorithm: Algorithm) -> Method:
    return Method(lambda _: algorithm)


METHODS: dict[str, Method] = {
    "FedAvg": _fixed(algorithms.FedAvg()),
    "FedAvgM": _fixed(algorithms.FedAvgM(beta=0.9, learning_rate=0.3)),
    "FedAdagrad": _fixed(algorithms.FedAdagrad(learning_rate=0.1)),
    "FedAdam": _fixed(algorithms.FedAdam(learning_rate=0.01)),
    "FedYogi": _fixed(algorithms.FedYogi(learning_rate=0.01)),
    "FedProx": _fixed(algorithms.FedProx(mu=0.1)),
    "AdaptiveFedProx": _fixed(algorithms.AdaptiveFedProx(mu=0.1)),
    "SCAFFOLD": _fixed(algorithms.Scaffold()),
    "SCAFFOLD I": _fixed(algorithms.Scaffold(option="I")),
    "FedDyn": _fixed(algorithms.FedDyn(alpha=0.1)),
    "FedNova": _fixed(algorithms.FedNova()),
    "FedExP": _fixed(algorithms.FedExP()),
    "MOON": _fixed(algorithms.MOON(mu=1.0)),
    "Mime": _fixed(algorithms.Mime()),
    "MimeLite": _fixed(algorithms.MimeLite()),
    "FedCM": _fixed(algorithms.FedCM(alpha=0.1)),
    "FedSAM": _fixed(algorithms.FedSAM(rho=0.05)),
    "q-FedAvg": _fixed(algorithms.QFedAvg(q=0.1)),
    "AFL": _fixed(algorithms.AFL(gamma=0.1)),
    "FedSGD": Method(
        lambda step: algorithms.FedSGD(server_optimizer=optimizer(optax.sgd, learning_rate=step)),
        grid=(0.3, 1.0, 3.0),
    ),
}
PRESETS = ("iid", "icu-mortality", "strong")


def hospitals_of(size: int, seed: int = 0) -> dict[str, Dataset]:
    """The data sets: three presets of synthetic hospitals, and digits with label skew."""
    found = {preset: data.synthetic_ehr(size, preset=preset, seed=seed) for preset in PRESETS}
    found["digits"] = data.digits(min(size, 30), partition="dirichlet", alpha=0.1, seed=seed, flat=True)
    return found


def run(
    names: list[str] | None = None,
    *,
    hospitals: int = 30,
    rounds: int = 40,
    eval_every: int = 2,
    seeds: int = 5,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Run methods on all data sets.

    Args:
        names: methods, None for all.
        hospitals: how many.
        rounds: a multiple of ``eval_every``.
        eval_every: rounds between evaluations.
        seeds: number of seeds; they differ in initial model and batches, not in the hospitals.

    Returns:
        The curves, one row per data set, method, seed and evaluated round, at the chosen step size; and
        the summary, one row per data set and method.
    """
    curves, records = [], []
    sets = hospitals_of(hospitals)
    chosen = {name: METHODS[name] for name in names or METHODS}
    with tqdm(total=len(sets) * len(chosen), unit="run") as bar:
        for name, method in chosen.items():
            for title, dataset in sets.items():
                bar.set_description(f"{name} on {title}")
                frame, record = _arm(method, dataset, rounds, eval_every, seeds)
                curves.append(frame.assign(data=title, method=name))
                records.append({"data": title, "method": name, **record})
                bar.update()
    table = pd.concat(curves, ignore_index=True)
    return table, _with_targets(pd.DataFrame(records), table)


def _arm(
    method: Method, dataset: Dataset, rounds: int, eval_every: int, seeds: int
) -> tuple[pd.DataFrame, dict[str, Any]]:
    best: tuple[float, float, dict[str, np.ndarray]] | None = None
    began, first = time.perf_counter(), 0.0
    for step in method.grid:
        sim = Simulation(
            dataset,
            model=models.mlp(32),
            algorithm=method.make(step),
            client_optimizer=optimizer(optax.sgd, learning_rate=step),
            epochs=2,
            batch_size=32,
        )
        found = _over_seeds(sim, rounds, eval_every, seeds)
        first = first or time.perf_counter() - began
        loss = float(np.nan_to_num(found["validation log loss"][:, -1], nan=np.inf).mean())
        if best is None or loss < best[0]:
            best = loss, step, found
    assert best is not None
    sizes = costs(sim._unplaced, dataset.x, dataset.y, len(dataset))
    _, step, found = best
    frame = pd.DataFrame(
        [
            {"seed": seed, "round": e * eval_every, **{key: value[seed, e] for key, value in found.items()}}
            for seed in range(seeds)
            for e in range(rounds // eval_every + 1)
        ]
    )
    seconds = time.perf_counter() - began - first
    record = {
        "step size": step,
        "bytes per round": (sizes.upload + sizes.download) * len(dataset),
        "ms per round": 1e3 * seconds / max(rounds * seeds * (len(method.grid) - 1), 1),
    }
    return frame, record


def _over_seeds(sim: Simulation, rounds: int, eval_every: int, seeds: int) -> dict[str, np.ndarray]:
    """``name: [K, E + 1]``."""
    trainer = sim._trainer
    single, pooled = over_seeds(
        trainer.recipe,
        trainer.placement.plan,
        trainer.federation,
        trainer.held,
        jnp.arange(seeds),
        evaluations=rounds // eval_every,
        eval_every=eval_every,
        measure=MEASURES[sim.hospitals.task],
        splits=2,
    )
    single, pooled = jax.tree.map(np.asarray, (single, pooled))
    primary = "auroc" if "auroc" in single else "accuracy"
    hospitals = single[primary][:, :, trainer.placement.position, 1]
    return {
        "validation log loss": pooled["log_loss"][..., 0],
        "log loss": pooled["log_loss"][..., 1],
        "score": np.nanmean(hospitals, axis=-1),
        "worst decile": np.nanpercentile(hospitals, 10, axis=-1),
    }


def _with_targets(summary: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Final values, and rounds and megabytes until a method is as good as FedAvg was at the end."""
    rows = []
    for title in summary["data"].unique():
        part = curves[curves["data"] == title]
        mean = part.groupby(["method", "round"])[["log loss", "score", "worst decile"]].mean()
        last = part["round"].max()
        target = mean["log loss"].get(("FedAvg", last), np.nan)
        for _, row in summary[summary["data"] == title].iterrows():
            own = mean.loc[row["method"]]
            reached = own.index[own["log loss"] <= target]
            until = float(reached[0]) if len(reached) else np.nan
            final = part[(part["method"] == row["method"]) & (part["round"] == last)]
            rows.append(
                {
                    **row,
                    **own.loc[last].to_dict(),
                    "log loss sd": final["log loss"].std(),
                    "rounds to FedAvg's end": until,
                    "MB to FedAvg's end": until * row["bytes per round"] / 1e6,
                }
            )
    return pd.DataFrame(rows)
