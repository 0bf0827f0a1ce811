"""The driver's side of a peer: its environment, its process, questions and answers."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import threading
import time
import venv
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
OWN = "this"  # the environment that runs the driver

# What is installed in each environment.
ENVIRONMENTS = {
    "torch": ["torch==2.13.0", "numpy"],
    "fedjax": ["fedjax==0.0.17", "jax=={jax}"],
    "pfl": ["torch==2.13.0", "pfl==0.6.0"],
    "flower": ["torch==2.13.0", "flwr[simulation]==1.41.0"],
    "opacus": ["torch==2.13.0", "opacus==1.6.0"],
    # without torchvision, which its rules do not need and which brings gigabytes
    "byzfl": [
        *("--no-deps", "byzfl==0.0.11", "torch==2.13.0", "numpy", "scipy", "filelock", "typing-extensions"),
        *("sympy", "mpmath", "networkx", "jinja2", "markupsafe", "fsspec", "setuptools"),
    ],
}
# Module of each peer and its environment.
PEERS = {
    "jaxfed": ("peers.ours", OWN),
    "one_vmap": ("peers.one_vmap", OWN),
    "flax_vmap": ("peers.flax_vmap", OWN),
    "torch": ("peers.torch_loop", "torch"),
    "torch_vmap": ("peers.torch_vmap", "torch"),
    "fedjax": ("peers.fedjax_jit", "fedjax"),
    "pfl": ("peers.pfl_simulated", "pfl"),
    "pfl_distributed": ("peers.pfl_distributed", "pfl"),
    "flower": ("peers.flower_ray", "flower"),
}
TITLES = {
    "jaxfed": "jaxfed",
    "one_vmap": "jaxfed, one vmap over padded hospitals",
    "flax_vmap": "flax `nn.Conv` under vmap",
    "torch": "PyTorch, one hospital after another",
    "torch_vmap": "PyTorch, torch.func.vmap",
    "fedjax": "FedJAX",
    "pfl": "pfl-research, one process",
    "pfl_distributed": "pfl-research, a process per core",
    "flower": "Flower simulation",
    "numpy": "NumPy",
}
PATIENCE = 120  # seconds for an answer
INSTALLING = 900  # seconds for an environment


class Unavailable(Exception):
    """A peer that cannot be installed, or that failed; the message is the reason."""


def interpreter(name: str, venvs: Path) -> Path:
    """The Python of an environment, which is made where it is not there yet.

    Raises:
        Unavailable: it cannot be made; it is not tried again.
    """
    if name == OWN:
        return Path(sys.executable)
    folder = venvs / name
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (folder / "installed").exists() and (reason := _reason(name, folder, python)):
        raise Unavailable(f"cannot be installed: {reason[:300]}")
    return python


@cache
def _reason(name: str, folder: Path, python: Path) -> str:
    """Make an environment; why it could not be made, or nothing."""
    print(f"making the environment of {name} in {folder}", flush=True)
    began = time.perf_counter()
    wanted = [text.format(jax=importlib.metadata.version("jax")) for text in ENVIRONMENTS[name]]
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
    try:
        venv.create(folder, with_pip=True)
        made = subprocess.run(install, capture_output=True, text=True, timeout=INSTALLING)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    if made.returncode:
        reasons = [line for line in made.stderr.splitlines() if line.startswith("ERROR")]
        return reasons[-1] if reasons else "pip failed"
    (folder / "installed").write_text("\n".join(wanted) + "\n")
    print(f"{time.perf_counter() - began:.0f} s", flush=True)
    return ""


def versions(name: str, venvs: Path) -> dict[str, str]:
    """Versions of what matters in an environment."""
    code = (
        "import importlib.metadata as m, json; names = ['jax', 'jaxlib', 'flax', 'optax', 'numpy', 'torch', "
        "'fedjax', 'pfl', 'flwr', 'ray']; found = {d.metadata['Name'].lower(): d.version for d in "
        "m.distributions()}; print(json.dumps({n: found[n] for n in names if n in found}))"
    )
    result = subprocess.run(
        [interpreter(name, venvs), "-c", code], capture_output=True, text=True, check=True
    )
    return json.loads(result.stdout)


class Process:
    """A peer's process; start it, then ask."""

    def __init__(self, module: str, python: Path, log: Path, *arguments: str) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                [str(python), "-m", module, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=HERE,
                env={**environment(), "JAXFED_CACHE": str(log.parent)},  # blocks are measured in this run
            )

    def ask(self, patience: float = PATIENCE, **request: Any) -> dict[str, Any]:
        """The answer to a request.

        Raises:
            Unavailable: the peer failed, died or took too long.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        timer = threading.Timer(patience, self.process.kill)
        timer.start()
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            late = not timer.is_alive()
            timer.cancel()
        if not line:
            last = [text for text in self.log.read_text().splitlines() if text.strip()][-1:]
            raise Unavailable(f"took over {patience:.0f} s" if late else f"died: {' '.join(last)[:300]}")
        answer = json.loads(line)
        if "error" in answer:
            raise Unavailable(answer["error"])
        return answer

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.close()
            self.process.wait(timeout=20)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        finally:
            self.process.stdout.close()


def environment() -> dict[str, str]:
    """Variables of a peer's process: it finds the benchmark's modules."""
    paths = [str(HERE), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
