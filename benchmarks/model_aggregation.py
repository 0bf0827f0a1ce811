"""Hospitals with different models: what each kind of hospital gains from a federation.

On digits (30 hospitals, Dirichlet(.3); MLPs of three widths, and CNNs) and on synthetic hospitals (60, preset
"strong"; the smallest third has logistic regression, the next an MLP, the largest a wide MLP). Every method
is compared with training alone, hospital by hospital, with the same model.

Step size and number of rounds of every federation are chosen on validation rows: the smallest log loss, mean
over hospitals and seeds. Where a method makes several federations, as each group that trains alone does, each
chooses its own. All other numbers are defaults or stand below. Seeds differ in initial models and batches,
not in the hospitals.

    python benchmarks/model_aggregation.py
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import optax
import pandas as pd
import tyro
from tqdm import tqdm

import jaxfed
from jaxfed import algorithms
from jaxfed.algorithms import mixed
from jaxfed.core.dataset import Dataset
from jaxfed.models import cnn, logistic, mlp
from jaxfed.runtime.provenance import provenance

RESULTS = Path(__file__).parent / "results" / "model_aggregation.json"
STEPS = (0.1, 0.3)
EVERY = 4  # rounds between evaluations


@dataclasses.dataclass(frozen=True)
class Setting:
    """Hospitals, who has which model, and what can be made of that.

    Attributes:
        hospitals: those that take part.
        public: features of rows elsewhere, without labels.
        models: of each group.
        embedding: models with last hidden layers of one width, of the groups that can have such.
        groups: of each hospital.
        common: the largest model that every hospital can run.
        wide: a model of which some groups' models are slices.
        rates: of these groups.
        metric: what is compared.
        rounds: the most there are.
        batch_size: rows per step.
    """

    hospitals: Dataset
    public: Any
    models: dict[str, Any]
    embedding: dict[str, Any]
    groups: dict[str, str]
    common: Any
    wide: Any
    rates: dict[str, float]
    metric: str
    rounds: int
    batch_size: int

    def members(self, names: Iterable[str]) -> Dataset:
        """The hospitals of some groups."""
        return self.hospitals.select([h for h in self.hospitals.hospitals if self.groups[h] in names])

    def federation(self, hospitals: Dataset, model: Any, algorithm: Any) -> jaxfed.Simulation:
        """Hospitals with one model."""
        return jaxfed.Simulation(hospitals, model, algorithm, epochs=2, batch_size=self.batch_size)


Method = Callable[[Setting], list[jaxfed.Simulation]]


def by_group(algorithm: Any, models: str = "models") -> Method:
    """Every group by itself."""

    def federations(setting: Setting) -> list[jaxfed.Simulation]:
        groups = getattr(setting, models)
        return [setting.federation(setting.members([g]), m, algorithm) for g, m in groups.items()]

    return federations


def together(make: Callable[[Setting], Any], models: str = "models") -> Method:
    """All groups in one federation."""

    def federations(setting: Setting) -> list[jaxfed.Simulation]:
        groups = getattr(setting, models)
        members = setting.members(groups)
        sim = jaxfed.Simulation(
            members,
            algorithm=make(setting),
            models=groups,
            groups=[setting.groups[h] for h in members.hospitals],
            epochs=2,
            batch_size=setting.batch_size,
        )
        return [sim]

    return federations


def sliced(make: Callable[..., Any]) -> Method:
    """The groups whose models are slices of one model."""

    def federations(setting: Setting) -> list[jaxfed.Simulation]:
        members = setting.members(setting.rates)
        rate = jaxfed.per_hospital([setting.rates[setting.groups[h]] for h in members.hospitals])
        return [setting.federation(members, setting.wide, make(rate=rate))]

    return federations


def common(setting: Setting) -> list[jaxfed.Simulation]:
    """The largest model that everybody can run, for everybody."""
    return [setting.federation(setting.hospitals, setting.common, algorithms.FedAvg())]


ALONE, EMBEDDED = "alone", "alone, one width of features"
BASELINES = {"FedProto": EMBEDDED}  # of the others: ALONE
METHODS: dict[str, Method] = {
    ALONE: by_group(algorithms.LocalOnly()),
    "FedAvg, common model": common,
    "FedAvg in each group": by_group(algorithms.FedAvg()),
    "HeteroFL": sliced(algorithms.HeteroFL),
    "FedRolex": sliced(algorithms.FedRolex),
    "FjORD": sliced(algorithms.FjORD),
    "FjORD, distilled": sliced(lambda rate: algorithms.FjORD(rate=rate, distil=True)),
    "FedMD": together(lambda setting: mixed.FedMD(public=setting.public, batch_size=32)),
    "DS-FL": together(lambda setting: mixed.DSFL(public=setting.public, batch_size=32)),
    "FedDF": together(lambda setting: mixed.FedDF(public=setting.public, steps=50)),
    "FML": together(lambda setting: mixed.FML(model=setting.common)),
    EMBEDDED: by_group(algorithms.LocalOnly(), "embedding"),
    "FedProto": together(lambda setting: mixed.FedProto(), "embedding"),
}


def digits(rounds: int = 80) -> Setting:
    """36 hospitals, labels by Dirichlet(.3); 30 take part, the images of the others are public."""
    every = jaxfed.data.digits(
        36, partition="dirichlet_by_class", alpha=0.3, min_rows=20, seed=0, split=(0.5, 0.15, 0.35)
    )
    hospitals, others = every.select(every.hospitals[:30]), every.select(every.hospitals[30:])
    models = {"narrow MLP": mlp(16), "MLP": mlp(32), "wide MLP": mlp(64), "CNN": cnn(8, 16, dense=32)}
    return Setting(
        hospitals=hospitals,
        public=others.x,
        models=models,
        embedding={
            "narrow MLP": mlp(16, 16),
            "MLP": mlp(32, 16),
            "wide MLP": mlp(64, 16),
            "CNN": cnn(8, 16, dense=16),
        },
        groups={h: list(models)[c % len(models)] for c, h in enumerate(hospitals.hospitals)},
        common=mlp(16),
        wide=mlp(64),
        rates={"narrow MLP": 0.25, "MLP": 0.5, "wide MLP": 1.0},
        metric="accuracy",
        rounds=rounds,
        batch_size=16,
    )


def strong(rounds: int = 40) -> Setting:
    """64 synthetic hospitals; 60 take part, the patients of the others are public."""
    every = jaxfed.data.synthetic_ehr(64, preset="strong", seed=0)
    hospitals, others = every.select(every.hospitals[:60]), every.select(every.hospitals[60:])
    models = {"logistic": logistic(), "MLP": mlp(16), "wide MLP": mlp(64)}
    third = np.argsort(np.argsort(hospitals.size, kind="stable")) * len(models) // len(hospitals)
    return Setting(
        hospitals=hospitals,
        public=jaxfed.data.unlabelled(others, rows=1000, split=None),
        models=models,
        embedding={"MLP": mlp(16, 16), "wide MLP": mlp(64, 16)},
        groups={h: list(models)[g] for h, g in zip(hospitals.hospitals, third, strict=True)},
        common=logistic(),
        wide=mlp(64),
        rates={"MLP": 0.25, "wide MLP": 1.0},
        metric="auroc",
        rounds=rounds,
        batch_size=32,
    )


SETTINGS = {"digits": digits, "strong": strong}


def main(names: tuple[str, ...] = tuple(SETTINGS), seeds: int = 5, out: Path = RESULTS) -> None:
    """Run every method, print a table, and write JSON.

    Args:
        names: of settings.
        seeds: how many.
        out: the JSON file; settings that are not run stay in it.
    """
    jaxfed.use_cpu_devices()
    record: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}
    for title in names:
        began = time.perf_counter()
        setting = SETTINGS[title]()
        found = {name: measure(setting, method, seeds) for name, method in tqdm(METHODS.items(), desc=title)}
        record[title] = {
            "rounds": setting.rounds,
            "seeds": seeds,
            "step sizes": STEPS,
            "public rows": len(setting.public),
            "seconds": time.perf_counter() - began,
            "provenance": provenance(),
            "rows": [row for name in found for row in summary(setting, name, found)],
        }
        print(pd.DataFrame(record[title]["rows"]).to_string(float_format="{:.4f}".format))
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(record, indent=1) + "\n")


@dataclasses.dataclass(frozen=True)
class Measured:
    """What came of a method, by hospital.

    Attributes:
        score: ``[K]`` test score of each seed.
        up, down: bytes in a round.
        chosen: step size and rounds.
    """

    score: np.ndarray
    up: int
    down: int
    chosen: tuple[float, int]


def measure(setting: Setting, method: Method, seeds: int) -> dict[str, Measured]:
    """Every hospital that a method reaches."""
    found = {}
    for federation in method(setting):
        best, score, chosen = np.inf, np.zeros(0), (0.0, 0)
        for step in STEPS:
            sim = federation.replace(client_optimizer=jaxfed.optimizer(optax.sgd, learning_rate=step))
            runs = [
                sim.run(setting.rounds, seed=seed, eval_every=EVERY, progress=False).history
                for seed in range(seeds)
            ]
            loss = np.nanmean([run.single["log_loss"][1:, :, 0] for run in runs], axis=(0, 2))
            e = int(np.argmin(loss))
            if loss[e] < best:
                best, chosen = loss[e], (step, int(runs[0].evaluated[e + 1]))
                score = np.array([run.single[setting.metric][e + 1, :, 1] for run in runs])
        sizes = federation.costs()
        for c, h in enumerate(federation.hospitals.hospitals):
            found[h] = Measured(score[:, c], sizes.upload[h], sizes.download[h], chosen)
    return found


def summary(setting: Setting, name: str, found: dict[str, dict[str, Measured]]) -> list[dict[str, Any]]:
    """A row for each group that a method reaches."""
    rows = []
    for group in setting.models:
        members = [h for h in setting.members([group]).hospitals if h in found[name]]
        if not members:
            continue
        baseline = found[BASELINES.get(name, ALONE)]
        own, alone = (np.array([which[h].score for h in members]) for which in (found[name], baseline))
        defined = ~np.isnan(own).any(1)  # AUROC needs patients of both kinds
        own, alone = own[defined], alone[defined]
        gain = (own - alone).mean(1)  # of each hospital, mean over seeds
        means = own.mean(0)  # of each seed
        one = [found[name][h] for h in members]
        rows.append(
            {
                "method": name,
                "group": group,
                "hospitals": len(own),
                "score": float(means.mean()),
                "sd": float(means.std(ddof=1)) if len(means) > 1 else 0.0,
                "gain": float(gain.mean()),
                "share": float((gain > 0).mean()),
                "up": float(np.mean([h.up for h in one])),
                "down": float(np.mean([h.down for h in one])),
                "step": one[0].chosen[0],
                "rounds": one[0].chosen[1],
            }
        )
    return rows


if __name__ == "__main__":
    tyro.cli(main)
