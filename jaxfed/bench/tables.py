"""Tables of the benchmark: from the metrics of every run to a sentence about each setting."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from jaxfed.bench.catalogue import Grid
from jaxfed.bench.cells import Setting, named
from jaxfed.bench.dissimilarity import Dissimilarity
from jaxfed.core.dataset import VALIDATION

if TYPE_CHECKING:
    from xarray import Dataset

NOTABLE = 0.005  # a difference that is worth a sentence
MOST = 8  # names in a sentence
ARM = ["setting", "rule", "before", "numbers"]


def rounds(
    data: Dataset, frame: pd.DataFrame, family: list[Setting], metric: str, floor: float
) -> pd.DataFrame:
    """A row for each run and evaluation, of honest hospitals only.

    Args:
        data: of the sweep, with the dimension ``config`` in the order of ``frame``.
        frame: a row for each run.
        family: the settings.
        metric: the metric that is scored.
        floor: the score of a run that diverged.
    """
    scores = data[metric].sel(split="test").transpose("config", "round", "hospital").to_numpy()
    loss_name = next(name for name in ("log_loss", "loss") if name in data.data_vars)
    losses = data[loss_name].sel(split="validation").transpose("config", "round", "hospital").to_numpy()
    done, parts = data["round"].to_numpy(), []
    diverged = ~np.isnan(data["diverged"].to_numpy())
    for setting in family:
        runs = np.flatnonzero(frame["setting"] == setting.name)
        honest = setting.honest
        weight = setting.hospitals.counts[honest, VALIDATION]
        score, loss = scores[runs][:, :, honest], losses[runs][:, :, honest]
        gone = np.isnan(score).all(2)
        with np.errstate(invalid="ignore"):
            total = (np.where(weight > 0, loss, 0) * weight).sum(2) / max(weight.sum(), 1)
            means = np.where(gone, floor, _known(np.nanmean, score, gone))
            worst = np.where(gone, floor, _known(np.nanmin, score, gone))
        table = frame.iloc[np.repeat(runs, len(done))].reset_index(drop=True)
        parts.append(
            table.assign(
                round=np.tile(done, len(runs)),
                score=means.ravel(),
                worst=worst.ravel(),
                validation=np.where(np.isfinite(total), total, np.inf).ravel(),
                diverged=np.repeat(diverged[runs], len(done)),
            )
        )
    return pd.concat(parts, ignore_index=True)


def _known(function, values: np.ndarray, gone: np.ndarray) -> np.ndarray:  # type: ignore[no-untyped-def]
    return function(np.where(gone[:, :, None], 0, values), axis=2)


def chosen(table: pd.DataFrame) -> pd.DataFrame:
    """The rows with each rule's best numbers: of the least validation loss against the worst attack."""
    last = table[table["round"] == table["round"].max()]
    attacked = last.groupby([*ARM, "attack"])["validation"].mean().groupby(ARM).max().reset_index()
    best = attacked.sort_values("validation", kind="stable").drop_duplicates(["setting", "rule", "before"])
    kept = table.merge(best[ARM], on=ARM, how="inner")
    return kept.assign(defence=[named(r, b) for r, b in zip(kept["rule"], kept["before"], strict=True)])


def final(table: pd.DataFrame, within: float) -> pd.DataFrame:
    """A row for each setting, defence and attack.

    Columns: ``numbers``, ``score`` and ``score sd`` over seeds, ``worst hospital``, ``lost`` (to the mean
        without
    attackers), ``rounds to target`` (until the mean over seeds is ``within`` of that; NaN if never),
    ``diverged`` (how many seeds).
    """
    rows = []
    keys = ["setting", "defence", "attack"]
    end = table["round"].max()
    means = table[(table["defence"] == "mean") & (table["attack"] == "none") & (table["round"] == end)]
    reference = means.groupby("setting")["score"].mean()
    for (setting, defence, attack), part in table.groupby(keys, sort=False):
        last = part[part["round"] == end]
        curve = part.groupby("round")["score"].mean()
        reached = curve.index[curve >= reference[setting] - within]
        rows.append(
            {
                "setting": setting,
                "defence": defence,
                "attack": attack,
                "numbers": last["numbers"].iloc[0],
                "score": last["score"].mean(),
                "score sd": last["score"].std() if len(last) > 1 else 0.0,
                "worst hospital": last["worst"].mean(),
                "lost": reference[setting] - last["score"].mean(),
                "rounds to target": float(reached[0]) if len(reached) else np.nan,
                "diverged": int(last["diverged"].sum()),
            }
        )
    return pd.DataFrame(rows)


