"""The README's code runs as it stands, at small size."""

import re
from pathlib import Path

from matplotlib.figure import Figure

README = Path(__file__).parent.parent / "README.md"


BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
SMALL = {
    "jaxfed.use_cpu_devices()": "pass",
    "hospitals=200": "hospitals=8",
    "rounds=50": "rounds=5",
    "rounds=20": "rounds=2",
    "range(5)": "range(2)",
    "* 100": "* 4",
    "hospitals, 500": "hospitals, 50",
}


def run(block, names):
    for shown, small in SMALL.items():
        block = block.replace(shown, small)
    exec(block, names)
    return names


def test_first_block_runs():
    names = run(BLOCKS[0], {})
    assert isinstance(names["run"].plot(), Figure)
    assert len(names["run"].hospitals()) == 8
    assert names["run"].to_frame()["round"].tolist() == [0, 0, 5, 5]


def test_a_sweep_and_different_models_run():
    names = run(BLOCKS[0].split("run = ")[0], {})
    swept, mixed = (next(b for b in BLOCKS if word in b) for word in ("prox.sweep(", "models={"))
    run(swept, names)
    assert names["sweep"].data["auroc_pooled"].shape == (3, 3, 2, 3, 2)
    assert names["tuned"].algorithm.mu in (0.0, 0.1, 1.0)
    assert len(run(mixed.replace("mixed.run(", "table = mixed.run("), names)["table"]) == 8
