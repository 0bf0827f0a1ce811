"""Devices on a CPU, each in a fresh process because jax starts once."""

import os
import subprocess
import sys

import pytest

SPLIT = """
import jax, jax.numpy as jnp
import jaxfed
found = jaxfed.use_cpu_devices({count})
program = jax.jit(lambda x: jnp.sin(x) * 2).lower(jnp.ones((4000, 1000))).compile().as_text()
print(found, 'outer_dimension_partitions":["' in program)
"""
cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def printed(code, **environment):
    kept = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    run = [sys.executable, "-c", code]
    return subprocess.run(
        run, capture_output=True, text=True, check=True, env={**kept, **environment}
    ).stdout.split()


@pytest.mark.parametrize(
    ("count", "flags", "devices", "split"),
    [
        ("", "", cores, False),
        ("1", "", 1, cores > 1),  # one device may use all cores
        ("", "--xla_disable_hlo_passes=dce", cores, cores > 1),  # what a user asks for stays
    ],
)
def test_busy_cores_do_not_share_operations(count, flags, devices, split):
    assert printed(SPLIT.format(count=count), XLA_FLAGS=flags) == [str(devices), str(split)]


ABSENT = {
    "use_cpu_devices": "import jaxfed; jaxfed.use_cpu_devices()",
    "Simulation": """
import numpy as np, jaxfed
rows = np.zeros((4, 1), np.float32), np.arange(4) % 2
jaxfed.Simulation(jaxfed.data.from_arrays({"a": rows, "b": rows}))
""",
    "the command line": "import sys; from jaxfed import cli; sys.argv = ['jaxfed', 'run']; cli.main()",
}


@pytest.mark.parametrize("platform", ["cuda", "cudaa"])
@pytest.mark.parametrize("code", ABSENT.values(), ids=ABSENT)
def test_a_platform_that_is_absent_is_one_sentence(code, platform):
    environment = {**os.environ, "JAX_PLATFORMS": platform, "CUDA_VISIBLE_DEVICES": ""}
    failed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, env=environment
    )
    last = failed.stderr.strip().splitlines()[-1]
    assert failed.returncode == 1
    assert f"JAX_PLATFORMS={platform}: jax finds no such device" in last
    assert "set JAX_PLATFORMS=cpu for the processor" in last
    assert "AssertionError" not in last
    if "cli" in code:
        assert failed.stderr.startswith("jaxfed: ")
