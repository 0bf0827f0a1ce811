"""The benchmark of speed at tiny size: arrays, gate, a peer's process, the file and the page. Speed itself is
not tested."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"

TINY_IMAGES = (("conv", 3, 3), ("relu",), ("pool", 2), ("flatten",), ("dense", 4))


@pytest.fixture(scope="module", autouse=True)
def benchmarks():
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture
def tiny():
    from workloads.catalogue import WORKLOADS, equal
    from workloads.models import mlp

    return dataclasses.replace(
        WORKLOADS["W2e"], sizes=equal(6, 10), inputs=(3,), layers=mlp(4, 1), batch=4, peers=()
    )


def test_models_have_the_published_numbers_of_parameters():
    from workloads.catalogue import WORKLOADS
    from workloads.models import initial

    published = {"W3": 1_626_442, "W4": 1_206_590, "W5": 62_006}
    for name, count in published.items():
        params = initial(WORKLOADS[name].layers, WORKLOADS[name].inputs)
        assert sum(leaf.size for leaf in params) == count


@pytest.mark.parametrize(
    ("layers", "inputs", "classes"), [(TINY_IMAGES, (7, 7, 2), 4), ((("dense", 1),), (3,), 2)]
)
def test_the_oracle_has_the_gradient_of_differences(layers, inputs, classes):
    from workloads import models, oracle

    rng = np.random.default_rng(0)
    params = [leaf.astype(np.float64) for leaf in models.initial(layers, inputs)]
    x, y = rng.normal(size=(5, *inputs)), rng.integers(0, classes, 5)

    def along(direction, size):
        moved = [p + size * d for p, d in zip(params, direction, strict=True)]
        return oracle.gradient(layers, moved, x, y)

    # the Hessian is symmetric, so a wrong gradient field shows in d' H e - e' H d
    d, e = ([rng.normal(size=p.shape) for p in params] for _ in range(2))

    def curved(first, second):
        high, low = along(first, 1e-5), along(first, -1e-5)
        return sum(((h - w) / 2e-5 * s).sum() for h, w, s in zip(high, low, second, strict=True))

    np.testing.assert_allclose(curved(d, e), curved(e, d), rtol=1e-4)


def test_arrays_are_written_once_and_read_by_hospital(tiny, tmp_path):
    from workloads import arrays

    arrays.write(tiny, tmp_path)
    stamp = (tmp_path / "x.npy").stat().st_mtime_ns
    arrays.write(tiny, tmp_path)
    assert (tmp_path / "x.npy").stat().st_mtime_ns == stamp
    found = arrays.read(tmp_path)
    x, y = found.rows(5)
    np.testing.assert_array_equal(x, found.x[50:60])
    assert y.shape == (10,)
    assert found.samples(np.array([0, 3])) == 20
    assert found.steps(np.array([0, 3])) == 6
    assert found.shortened(4).steps(np.array([0, 3])) == 2


def test_the_gates_rows_are_one_batch_or_all_the_same(tiny, tmp_path):
    from workloads import arrays

    arrays.write(tiny, tmp_path)
    for kind in ("whole", "ragged"):
        gate = arrays.read(tmp_path / kind)
        for hospital, n in enumerate(gate.size):
            x, _ = gate.rows(hospital)
            assert n <= gate.batch or (x == x[0]).all()
            assert n > gate.batch or n == 1 or not (x == x[0]).all()
        assert kind == "ragged" or (gate.size % gate.batch == 0).all()


def test_jaxfed_passes_the_gate_and_is_timed_in_its_own_process(tiny, tmp_path, monkeypatch):
    import speed
    import speed_page
    from workloads.targets import TARGETS

    monkeypatch.setitem(speed.EVERYTHING, "W2e", tiny)
    monkeypatch.setattr(speed.Bench, "_machine", lambda self, asked: MACHINE)
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    monkeypatch.setattr(speed, "chosen", lambda only: ["W2e"])
    out = tmp_path / "speed-tiny.json"
    speed.main(["W2e"], repeats=2, out=out, scratch=tmp_path / "scratch")
    record = json.loads(out.read_text())
    row = record["workloads"]["W2e"]["rows"]["jaxfed"]
    assert row["gate"]["distance"] < 1e-4
    assert row["samples"] == [6 * 10 * tiny.rounds] * 2
    assert row["samples_per_second"] > 0
    assert all(target.read(record) is None for target in TARGETS)
    page = speed_page.section(out)
    assert "W2e" in page
    assert out.with_suffix(".png").exists()


MACHINE = {"bandwidth": 1e10, "rates": {"W2e": {"xla": 1e11, "blas": 1e11}}}


def test_a_peer_that_cannot_be_had_is_a_row_with_the_reason(tiny, tmp_path, monkeypatch):
    from peers import process, runner

    def row():
        one = runner.Runner("torch", "W2e", tmp_path / "W2e", how)
        one.gate()
        assert one.compare() is None
        one.prepare(tiny.rounds)
        one.time()
        return one.close()["failed"]

    how = runner.How(tmp_path, tmp_path / "venvs", 1, 0.1)
    monkeypatch.setitem(process.PEERS, "torch", ("peers.nothing", process.OWN))
    assert "No module named" in row()
    monkeypatch.setitem(process.PEERS, "torch", ("peers.torch_loop", "torch"))
    monkeypatch.setitem(process.ENVIRONMENTS, "torch", [str(tmp_path / "no wheel")])
    assert "cannot be installed: ERROR: Invalid requirement" in row()
    monkeypatch.setattr(process.venv, "create", None)
    assert "cannot be installed: ERROR: Invalid requirement" in row()  # not tried again


def test_one_target_has_an_upper_bound():
    from workloads.targets import TARGETS

    rows = {"rows": {"jaxfed": {"peak_bytes": 3e9}}}
    target = next(target for target in TARGETS if target.below)
    assert target.read({"workloads": {"W8-100000": rows}}) == (3.0, True)


def test_kernels_are_numpy_s(tmp_path):
    """Each kernel's result, in its own process."""
    from peers.process import Process

    path = tmp_path / "uploads.npy"
    np.save(path, np.random.default_rng(0).standard_normal((48, 240), np.float32))
    process = Process("peers.kernels", Path(sys.executable), tmp_path / "kernels.log", "jaxfed")
    for kernel in ("mean", "median", "trimmed mean"):
        answer = process.ask(kernel=kernel, uploads=str(path), seconds=0.01, repeats=1)
        assert answer["error_of_result"] < 1e-5
    process.close()


def test_every_benchmark_finds_what_it_imports():
    """In one process: a benchmark that nobody ran since a name changed would fail when it is needed."""
    from peers.process import OWN, PEERS

    names = [path.stem for path in sorted(BENCHMARKS.glob("*.py"))]
    names += [module for module, environment in PEERS.values() if environment == OWN]
    code = f"import importlib\nfor name in {[*names, 'peers.kernels', 'peers.floor']!r}:\n"
    code += "    importlib.import_module(name)"
    answer = subprocess.run([sys.executable, "-c", code], cwd=BENCHMARKS, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
