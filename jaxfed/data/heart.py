"""UCI Heart Disease: 920 patients of four hospitals in 1988 (doi 10.24432/C52P4X, CC BY 4.0).

Janosi, Steinbrunn, Pfisterer, Detrano. ``preprocessing="flamby"`` is Fed-Heart-Disease of FLamby
(Ogier du Terrail et al. 2022, arXiv 2210.04620), row by row, so that published numbers compare.
"""

from __future__ import annotations

import os

import numpy as np

from jaxfed.core.dataset import TEST, TRAIN, Dataset
from jaxfed.core.errors import InvalidInput, Problems, did_you_mean
from jaxfed.core.tasks import BINARY
from jaxfed.data import scaling
from jaxfed.data.download import find_files
from jaxfed.data.sklearn_extra import needs_sklearn
from jaxfed.data.splits import Split, resplit

URL = "https://archive.ics.uci.edu/ml/machine-learning-databases/heart-disease/"
FILES = {
    "cleveland": ("processed.cleveland.data", "2d91a8ff69cfd9616aa47b59d6f843db"),
    "hungary": ("processed.hungarian.data", "22e96bee155b5973568101c93b3705f6"),
    "switzerland": ("processed.switzerland.data", "9a87f7577310b3917730d06ba9349e20"),
    "va": ("processed.va.data", "4249d03ca7711e84f4444768c9426170"),
}
COLUMNS = (
    "age", "sex", "cp", "trestbps", "chol", "fbs", "restecg",
    "thalach", "exang", "oldpeak", "slope", "ca", "thal", "num",
)  # fmt: skip
# What is turned into indicators, and their levels without the first.
LEVELS = {"cp": (2, 3, 4), "restecg": (1, 2), "slope": (2, 3), "thal": (6, 7)}
ABSENT_FROM_FLAMBY = ("slope", "ca", "thal")
PREPARATIONS = ("flamby", "full")


def heart_disease(
    folder: str | os.PathLike[str] | None = None,
    *,
    preprocessing: str = "flamby",
    standardize: str | None = None,
    split: Split | str = "default",
    seed: int = 0,
) -> Dataset:
    """Heart disease (``num > 0``) in Cleveland, Hungary, Switzerland and Long Beach VA.

    Args:
        folder: where the four ``processed.*.data`` files are (or its parent, with ``heart/``);
            None looks in the environment variable JAXFED_DATA, the cache, then asks UCI.
        preprocessing: ``"flamby"``: slope, ca and thal dropped, then rows with missing values: 303,
            261, 46, 130 rows, 13 features, of which Switzerland's training rows are all positive.
            ``"full"``: all 920 rows and 18 features; missing values are NaN (an indicator is NaN
            where its column is), and so are the impossible ``chol`` = 0 and ``trestbps`` = 0;
            call :func:`~jaxfed.data.missing.impute` before training.
        standardize: ``"local"`` (default of "flamby"; there ``(x - m) / (sd + 1e-9)`` with every
            hospital's own training rows, as published), ``"federated"`` (default of "full") or
            ``"none"``.
        split: ``"default"`` is FLamby's 66 % training and 34 % test rows (needs scikit-learn) or,
            with "full", ``(.7, .1, .2)``; else as in :func:`~jaxfed.data.splits.resplit`.
        seed: of a split that is not FLamby's.

    Returns:
        Dataset with binary ``y``; indicators have their first level dropped (cp_1, restecg_0,
        slope_1, thal_3).

    Raises:
        InvalidInput: unknown options; files absent or changed, with where to put them.
    """
    problems = Problems("heart_disease")
    if preprocessing not in PREPARATIONS:
        problems.add(f"preprocessing={preprocessing!r}: {did_you_mean(preprocessing, PREPARATIONS)}")
    if standardize is not None and standardize not in scaling.WAYS:
        problems.add(f"standardize={standardize!r}: {did_you_mean(standardize, scaling.WAYS)}")
    problems.raise_if_any()
    flamby = preprocessing == "flamby"
    files = find_files(folder, "heart", dict(FILES.values()), URL)
    tables = {name: _parse(files[file]) for name, (file, _) in FILES.items()}
    tables = {name: _flamby_rows(t) if flamby else _full_rows(t) for name, t in tables.items()}
    features = _features(flamby)
    x = np.concatenate([_matrix(table, features) for table in tables.values()])
    y = np.concatenate([table["num"] > 0 for table in tables.values()]).astype(np.int32)
    dataset = Dataset(
        x=x,
        y=y,
        size=np.array([len(table["num"]) for table in tables.values()]),
        split=np.zeros(len(y), np.int8),
        hospitals=tuple(tables),
        task=BINARY,
        classes=("no disease", "disease"),
        features=features,
        name="heart disease",
    )
    if isinstance(split, str):
        if split != "default":
            raise InvalidInput(f"heart_disease: split={split!r}; give 'default' or three fractions")
        dataset = _flamby_split(dataset) if flamby else resplit(dataset, (0.7, 0.1, 0.2), seed)
    else:
        dataset = resplit(dataset, split, seed)
    how = standardize or ("local" if flamby else "federated")
    published = flamby and how == "local"
    dataset = _flamby_scale(dataset) if published else scaling.standardize(dataset, how)
    return dataset.replace(x=dataset.x.astype(np.float32))


