"""What was done to the features of a dataset, with its numbers, so that new rows can be treated alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np

from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import InvalidInput, Problems, listed
from jaxfed.data.encoding import Encoding

Kind = Literal["impute", "clip", "standardize"]


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """Imputing, winsorising or standardising, as it was done.

    Attributes:
        kind: which.
        numbers: by path of the array in ``x``: of imputing, the value in place of missing ones, ``[d]`` or
            ``[C, d]``; of clipping, the lowest and the highest value, and of standardising, centre and
            divisor, each ``[1, d]`` or ``[C, d]``.
        hospitals: ``C`` names; empty where all hospitals have the same numbers.
        flagged: of imputing, numbers of the features that got a column of flags.
        how: what the numbers are, for reports: ``("mean",)``, or a word for each feature.
        missing: of imputing, codes in the columns of a table that stand for a missing value.
    """

    kind: Kind
    numbers: Mapping[str, tuple[np.ndarray, ...]]
    hospitals: tuple[str, ...] = ()
    flagged: tuple[int, ...] = ()
    how: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain lists, numbers and text; numbers keep all their digits."""
        numbers = {
            path: [[str(part.dtype), part.tolist()] for part in parts] for path, parts in self.numbers.items()
        }
        return {
            "kind": self.kind,
            "numbers": numbers,
            "hospitals": self.hospitals,
            "flagged": [int(j) for j in self.flagged],
            "how": self.how,
            "missing": self.missing,
        }


def step_from_json(read: Mapping[str, Any]) -> Step | Encoding:
    """Read what ``to_json`` of a step wrote."""
    if read["kind"] == Encoding.kind:
        return Encoding.from_json(read)
    numbers = {
        path: tuple(np.array(values, dtype) for dtype, values in parts)
        for path, parts in read["numbers"].items()
    }
    texts = (tuple(read.get(name, ())) for name in ("hospitals", "flagged", "how", "missing"))
    return Step(read["kind"], numbers, *texts)


def transform_like(dataset: Dataset, like: Dataset) -> Dataset:
    """New rows, imputed and standardised with the numbers of the data that were trained on.

    >>> from jaxfed.data import from_arrays, standardize
    >>> import numpy as np
    >>> raw = {"a": (np.arange(8.0)[:, None], [0, 1] * 4)}
    >>> train = standardize(from_arrays(raw))
    >>> new = transform_like(from_arrays({"b": ([[3.0], [3.0]], [0, 1])}, split=None), train)
    >>> bool(np.isclose(new.x[0, 0], train.x[3, 0]))
    True

    Args:
        dataset: rows as they are measured, of any hospitals; missing values may be NaN only in features that
            were imputed (build it with ``jaxfed.Dataset`` or before its own imputing).
        like: what :func:`~jaxfed.data.missing.impute` and :func:`~jaxfed.data.scaling.standardize` gave.

    Raises:
        InvalidInput: rows that are prepared already, other features, or a hospital without numbers of its own
            where each hospital was standardised by itself.
    """
    if any(isinstance(step, Encoding) for step in like.steps):
        raise InvalidInput(
            "transform_like: the other data were prepared from a table; give the table of the new rows to "
            "jaxfed.data.prepare(df, like=...)"
        )
    return prepare_like("transform_like", dataset, like.features, like.steps)


def prepare_like(caller: str, dataset: Dataset, features: tuple[str, ...], steps: tuple[Any, ...]) -> Dataset:
    """:func:`transform_like` with the features and the steps of the other data, for errors of ``caller``.

    Rows of a table that was encoded are encoded already, and have the features of the encoding.
    """
    problems = Problems(caller)
    problems.check(
        not dataset.steps, "the new rows are imputed or standardised already; give them as measured"
    )
    names = measured(features, steps)
    problems.check(
        dataset.features == names,
        f"the new rows have the features {listed(dataset.features)}, the others {listed(names)}; give "
        "the same",
    )
    check_hospitals(dataset.hospitals, steps, problems)
    problems.raise_if_any()
    for step in steps:
        if isinstance(step, Step):
            dataset = apply_step(dataset, step)
    return dataset.replace(steps=steps)


