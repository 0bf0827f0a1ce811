"""The runs of the benchmark as data: which hospitals, which chain, which seed; and why some are left out."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from jaxfed.attacks import malicious
from jaxfed.bench.catalogue import ATTACKS, BEFORE, RULES, SETTINGS, Grid, Harm, Seen
from jaxfed.bench.switch import OneAttack, OneRule, OneTransform
from jaxfed.core import checks
from jaxfed.core.aggregation import Attack, Chain, Mixer, Rule, Streamed, Transform
from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import InvalidInput, Problems, did_you_mean
from jaxfed.core.hyperparameters import PerHospital
from jaxfed.transforms import Momentum


class Setting(NamedTuple):
    """Hospitals of the benchmark, and which of them are malicious."""

    name: str
    hospitals: Dataset
    malicious: PerHospital

    @property
    def honest(self) -> np.ndarray:
        """``[C]`` bool."""
        return np.asarray(self.malicious.values) == 0

    @property
    def f(self) -> int:
        """The number of malicious hospitals."""
        return int((~self.honest).sum())


class Defence(NamedTuple):
    """A rule with its numbers, and the mixer before it."""

    rule: str
    before: str
    numbers: str
    mixer: Mixer | None
    aggregator: Rule | Streamed


@dataclasses.dataclass(frozen=True)
class Cells:
    """The runs on settings that can share a program.

    Attributes:
        frame: a row for each run: setting, rule, before, numbers, attack, seed.
        hospitals: the data set of each run.
        chains: the chain of each run.
    """

    frame: pd.DataFrame
    hospitals: list[Dataset]
    chains: list[Chain]

    @property
    def fields(self) -> dict[str, Any]:
        """What ``sweep(mode="zip")`` takes."""
        return {"hospitals": self.hospitals, "aggregator": self.chains, "seed": self.frame["seed"].tolist()}


def check(grid: Grid) -> None:
    """Raise one error that lists what the grid asks for and that does not exist."""
    problems = Problems("bench")
    tables: dict[str, dict[str, Any]] = {
        "rules": RULES,
        "before": BEFORE,
        "attacks": ATTACKS,
        "settings": SETTINGS,
    }
    for field, table in tables.items():
        names = getattr(grid, field)
        if isinstance(names, str) or not len(names):
            problems.add(f"{field}={names!r}: give some of {[*table]}")
            continue
        for name in names:
            problems.check(name in table, f"{field}: no {name!r}; {did_you_mean(name, table)}")
        problems.check(len({*names}) == len(names), f"{field}={[*names]}: a name is given twice")
    for name in ("hospitals", "rounds", "eval_every", "seeds", "steps", "batch_size", "hidden"):
        value, least = getattr(grid, name), 0 if name == "hidden" else 1
        whole = isinstance(value, int) and not isinstance(value, bool) and value >= least
        problems.check(
            whole or (name == "batch_size" and value is None),
            f"{name}={value!r}: give a whole number >= {least}",
        )
    problems.extend(checks.number("momentum", grid.momentum, 0, 1, below=True))
    problems.check(
        "mean" in grid.rules and "none" in grid.attacks,
        "rules need 'mean' and attacks need 'none': what the mean reaches without attackers is the reference",
    )
    problems.raise_if_any()
    f = int(grid.malicious * grid.hospitals + 1e-9) if 0 < grid.malicious < 0.5 else 0
    if f < 1:
        raise InvalidInput(
            f"bench: malicious={grid.malicious!r} of {grid.hospitals} hospitals: give a share below 0.5 that "
            "is at least one hospital, such as 0.2 of 20"
        )


def settings_of(grid: Grid) -> list[Setting]:
    """The hospitals of each setting; hospitals of the same names are malicious in all of them."""
    settings = []
    for name in grid.settings:
        hospitals = SETTINGS[name](grid.hospitals)
        settings.append(Setting(name, hospitals, malicious(hospitals, grid.malicious)))
    return settings


def families(settings: list[Setting]) -> list[list[Setting]]:
    """Settings that can share a program."""
    groups: dict[Any, list[Setting]] = {}
    for setting in settings:
        data = setting.hospitals
        marks = tuple(setting.honest.tolist())
        groups.setdefault((data.task.name, data.outputs, data.x.shape[1:], data.hospitals, marks), []).append(
            setting
        )
    return [*groups.values()]


def defences_of(grid: Grid, setting: Setting) -> tuple[list[Defence], dict[str, str]]:
    """The defences, and those that cannot work with this many hospitals, with the reason."""
    defences, impossible = [], {}
    clients, f = len(setting.hospitals), setting.f
    for before in grid.before:
        mixer = BEFORE[before](f)
        seen = Seen(clients if mixer is None else mixer.left(clients), f, setting.malicious)
        for rule in grid.rules:
            if rule == "mean" and before != "none":
                continue
            title = named(rule, before)
            if 2 * f >= seen.uploads:
                impossible[title] = f"{f} of {seen.uploads} uploads may be malicious"
                continue
            for numbers, aggregator in RULES[rule](seen).items():
                chain = Chain((), () if mixer is None else (mixer,), aggregator, ())
                problems = chain.problems(clients)
                if problems:
                    impossible[title] = "; ".join(problems)
                else:
                    defences.append(Defence(rule, before, numbers, mixer, aggregator))
    return defences, impossible


def named(rule: str, before: str) -> str:
    """A defence's name."""
    return rule if before == "none" else f"{before} + {rule}"


