"""TCGA-BRCA: time to death of 1,088 patients with breast cancer, by six regions of the hospitals.

Clinical data of The Cancer Genome Atlas (open access, portal.gdc.cancer.gov; Liu et al. 2018, doi
10.1016/j.cell.2018.02.052), as FLamby prepared them (Fed-TCGA-BRCA, Ogier du Terrail et al. 2022, arXiv
2210.04620, MIT licence; preparation of Andreux et al. 2020, arXiv 2006.08997). Times are days. The access
policy of the data forbids attempts to identify patients.
"""

from __future__ import annotations

import io
import os

import numpy as np
import pandas as pd

from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import Problems, did_you_mean
from jaxfed.core.task import Task
from jaxfed.core.tasks import SURVIVAL
from jaxfed.data import scaling
from jaxfed.data.download import find_files
from jaxfed.data.splits import Split, part_numbers, resplit

URL = "https://raw.githubusercontent.com/owkin/FLamby/main/flamby/datasets/fed_tcga_brca/"
FILES = {
    "brca.csv": "989df4ddec084f749d9593146d7ba92f",
    "centers.csv": "03f23a40c35dfb8460b910d090e98dd5",
    "train_test_split.csv": "e648057e47463ee7763924d779cd7f2d",
}
PLACES = {"train_test_split.csv": "dataset_creation_scripts/train_test_split.csv"}
REGIONS = ("Northeast", "South", "West", "Midwest", "Europe", "Canada")


def tcga_brca(
    folder: str | os.PathLike[str] | None = None,
    *,
    standardize: str | None = None,
    split: Split | str = "default",
    seed: int = 0,
    task: Task = SURVIVAL,
) -> Dataset:
    """Overall survival after breast cancer in six regions: Northeast, South, West, Midwest, Europe, Canada.

    Args:
        folder: where ``brca.csv``, ``centers.csv`` and ``train_test_split.csv`` are (or its parent, with
            ``tcga_brca/``); None looks in the environment variable JAXFED_DATA, the cache, then asks GitHub.
        standardize: ``"federated"`` (default), ``"local"`` or ``"none"``, which is FLamby's: age in years
            beside indicators.
        split: ``"default"`` is FLamby's (248/63, 156/40, 164/42, 129/33, 129/33 and 40/11 training and test
            rows); else as in :func:`~jaxfed.data.splits.resplit`. Canada has 3 events, Europe 9.
        seed: of a split that is not FLamby's.
        task: a task of time and event, such as :func:`jaxfed.evaluation.discrete_hazard`.

    Returns:
        Dataset with ``y [1088, 2]``, days and death, and 39 features.

    Raises:
        InvalidInput: unknown options; files absent or changed, with where to put them.
    """
    problems = Problems("tcga_brca")
    if standardize is not None and standardize not in scaling.WAYS:
        problems.add(f"standardize={standardize!r}: {did_you_mean(standardize, scaling.WAYS)}")
    if not isinstance(task, Task) or not task.survival:
        problems.add(f"task={task!r}: give a task of time and event, such as jaxfed.evaluation.SURVIVAL")
    if isinstance(split, str) and split != "default":
        problems.add(f"split={split!r}: give 'default' or three fractions")
    problems.raise_if_any()
    files = find_files(folder, "tcga_brca", FILES, URL, PLACES)
    patients, centers, parts = (
        pd.read_csv(io.BytesIO(files[file]), keep_default_na=file == "brca.csv") for file in FILES
    )
    table = patients.merge(parts, on="pid")  # those with a split, in the order of brca.csv
    region = dict(zip(centers["TSS Code"], centers["Region"], strict=True))
    owner = np.array([REGIONS.index(region[pid.split("-")[1]]) for pid in table["pid"]])
    order = np.argsort(owner, kind="stable")
    table = table.iloc[order]
    features = [str(name) for name in patients if name not in ("pid", "E", "T")]
    dataset = Dataset(
        x=table[features].to_numpy(np.float32),
        y=table[["T", "E"]].to_numpy(np.float32),
        size=np.bincount(owner),
        split=part_numbers(table["fold"], "fold: ", problems),
        hospitals=REGIONS,
        task=task,
        features=tuple(features),
        name="TCGA-BRCA",
    )
    if not isinstance(split, str):
        dataset = resplit(dataset, split, seed)
    return scaling.standardize(dataset, standardize or "federated")
