"""jaxfed's robust rules beside ByzFL's, on the same uploads: do they agree, and what does a call cost?

python benchmarks/robust_peers.py [OUT.json] [--repeats 5]

Uploads are gradients of 20 hospitals, of which 3 send what the others' spread can hide; ByzFL runs in an
environment that is made beside them. Where ByzFL's rule is not the formula of its paper, the settings or the
note say so: its Krum counts n - f - 1 neighbours (the paper n - f - 2, so jaxfed gets f - 1), and its CAF and
SMEA take one power iteration from a random vector for the largest eigenvector, so that two calls differ.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from peers import process

from jaxfed.aggregators import (
    ARC,
    CAF,
    MDA,
    NNM,
    SMEA,
    CentredClipping,
    GeometricMedian,
    Krum,
    Meamed,
    Median,
    MoNNA,
    StaticClipping,
    TrimmedMean,
    UniformMean,
)  # fmt: skip
from jaxfed.core.uploads import Uploads

HOSPITALS, SIZE, F = 20, 20_000, 3
# name: jaxfed's parts, ByzFL's rule and arguments, its pre-aggregators, and why results may differ
CASES: dict[str, tuple[list[Any], str, dict[str, Any], list[Any], str]] = {
    "mean": ([UniformMean()], "Average", {}, [], ""),
    "median": ([Median()], "Median", {}, [], ""),
    "trimmed mean": ([TrimmedMean(F / HOSPITALS)], "TrMean", {"f": F}, [], ""),
    "Krum": ([Krum(F - 1)], "Krum", {"f": F}, [], ""),
    "multi-Krum": ([Krum(F - 1, select=HOSPITALS - F)], "MultiKrum", {"f": F}, [], ""),
    "geometric median": (
        [GeometricMedian(steps=200)], "GeometricMedian", {"nu": 1e-6, "T": 200}, [], "",
    ),
    "centred clipping": ([CentredClipping(5.0)], "CenteredClipping", {"tau": 5.0}, [], ""),
    "MDA": ([MDA(F)], "MDA", {"f": F}, [], ""),
    "MoNNA": ([MoNNA(F)], "MoNNA", {"f": F}, [], ""),
    "Meamed": ([Meamed(F)], "Meamed", {"f": F}, [], ""),
    "CAF": ([CAF(F)], "CAF", {"f": F}, [], "ByzFL takes one random power iteration"),
    "SMEA": ([SMEA(F)], "SMEA", {"f": F}, [], "ByzFL takes one random power iteration"),
    "NNM, trimmed mean": ([NNM(F), TrimmedMean(F / HOSPITALS)], "TrMean", {"f": F}, [["NNM", {"f": F}]], ""),
    "NNM, Krum": ([NNM(F), Krum(F - 1)], "Krum", {"f": F}, [["NNM", {"f": F}]], ""),
    "ARC, trimmed mean": ([ARC(F), TrimmedMean(F / HOSPITALS)], "TrMean", {"f": F}, [["ARC", {"f": F}]], ""),
    "clipping, mean": (
        [StaticClipping(100.0), UniformMean()], "Average", {}, [["Clipping", {"c": 100.0}]], "",
    ),
}  # fmt: skip


def uploads() -> np.ndarray:
    """``[HOSPITALS, SIZE]``: heterogeneous gradients, of which F are the mean plus 1.5 deviations (ALIE)."""
    rng = np.random.default_rng(0)
    signal, spread = rng.standard_normal(SIZE), rng.standard_normal((HOSPITALS, SIZE))
    x = signal + np.linspace(0.5, 1.5, HOSPITALS)[:, None] * spread
    x[:F] = x[F:].mean(0) + 1.5 * x[F:].std(0) * np.linspace(0.99, 1.01, F)[:, None]
    return x[rng.permutation(HOSPITALS)].astype(np.float32)


def ours(parts: list[Any], x: np.ndarray, repeats: int) -> tuple[np.ndarray, list[float]]:
    """The aggregate, and seconds of calls of the compiled program."""
    *mixers, rule = parts

    @jax.jit
    def program(matrix: jax.Array, key: jax.Array) -> jax.Array:
        stored = Uploads(matrix, jnp.zeros((len(matrix), 0)), jnp.ones(len(matrix)), matrix.shape[1], None)
        for mixer in mixers:
            stored = mixer.apply(stored, key)
        return rule.reduce(stored, rule.init(jnp.zeros(matrix.shape[1])), key)[0].update

    matrix, key, seconds = jnp.asarray(x), jax.random.key(0), []
    result = np.asarray(program(matrix, key))
    for _ in range(repeats):
        began = time.perf_counter()
        program(matrix, key).block_until_ready()
        seconds.append(time.perf_counter() - began)
    return result, seconds


def main() -> None:
    """Compare, print, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--venvs", type=Path, default=Path("~/.cache/jaxfed/peers"))
    given = parser.parse_args()
    python = process.interpreter("byzfl", given.venvs.expanduser())
    x, results = uploads(), []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        np.save(folder / "uploads.npy", x)
        peer = process.Process("peers.byzfl_rules", python, folder / "byzfl.log")
        for name, (parts, rule, arguments, before, why) in CASES.items():
            request = {"uploads": str(folder / "uploads.npy"), "out": str(folder / "result.npy")}
            answer = peer.ask(
                rule=rule, arguments=arguments, before=before, repeats=given.repeats, patience=900, **request
            )
            theirs = np.load(folder / "result.npy")
            mine, seconds = ours(parts, x, given.repeats)
            row = {
                "rule": name,
                "difference": float(np.linalg.norm(mine - theirs) / np.linalg.norm(theirs)),
                "seconds": {
                    "jaxfed": float(np.median(seconds)),
                    "byzfl": float(np.median(answer["seconds"])),
                },
                "note": why,
            }
            print(f"{name}: {row['difference']:.1e} apart; {row['seconds']}; {why}", flush=True)
            results.append(row)
        peer.close()
    record = {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "shape": [HOSPITALS, SIZE],
        "f": F,
        "versions": {"jax": jax.__version__, "byzfl": answer["version"], "numpy": np.__version__},
        "repeats": given.repeats,
        "results": results,
    }
    if given.out is not None:
        given.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