def check_hospitals(names: Iterable[str], steps: Sequence[Any], problems: Problems) -> None:
    """Record the hospitals that have no numbers where each hospital has its own."""
    names = list(names)
    for known in dict.fromkeys(step.hospitals for step in steps if step.hospitals):
        unknown = [name for name in names if name not in known]
        problems.check(
            not unknown,
            f"hospital {listed(unknown)}: each hospital was standardised by itself, and this was not "
            "there; standardise 'federated'",
        )


def measured(features: tuple[str, ...], steps: tuple[Any, ...]) -> tuple[str, ...]:
    """The features without the columns of flags that imputing has put behind them."""
    return features[: len(features) - sum(len(step.flagged) for step in steps if isinstance(step, Step))]


def apply_step(dataset: Dataset, step: Step) -> Dataset:
    """The rows, imputed, clipped or standardised; the step is not noted."""
    change = {"impute": _imputed, "clip": _clipped, "standardize": _scaled}[step.kind]
    return change(dataset, step, _place(dataset, step))


def _place(dataset: Dataset, step: Step) -> np.ndarray:
    """``[C]`` the row of each hospital in the step's numbers."""
    return np.array([step.hospitals.index(name) if step.hospitals else 0 for name in dataset.hospitals])


def _imputed(dataset: Dataset, step: Step, place: np.ndarray) -> Dataset:
    def fill(path: Any, leaf: np.ndarray) -> np.ndarray:
        values = step.numbers.get(leaf_name(path))
        if values is None:
            return leaf
        flat = leaf.reshape(len(leaf), -1, values[0].shape[-1])
        value = np.atleast_2d(values[0])[place[dataset.owner]][:, None] if step.hospitals else values[0]
        return np.where(np.isfinite(flat), flat, value).astype(leaf.dtype).reshape(leaf.shape)

    x = jax.tree_util.tree_map_with_path(fill, dataset.x)
    if not step.flagged:
        return dataset.replace(x=x)
    bad = ~np.isfinite(dataset.x[:, step.flagged])
    names = dataset.features and (
        *dataset.features,
        *(f"{dataset.features[j]} missing" for j in step.flagged),
    )
    return dataset.replace(x=np.concatenate([x, bad], axis=1, dtype=x.dtype), features=names)


def _clipped(dataset: Dataset, step: Step, place: np.ndarray) -> Dataset:
    def clip(path: Any, leaf: np.ndarray) -> np.ndarray:
        numbers = step.numbers.get(leaf_name(path))
        if numbers is None:
            return leaf
        low, high = (part[place[dataset.owner]][:, None] for part in numbers)
        flat = leaf.reshape(len(leaf), -1, low.shape[-1])
        kind = leaf.dtype if leaf.dtype.kind == "f" else np.float32
        return np.clip(flat, low, high).astype(kind).reshape(leaf.shape)

    return dataset.replace(x=jax.tree_util.tree_map_with_path(clip, dataset.x))


def _scaled(dataset: Dataset, step: Step, place: np.ndarray) -> Dataset:
    def scale(path: Any, leaf: np.ndarray) -> np.ndarray:
        numbers = step.numbers.get(leaf_name(path))
        return leaf if numbers is None else _apply(dataset, leaf, *(part[place] for part in numbers))

    return dataset.replace(x=jax.tree_util.tree_map_with_path(scale, dataset.x))


def _apply(dataset: Dataset, leaf: np.ndarray, mean: np.ndarray, divisor: np.ndarray) -> np.ndarray:
    """An array less ``mean [C, d]`` and divided by ``divisor [C, d]``, hospital by hospital."""
    kind = leaf.dtype if leaf.dtype.kind == "f" else np.float32
    done = np.empty(leaf.shape, kind)
    flat, out = (a.reshape(len(leaf), -1, mean.shape[-1]) for a in (leaf, done))
    for c, (a, n) in enumerate(zip(dataset.start, dataset.size, strict=True)):
        # In float64, so that a large mean cancels before the digits are cut.
        out[a : a + n] = (flat[a : a + n].astype(np.float64) - mean[c]) / divisor[c]
    return done


def leaf_name(path: Any) -> str:
    """The place of an array in ``x``, as text."""
    return jax.tree_util.keystr(path, simple=True, separator="/")
