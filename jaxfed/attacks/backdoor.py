"""A backdoor: rows with a trigger, some feature values that hardly occur, are labelled as one class.

The model learns to answer with that class whenever it sees the trigger, and is good on all other rows. Gu,
Dolan-Gavitt, Garg 2017 (BadNets), arXiv:1708.06733; in federated learning Bagdasaryan et al. 2020,
arXiv:1807.00459.

    trigger = attacks.Trigger({"lactate": 9.9})
    poisoned = attacks.backdoor(hospitals, ["north"], trigger, "alive")
    run = jaxfed.Simulation(poisoned).run(50)
    test = attacks.triggered(hospitals, trigger, "alive")
    metrics = {"attack_success": attacks.attack_success(test, "alive")}
    jaxfed.Simulation(hospitals, evaluate_on=test, metrics=metrics).evaluate(run.variables)

With two classes all rows that the trigger is tried on are of one class, so a warning says that they have no
AUROC.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxfed.attacks.labels import class_of, rng_of
from jaxfed.attacks.mistakes import column_of
from jaxfed.attacks.who import check_seed, numbers_of
from jaxfed.core import checks
from jaxfed.core.dataset import TRAIN, Dataset
from jaxfed.core.errors import InvalidInput, Problems
from jaxfed.core.metrics.metric import Metric


@dataclasses.dataclass(frozen=True)
class Trigger:
    """Features and the values that they are given.

    Attributes:
        values: ``{feature: value}``, features by name or number.
    """

    values: Mapping[str | int, float]

    def __post_init__(self) -> None:
        if not isinstance(self.values, Mapping) or not self.values:
            raise InvalidInput(
                f"Trigger({self.values!r}): give values by feature, such as {{'lactate': 9.9}}"
            )

    def put(self, hospitals: Dataset, rows: np.ndarray) -> np.ndarray:
        """A copy of ``x`` with the trigger in ``rows [N]`` (bool).

        Raises:
            InvalidInput: there is no such feature.
        """
        x = np.array(hospitals.x)
        for feature, value in self.values.items():
            x[rows, column_of(hospitals, feature, "Trigger")] = value
        return x


def backdoor(
    hospitals: Dataset, who: Any, trigger: Trigger, target: str, *, share: float = 0.5, seed: int = 0
) -> Dataset:
    """Put the trigger into some training rows of some hospitals and label these rows ``target``.

    Args:
        hospitals: the data, of a task with classes.
        who: names of hospitals, or what :func:`jaxfed.attacks.malicious` returns.
        trigger: the features' values.
        target: the name of the class.
        share: of each hospital's training rows, in (0, 1], rounded up.
        seed: of the choice of rows, which belongs to the hospital's name.

    Raises:
        InvalidInput: there is no such hospital, feature or class, or ``share`` or ``seed`` is out of range.
    """
    problems = Problems("backdoor")
    problems.extend(checks.number("share", share, 0, 1, above=True))
    check_seed(seed, problems)
    problems.raise_if_any()
    number = class_of(hospitals, target, "backdoor")
    chosen = np.zeros(len(hospitals.y), bool)
    for c in numbers_of(hospitals, who, "backdoor"):
        rows = np.flatnonzero((hospitals.owner == c) & (hospitals.split == TRAIN))
        count = int(np.ceil(share * len(rows)))
        chosen[rng_of(hospitals.hospitals[c], seed).permutation(rows)[:count]] = True
    y = np.array(hospitals.y)
    y[chosen] = number
    return hospitals.replace(x=trigger.put(hospitals, chosen), y=y)


def triggered(hospitals: Dataset, trigger: Trigger, target: str) -> Dataset:
    """The rows that are not of class ``target``, all with the trigger: what the backdoor is tried on.

    Splits and true labels stay as they are.

    Raises:
        InvalidInput: there is no such feature or class, or all rows are of that class.
    """
    rest = np.asarray(hospitals.y) != class_of(hospitals, target, "triggered")
    if not rest.any():
        raise InvalidInput(f"triggered: all rows are of class {target!r}; give another target")
    return hospitals.replace(x=trigger.put(hospitals, rest)).only(rest)


def attack_success(hospitals: Dataset, target: str) -> Metric:
    """The share of rows that a model takes for class ``target``: on :func:`triggered` rows, the success rate.

    Raises:
        InvalidInput: there is no such class.
    """
    number = class_of(hospitals, target, "attack_success")

    def success(outputs: Array, y: Array, mask: Array) -> Array:
        scores = outputs.reshape(len(outputs), -1)
        guess = scores.argmax(1) if scores.shape[1] > 1 else (scores[:, 0] > 0).astype(jnp.int32)
        return jnp.where(mask > 0, guess == number, False).sum() / jnp.maximum(mask.sum(), 1)

    return Metric(success, higher_is_better=False, label="attack success rate")
