"""``jaxfed privacy``: what noise costs and guarantees, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from jaxfed.core.errors import Problems
from jaxfed.figures.privacy import epsilon_figure
from jaxfed.figures.runs import save_figure
from jaxfed.privacy import Mechanism, accounting, arguments, noise_for


def privacy_command(
    noise: tuple[float, ...] = (),
    epsilon: tuple[float, ...] = (),
    rate: float = 1.0,
    rounds: int = 50,
    steps: int = 1,
    delta: float = 1e-5,
    adjacency: Literal["add-or-remove", "replace-one"] = "add-or-remove",
    accountant: Literal["pld", "rdp"] = "pld",
    out: Path = Path("results/privacy"),
) -> None:
    """Print epsilon over rounds for some noise, or the noise for some epsilon, and draw the curves.

    Args:
        noise: noise multipliers, one or several.
        epsilon: instead of noise: what the last round may cost; the noise is searched for.
        rate: probability of a row to be in a step (patients), or of a hospital to be in a round.
        rounds: communication rounds.
        steps: noisy steps of a round; 1 for the hospital unit.
        delta: of the guarantee.
        adjacency: what neighbouring data sets are.
        accountant: pld, the tightest, or rdp.
        out: folder for the table (epsilon.csv) and the figure (epsilon.png).
    """
    problems = Problems("privacy")
    problems.extend(arguments.whole("rounds", rounds))
    problems.extend(arguments.whole("steps", steps))
    problems.extend(arguments.share("delta", delta))
    for name, values in (("noise", noise), ("epsilon", epsilon)):
        for value in values:
            problems.extend(arguments.real(name, value, 0, np.inf, above=name == "epsilon"))
    problems.check(bool(noise) != bool(epsilon), "give --noise 1.0 or --epsilon 3.0, one or several")
    problems.raise_if_any()
    total = rounds * steps
    noises = [
        *noise,
        *(noise_for(e, total, delta, rate=rate, adjacency=adjacency, accountant=accountant) for e in epsilon),
    ]
    shown = np.unique(np.geomspace(1, rounds, 12).round().astype(int))
    columns = {}
    for z in noises:
        mechanism = Mechanism(z, rate, adjacency=adjacency)
        columns[f"noise {z:.4g}"] = accounting.curve(mechanism, shown * steps, delta, accountant=accountant)
    table = pd.DataFrame(columns, index=pd.Index(shown, name="rounds"))
    out.mkdir(parents=True, exist_ok=True)
    table.to_csv(out / "epsilon.csv")
    save_figure(epsilon_figure(table, delta), out / "epsilon.png")
    print(
        f"Epsilon at delta {delta:g} ({adjacency}, Poisson sampling, rate {rate:g}, {steps} steps a round; "
        f"{accountant.upper()} of {accounting.version()})"
    )
    print(table.to_string(float_format="{:.4g}".format))
    print(f"Written to {out}: epsilon.csv, epsilon.png")
