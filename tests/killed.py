"""A run (or a sweep) that is killed again and again, in processes of its own; not a test, a test calls it.

``python killed.py WHAT FOLDER KILLS SEED`` imports jax once and forks: each child trains with a checkpoint
after every round until it is killed at a random moment, the last one until the end. Prints JSON: digests of
the result without and with all that, and the rounds that were done at each death.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import jax

jax.config.update("jax_compilation_cache_dir", os.environ.get("JAXFED_TEST_CACHE"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
jax.config.update("jax_disable_most_optimizations", True)

from federations import hospitals  # noqa: E402

import jaxfed  # noqa: E402
from jaxfed.storage.checkpoint import read  # noqa: E402
from jaxfed.storage.fingerprint import digest  # noqa: E402
from jaxfed.storage.leaves import flatten  # noqa: E402
from jaxfed.training import stretch  # noqa: E402

stretch.SECONDS = 0.01  # of a call: more checkpoints, less in between


def simulation():
    """SCAFFOLD with a part of the hospitals: state in hospitals and on the server."""
    return jaxfed.Simulation(
        hospitals((5, 4, 3), test=3),
        model=jaxfed.models.logistic(),
        algorithm=jaxfed.algorithms.Scaffold(),
        participation=jaxfed.Poisson(0.6),
        batch_size=2,
        splits=("test",),
        devices=1,
    )


def run(**how):
    """One run."""
    found = simulation().run(1500, eval_every=50, progress=False, **how)
    return digest((flatten(found.state, "state"), found.history.arrays()))


def sweep(**how):
    """Step sizes, one of which diverges, and seeds."""
    fields = {"client_optimizer.learning_rate": [0.01, 0.1, 1e30], "seed": range(4)}
    found = simulation().sweep(fields, 8000, eval_every=1000, progress=False, **how)
    return digest({name: values.to_numpy() for name, values in found.data.variables.items()})


WHAT = {"run": run, "sweep": sweep}


def child(what, out, **how):
    """Start one; what it finds is the text of a file."""
    process = os.fork()
    if process:
        return process
    try:
        out.write_text(WHAT[what](**how))
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def main(what, folder, kills, seed):
    """Kill a child so many times; then let it finish."""
    draw, whole, cut = random.Random(seed), folder / "whole", folder / "cut"
    finish(child(what, whole))  # also fills the cache of compiled programs
    deaths, checkpoints = [], folder / "checkpoints"
    how = {"checkpoint": checkpoints, "every": 1, "keep": 2}
    for death in range(kills):
        before = newest(checkpoints)
        process = child(what, cut, **how)
        if death % 3:  # while it trains and writes
            while newest(checkpoints) <= before:
                time.sleep(0.002)
            time.sleep(draw.uniform(0.0, 0.2))
        else:  # perhaps before that
            time.sleep(draw.uniform(0.0, 1.0))
        os.kill(process, signal.SIGKILL)
        if os.waitpid(process, 0)[1] != signal.SIGKILL:  # a quick machine: it had ended before
            break
        for path in checkpoints.glob("round-*.checkpoint"):
            read(path)  # whole, whenever it was
        deaths.append(newest(checkpoints))
    finish(child(what, cut, **{**how, "every": 100}))
    print(json.dumps({"whole": whole.read_text(), "cut": cut.read_text(), "deaths": deaths}))


def finish(process):
    """Wait until it has ended well."""
    assert os.waitpid(process, 0)[1] == 0


def newest(checkpoints):
    """The round of the newest checkpoint."""
    return max((int(path.stem.split("-")[1]) for path in checkpoints.glob("round-*.checkpoint")), default=-1)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