def _parse(content: bytes) -> dict[str, np.ndarray]:
    rows = [line.split(",") for line in content.decode("ascii").split("\n") if line.strip()]
    table = np.array([[np.nan if v.strip() == "?" else float(v) for v in row] for row in rows])
    return dict(zip(COLUMNS, table.T, strict=True))


def _flamby_rows(table: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    kept = {key: column for key, column in table.items() if key not in ABSENT_FROM_FLAMBY}
    complete = ~np.isnan(np.stack(list(kept.values()))).any(0)
    return {key: column[complete] for key, column in kept.items()}


def _full_rows(table: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    # Nobody alive has a blood pressure or a cholesterol of 0: these are codes for "not measured".
    hidden = {key: np.where(table[key] == 0, np.nan, table[key]) for key in ("chol", "trestbps")}
    return table | hidden


def _features(flamby: bool) -> tuple[str, ...]:
    used = [key for key in COLUMNS[:-1] if not (flamby and key in ABSENT_FROM_FLAMBY)]
    plain = [key for key in used if key not in LEVELS]
    return (*plain, *(f"{key}_{level}" for key in used if key in LEVELS for level in LEVELS[key]))


def _matrix(table: dict[str, np.ndarray], features: tuple[str, ...]) -> np.ndarray:
    columns = []
    for feature in features:
        key, _, level = feature.partition("_")
        column = table[key]
        if level:
            column = np.where(np.isnan(column), np.nan, column == float(level))
        columns.append(column)
    return np.stack(columns, axis=1)


def _flamby_split(dataset: Dataset) -> Dataset:
    train_test_split = needs_sklearn("model_selection").train_test_split
    parts = []
    for name in dataset.hospitals:
        y = dataset.rows(name)[1]
        enough = np.bincount(y, minlength=2).min() > 2
        _, test = train_test_split(
            np.arange(len(y)),
            test_size=0.34,
            train_size=0.66,
            random_state=43,
            shuffle=True,
            stratify=y if enough else None,
        )
        part = np.full(len(y), TRAIN, np.int8)
        part[test] = TEST
        parts.append(part)
    return dataset.replace(split=np.concatenate(parts))


def _flamby_scale(dataset: Dataset) -> Dataset:
    x = dataset.x.copy()
    for a, n in zip(dataset.start, dataset.size, strict=True):
        own = dataset.x[a : a + n]
        train = own[dataset.split[a : a + n] == TRAIN]
        x[a : a + n] = (own - train.mean(0)) / (train.std(0, ddof=1) + 1e-9)
    return dataset.replace(x=x)
