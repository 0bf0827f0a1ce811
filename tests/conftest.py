import os
import signal
from pathlib import Path

import jax
import pytest
from xdist.scheduler import LoadScopeScheduling

from jaxfed.runtime import cache

jax.config.update("jax_num_cpu_devices", 4)  # plans of 1, 2 and 4 devices in one process

# Small programs take longer to compile than to run: most tests do without what makes them fast.
jax.config.update("jax_disable_most_optimizations", True)
QUICK = "--xla_cpu_parallel_codegen_split_count=1"
if jax.__version_info__ < (0, 11):  # a flag that XLA does not know ends the process
    QUICK += " --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {QUICK}".strip()

HEART = "processed.cleveland.data"


class Scheduling(LoadScopeScheduling):
    """Tests of a file run in one process, which has their programs; notebooks, which share none, do not."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if "test_notebooks" in nodeid else nodeid.split("::", 1)[0]


def pytest_xdist_make_scheduler(config, log):
    """Deal files and notebooks to the processes."""
    return Scheduling(config, log)


@pytest.fixture(scope="session")
def heart_folder() -> Path:
    """The folder with the four UCI heart disease files: $JAXFED_DATA or ../shared/data."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    for place in [os.environ.get("JAXFED_DATA"), beside]:
        for folder in [Path(place), Path(place) / "heart"] if place else []:
            if (folder / HEART).is_file():
                return folder
    pytest.skip("no heart disease files: set JAXFED_DATA, or put them in ../shared/data/heart")


@pytest.fixture(scope="session", autouse=True)
def shared_programs(tmp_path_factory):
    """Compiled programs are shared by all tests, in a folder of this session and not in the user's."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "programs"
    os.environ["JAXFED_CACHE"] = str(folder)
    cache.keep_compiled_programs()
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)  # small programs recur in tests


@pytest.fixture(scope="session", autouse=True)
def four_devices():
    """The devices are made before a test of the command line can ask for another number."""
    assert jax.device_count() == 4


@pytest.fixture(scope="session", autouse=True)
def interrupts_are_heard():
    """A background job is started with interrupts ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def x64():
    """64-bit floats inside the test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def optimised():
    """Programs of a module are compiled with optimisation."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """Compiled programs of one file are of no use to the next, and hundreds of them fill the memory."""
    yield
    jax.clear_caches()


@pytest.fixture(autouse=True)
def forget_programs_in_time():
    """A program has memory maps, of which Linux allows a process 65,530."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > 25_000:
        jax.clear_caches()
