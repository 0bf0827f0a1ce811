"""Execute notebooks at their full size and write them with their outputs: ``python notebooks/execute.py``.

Files that a notebook saves go to a temporary folder.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from pathlib import Path

import nbformat
import tyro
from nbclient import NotebookClient

HERE = Path(__file__).parent
# the file of a cell before its warning, another one in each kernel
WHERE = re.compile(r"^\S*/ipykernel_\d+/\d+\.py:\d+: ", re.MULTILINE)


def main(only: list[str] | None = None) -> None:
    """Execute all notebooks, or only those with these names."""
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # whatever this process draws with
    for path in sorted(HERE.glob("*.ipynb")):
        if only and path.stem not in only:
            continue
        began = time.perf_counter()
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            resources = {"metadata": {"path": folder}}
            NotebookClient(notebook, timeout=1800, kernel_name="python3", resources=resources).execute()
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)  # times of each cell, which change without a reason
            for output in cell.get("outputs", []):
                if output.get("name") == "stderr":
                    output.text = WHERE.sub("", output.text)
        nbformat.write(notebook, path)
        print(f"{path.name}: {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    tyro.cli(main)
