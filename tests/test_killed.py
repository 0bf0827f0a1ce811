"""kill -9 at random moments: what is resumed in a new process equals what was never cut, bit for bit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize("what", ["run", "sweep"])
def test_killed_ten_times(what, tmp_path):
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")]),
        "JAXFED_TEST_CACHE": str(tmp_path / "cache"),
        "JAX_PLATFORMS": "cpu",
    }
    command = [sys.executable, str(HERE / "killed.py"), what, str(tmp_path), "10", "0"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["cut"] == found["whole"]
    assert len(set(found["deaths"])) > 5  # in the middle of it, and later each time