def cells_of(grid: Grid, family: list[Setting]) -> Cells:
    """The runs on some settings."""
    first = family[0]
    defences, _ = defences_of(grid, first)
    mixers = _distinct([d.mixer for d in defences if d.mixer is not None])
    rules = _distinct([d.aggregator for d in defences])
    poisoned = {
        (s.name, name): _poisoned(s, ATTACKS[name](s.hospitals, s.malicious))
        for s in family
        for name in grid.attacks
    }
    harms: dict[str, Harm] = {name: ATTACKS[name](first.hospitals, first.malicious) for name in grid.attacks}
    transforms = {name: h for name, h in harms.items() if isinstance(h, Transform)}
    mixing = {name: h for name, h in harms.items() if isinstance(h, Attack)}
    before = (Momentum(grid.momentum),) if grid.momentum else ()
    rows, hospitals, chains = [], [], []
    for name in grid.attacks:
        transform = OneTransform(tuple(transforms.values()), _number(name, transforms))
        attack = OneAttack(tuple(mixing.values()), _number(name, mixing))
        for defence in defences:
            rule = OneRule(
                tuple(mixers),
                tuple(_filled(rules, defence.aggregator)),
                0 if defence.mixer is None else 1 + _place(mixers, defence.mixer),
                _place(rules, defence.aggregator),
            )
            chain = Chain((*before, transform), (attack,), rule, ())
            for setting in family:
                for seed in range(grid.seeds):
                    rows.append((setting.name, defence.rule, defence.before, defence.numbers, name, seed))
                    hospitals.append(poisoned[setting.name, name])
                    chains.append(chain)
    names = ["setting", "rule", "before", "numbers", "attack", "seed"]
    return Cells(pd.DataFrame(rows, columns=names), hospitals, chains)


def _poisoned(setting: Setting, harm: Harm) -> Dataset:
    if harm is None or isinstance(harm, (Transform, Attack)):
        return setting.hospitals
    return harm(setting.hospitals)


def _number(name: str, choices: dict[str, Any]) -> int:
    return 1 + [*choices].index(name) if name in choices else 0


def _distinct(parts: list[Any]) -> list[Any]:
    """The first part of each structure."""
    return [*{jax.tree.structure(part): part for part in reversed(parts)}.values()][::-1]


def _place(parts: list[Any], part: Any) -> int:
    return [jax.tree.structure(other) for other in parts].index(jax.tree.structure(part))


def _filled(parts: list[Any], part: Any) -> list[Any]:
    """The parts, with the numbers of one of them."""
    place = _place(parts, part)
    return [part if i == place else other for i, other in enumerate(parts)]
