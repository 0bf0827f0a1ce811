"""``jaxfed bench algorithms``: how fast global methods converge when hospitals differ.

Every method trains the same models on the same hospitals from the same seeds; its step size is chosen on
validation rows from one grid for all. All step sizes and seeds of a method are one sweep.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import optax
import pandas as pd
from tqdm import tqdm

import jaxfed
from jaxfed import algorithms, data, models

if TYPE_CHECKING:
    import xarray

CLIENT, SERVER = "client_optimizer.learning_rate", "algorithm.server_optimizer.learning_rate"


@dataclasses.dataclass(frozen=True)
class Method:
    """A global method as the benchmark runs it.

    Attributes:
        algorithm: what hospitals and server do.
        field: the step size that is chosen: the hospitals', or the server's where they take no steps.
        grid: what it is chosen from.
    """

    algorithm: Any
    field: str = CLIENT
    grid: tuple[float, ...] = (0.03, 0.1, 0.3)


METHODS: dict[str, Method] = {
    "FedAvg": Method(algorithms.FedAvg()),
    "FedAvgM": Method(algorithms.FedAvgM(beta=0.9, learning_rate=0.3)),
    "FedAdagrad": Method(algorithms.FedAdagrad(learning_rate=0.1)),
    "FedAdam": Method(algorithms.FedAdam(learning_rate=0.01)),
    "FedYogi": Method(algorithms.FedYogi(learning_rate=0.01)),
    "FedProx": Method(algorithms.FedProx(mu=0.1)),
    "AdaptiveFedProx": Method(algorithms.AdaptiveFedProx(mu=0.1)),
    "SCAFFOLD": Method(algorithms.Scaffold()),
    "SCAFFOLD I": Method(algorithms.Scaffold(option="I")),
    "FedDyn": Method(algorithms.FedDyn(alpha=0.1)),
    "FedNova": Method(algorithms.FedNova()),
    "FedExP": Method(algorithms.FedExP()),
    "MOON": Method(algorithms.MOON(mu=1.0)),
    "Mime": Method(algorithms.Mime()),
    "MimeLite": Method(algorithms.MimeLite()),
    "FedCM": Method(algorithms.FedCM(alpha=0.1)),
    "FedSAM": Method(algorithms.FedSAM(rho=0.05)),
    "q-FedAvg": Method(algorithms.QFedAvg(q=0.1)),
    "AFL": Method(algorithms.AFL(gamma=0.1)),
    "FedSGD": Method(algorithms.FedSGD(), SERVER, (0.3, 1.0, 3.0)),
}
PRESETS = ("iid", "icu-mortality", "strong")


def hospitals_of(size: int, seed: int = 0) -> dict[str, jaxfed.Dataset]:
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
    method: Method, dataset: jaxfed.Dataset, rounds: int, eval_every: int, seeds: int
) -> tuple[pd.DataFrame, dict[str, Any]]:
    sim = jaxfed.Simulation(
        dataset,
        model=models.mlp(32),
        algorithm=method.algorithm,
        client_optimizer=jaxfed.optimizer(optax.sgd, learning_rate=0.1),
        epochs=2,
        batch_size=32,
    )
    fields = {method.field: method.grid, "seed": range(seeds)}
    sweep = sim.sweep(fields, rounds, eval_every=eval_every, progress=False)
    last = sweep.data[sweep.loss].sel(split="validation").isel(round=-1)
    best = int(last.fillna(np.inf).mean("seed").to_numpy().argmin())
    sizes = sim.costs()
    record = {
        "step size": method.grid[best],
        "bytes per round": int(sizes[["upload", "download"]].to_numpy().sum()),
        "ms per round": 1e3 * sweep.provenance["seconds_per_round"],
    }
    return _curves(sweep.data.isel({method.field: best}), sweep.primary, sweep.loss), record


def _curves(data: xarray.Dataset, first: str, loss: str) -> pd.DataFrame:
    """One row per seed and evaluated round."""
    metric = data[first].sel(split="test")
    columns = {
        "validation log loss": data[loss].sel(split="validation"),
        "log loss": data[loss].sel(split="test"),
        "score": metric.mean("hospital"),
        "worst decile": metric.quantile(0.1, "hospital"),
    }
    seed, done = np.meshgrid(data["seed"], data["round"], indexing="ij")
    numbers = {name: values.transpose("seed", "round").to_numpy().ravel() for name, values in columns.items()}
    return pd.DataFrame({"seed": seed.ravel(), "round": done.ravel(), **numbers})


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