def worst_cases(table: pd.DataFrame, within: float) -> pd.DataFrame:
    """A row for each setting and defence, the best worst case first.

    Columns: ``numbers``, ``without attackers`` and what it ``costs`` against the mean; ``worst attack``, the
        score
    and the ``worst hospital`` under it, what is ``lost`` to the mean without attackers, and whether it
    ``holds``.
    """
    rows = []
    for (setting, defence), part in table.groupby(["setting", "defence"], sort=False):
        clean = part[part["attack"] == "none"].iloc[0]
        worst = part.iloc[int(part["score"].to_numpy().argmin())]
        rows.append(
            {
                "setting": setting,
                "defence": defence,
                "numbers": clean["numbers"],
                "without attackers": clean["score"],
                "costs": clean["lost"],
                "worst attack": worst["attack"],
                "score": worst["score"],
                "score sd": worst["score sd"],
                "worst hospital": worst["worst hospital"],
                "lost": worst["lost"],
                "holds": bool(worst["lost"] <= within),
            }
        )
    frame = pd.DataFrame(rows)
    order = {name: i for i, name in enumerate(frame["setting"].unique())}
    frame = frame.assign(place=frame["setting"].map(order))
    return frame.sort_values(["place", "score"], ascending=[True, False], ignore_index=True).drop(
        columns="place"
    )


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """Numbers rounded to three digits, for pages."""
    numbers = table.select_dtypes("number").columns
    return table.assign(**{name: table[name].map("{:.3f}".format) for name in numbers if name != "diverged"})


def summary(worst: pd.DataFrame, measured: dict[str, Dissimilarity], grid: Grid, within: float) -> list[str]:
    """What to take under what, in words."""
    sentences = []
    for setting, part in worst.groupby("setting", sort=False):
        best, mean = part.iloc[0], part[part["defence"] == "mean"].iloc[0]
        holding, size = part[part["holds"]], measured[str(setting)]
        text = f"{setting}: the mean reaches {mean['without attackers']:.3f} without attackers"
        harmed = mean["worst attack"] != "none"
        text += f" and {mean['score']:.3f} under {mean['worst attack']}. " if harmed else ". "
        text += f"Take {best['defence']}: its worst case is {best['score']:.3f} ({best['worst attack']}). "
        cheapest = holding.sort_values("costs", kind="stable").iloc[0] if len(holding) else best
        if best["costs"] - cheapest["costs"] > NOTABLE:
            text += f"{cheapest['defence']} costs less without attackers, {cheapest['costs']:.3f} and not "
            text += f"{best['costs']:.3f}. "
        text += f"{len(holding) or 'None'} of {len(part)} {'stays' if len(holding) == 1 else 'stay'} within "
        text += f"{within:g} of the mean without attackers under every attack"
        text += f": {_listed(holding['defence'].tolist())}. " if len(holding) else ". "
        text += f"Measured B^2 is {size.b_squared:.2f}: no rule has a guarantee from a share of attackers of "
        text += f"{size.share:.0%} on, and here {grid.malicious:.0%} are malicious."
        sentences.append(text)
    return sentences


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:MOST])
    return f"{shown} and {len(names) - MOST} more" if len(names) > MOST else shown
