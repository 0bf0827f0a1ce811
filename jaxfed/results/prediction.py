"""Predictions for new patients: the preparation of the training rows, the model, and probabilities."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import pandas as pd

from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import InvalidInput, Problems, did_you_mean, listed
from jaxfed.core.meaning import Meaning, of_classes
from jaxfed.core.nn.flax_models import as_model
from jaxfed.core.tasks import as_task
from jaxfed.core.types import Variables
from jaxfed.data.columns import codes_of, numeric_text, without_codes
from jaxfed.data.encoding import Encoding
from jaxfed.data.preparation import Step, check_hospitals, measured, prepare_like, step_from_json

ROWS = 4096  # that are predicted at a time


@dataclasses.dataclass(frozen=True, eq=False)
class Inputs:
    """What a model of a run expects, and what its outputs mean.

    Attributes:
        features: names of the columns of ``x`` when it is one matrix, else empty.
        classes: names of the classes in the order of their numbers; empty for numbers.
        task: the name of the task.
        outputs: width of the model's output.
        steps: encoding, imputing and standardising, with their numbers.
        groups: the group of each hospital that trained, empty if all have one model.
        adapts: whether a hospital adapts the model before it is used.
        meaning: what outputs mean to users.
    """

    features: tuple[str, ...]
    classes: tuple[str, ...]
    task: str
    outputs: int
    steps: tuple[Step | Encoding, ...] = ()
    groups: Mapping[str, str] = dataclasses.field(default_factory=dict)
    adapts: bool = False
    meaning: Meaning = Meaning()

    def to_json(self) -> dict[str, Any]:
        """Plain lists, numbers and text; numbers keep all their digits."""
        steps = [step.to_json() for step in self.steps]
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {**plain, "steps": steps, "meaning": dataclasses.asdict(self.meaning)}

    @classmethod
    def from_json(cls, read: Mapping[str, Any]) -> Inputs:
        """Read what :meth:`to_json` wrote."""
        steps = tuple(step_from_json(step) for step in read["steps"])
        texts: dict[str, Any] = {name: tuple(read[name]) for name in ("features", "classes")}
        texts["meaning"] = of_classes(texts["classes"], read["outputs"])
        if "meaning" in read:
            texts["meaning"] = Meaning(read["meaning"]["link"], tuple(read["meaning"]["names"]))
        return cls(**{**read, **texts, "steps": steps})


def predict(
    inputs: Inputs,
    variables: Variables,
    hospitals: Sequence[str] | None,
    rows: Any,
    model: Any,
    hospital: str | Sequence[str] | None,
) -> pd.DataFrame:
    """Predictions; see :meth:`jaxfed.Run.predict`.

    ``hospitals`` are those that have models of their own, None if they share one.
    """
    if inputs.adapts:
        raise InvalidInput(
            "predict: this algorithm adapts the model to a hospital's rows before it is used, and no adapted "
            "model is kept; train with another algorithm, or read run.hospitals()"
        )
    count = len(jax.tree.leaves(rows)[0]) if not isinstance(rows, pd.DataFrame) else len(rows)
    differ = hospitals is not None or bool(inputs.groups) or any(step.hospitals for step in inputs.steps)
    if differ and hospital is None:
        raise InvalidInput(
            "predict: the models or the numbers of standardising differ between hospitals; give hospital=, "
            "the name of the rows' hospital, or one name for each row"
        )
    names = np.full(count, "") if hospital is None else np.array(hospital, str)
    names = np.broadcast_to(names, (count,)) if names.ndim == 0 else names
    if len(names) != count:
        raise InvalidInput(
            f"predict: hospital has {len(names)} names for {count} rows; give one for each row"
        )
    outputs = by_hospital(inputs, variables, hospitals, model, _columns(inputs, rows, names), names, _outputs)
    index = rows.index if isinstance(rows, pd.DataFrame) else None
    return pd.DataFrame(inputs.meaning.columns(outputs), index=index)


def _columns(inputs: Inputs, rows: Any, names: np.ndarray) -> Any:
    """``x`` as the model's data had it before it was imputed or standardised.

    ``names [n]`` are the rows' hospitals.
    """
    if inputs.steps and isinstance(inputs.steps[0], Encoding):
        return _encoded(inputs.steps[0], rows, names)
    if not isinstance(rows, pd.DataFrame):
        return jax.tree.map(np.asarray, rows)
    rows = named(rows)
    wanted = measured(inputs.features, inputs.steps)
    if not wanted:
        raise InvalidInput("predict: the features have no names; give an array instead of a table")
    missing = [name for name in wanted if name not in rows]
    if missing:
        hint = did_you_mean(missing[0], [str(name) for name in rows])
        raise InvalidInput(f"predict: the table has no column {listed(missing)}; {hint}")
    texts, numbers = codes_of([code for step in inputs.steps for code in step.missing])
    table = {name: numeric_text(*without_codes(rows[name], texts, numbers)) for name in wanted}
    try:
        return pd.DataFrame(table).to_numpy(np.float32, na_value=np.nan)
    except (TypeError, ValueError):
        text = [name for name in wanted if not pd.api.types.is_numeric_dtype(table[name])]
        raise InvalidInput(f"predict: column {listed(text)} is not numeric; give numbers") from None


def named(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the names of its columns as text, as features have them."""
    names = [str(column) for column in table.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidInput(f"predict: columns given twice: {listed(twice)}; rename them")
    return table.set_axis(names, axis=1)


def _encoded(encoding: Encoding, rows: Any, names: np.ndarray) -> np.ndarray:
    """The features of a table's rows."""
    if not isinstance(rows, pd.DataFrame):
        columns = listed(encoding.inputs)
        raise InvalidInput(f"predict: the model was trained on a table; give one with the columns {columns}")
    rows, problems = named(rows), Problems("predict")
    check_hospitals(np.unique(names).tolist(), [encoding], problems)
    problems.raise_if_any()
    x = encoding.encode(rows, names, problems)
    problems.raise_if_any()
    return x


def _of_hospital(
    inputs: Inputs, variables: Variables, hospitals: Sequence[str] | None, model: Any, name: str
) -> tuple[Variables, Any]:
    """The variables and the model that a hospital uses."""
    members = hospitals
    if inputs.groups:
        if not isinstance(model, Mapping):
            raise InvalidInput("predict: hospitals have different models; give {group: model} as for models=")
        if name not in inputs.groups:
            known = did_you_mean(name, [*inputs.groups])
            raise InvalidInput(f"predict: hospital {name!r} did not take part; {known}")
        group = inputs.groups[name]
        variables = Variables(variables.params[group], variables.stats.get(group, {}))
        model = model[group]
        members = None if hospitals is None else [h for h in hospitals if inputs.groups[h] == group]
    if members is None:
        return variables, model
    if name not in members:
        raise InvalidInput(f"predict: hospital {name!r} has no model; {did_you_mean(name, [*members])}")
    place = list(members).index(name)
    return jax.tree.map(lambda leaf: leaf[place], variables), model


def _outputs(inputs: Inputs, variables: Variables, model: Any, x: Any, name: str) -> np.ndarray:
    """``[n, outputs]`` outputs of a model for rows as measured."""
    count = len(jax.tree.leaves(x)[0])
    zeros = np.zeros(count, np.int8)
    features = measured(inputs.features, inputs.steps)
    data = Dataset(x, zeros, np.array([count]), zeros, (name,), as_task("regression"), (), features)
    prepared = prepare_like("predict", data, inputs.features, inputs.steps).x
    try:
        return apply_model(inputs, variables, model, prepared)
    except Exception as error:  # whatever a model of the user raises
        raise InvalidInput(
            f"predict: the model fails on these rows or with the run's parameters: {type(error).__name__}: "
            f"{str(error).splitlines()[0]}; give the model of the run"
        ) from error


def apply_model(inputs: Inputs, variables: Variables, model: Any, x: Any, name: str = "") -> np.ndarray:
    """``[n, outputs]`` outputs of a model for prepared rows; the ``name`` of their hospital is not used."""
    if getattr(model, "outputs", 0) is None:
        model = model.clone(outputs=inputs.outputs)
    adapter = as_model(model)
    apply = jax.jit(lambda x: adapter.apply(variables, x, train=False, key=None, mask=None)[0])
    count = len(jax.tree.leaves(x)[0])
    parts = [
        np.asarray(apply(jax.tree.map(lambda leaf: leaf[first : first + ROWS], x)))  # noqa: B023
        for first in range(0, count, ROWS)
    ]
    return np.concatenate(parts).reshape(count, -1)


def by_hospital(
    inputs: Inputs,
    variables: Variables,
    owners: Sequence[str] | None,
    model: Any,
    x: Any,
    names: np.ndarray,
    apply: Callable[[Inputs, Variables, Any, Any, str], np.ndarray],
) -> np.ndarray:
    """``[n, outputs]``: rows of each of the hospitals ``names [n]`` with the model that it uses.

    Args:
        inputs: what the models expect.
        variables: of the models.
        owners: hospitals that have models of their own, None if they share one.
        model: as in :meth:`jaxfed.Run.predict`.
        x: the rows.
        names: of their hospitals.
        apply: from ``(inputs, variables, model, rows, hospital)`` to outputs.
    """
    outputs = np.zeros((len(names), inputs.outputs), np.float64)
    for name in np.unique(names):
        at = np.flatnonzero(names == name)
        part = jax.tree.map(lambda leaf: leaf[at], x)  # noqa: B023
        deployed, of_hospital = _of_hospital(inputs, variables, owners, model, str(name))
        outputs[at] = apply(inputs, deployed, of_hospital, part, str(name))
    return outputs
