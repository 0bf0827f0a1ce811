"""Checks of the arguments of a run, which report every problem in one error before anything is compiled."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxfed.core.errors import Problems, warn
from jaxfed.core.hyperparameters import Schedule
from jaxfed.privacy import HospitalDP
from jaxfed.spec.checks import check_count
from jaxfed.spec.shapes import variables_of
from jaxfed.spec.spec import ALL, Spec

FADED = 0.01  # a step size is warned of that has fallen below this share of its first value
CHANGEABLE = {"client_optimizer", "participation", "l2"}  # fields that may change when a run is resumed


def check_run(spec: Spec, rounds: Any, seed: Any, eval_every: Any, initial: Any, resume: Any) -> None:
    """Raise one error that lists every problem of the arguments of ``run``."""
    problems = Problems("run")
    check_count(problems, "rounds", rounds, 0)
    check_count(problems, "eval_every", eval_every, 1)
    check_count(problems, "seed", seed, 0)
    problems.check(
        not isinstance(seed, (int, np.integer)) or bool(seed < 2**31),
        f"seed={seed}: give a whole number below 2**31",
    )
    if resume is not None:
        problems.check(
            resume.state is not None,
            "resume: this run was loaded from files and has no state; give a Run of this session, or let "
            "runs keep what they have done, run(checkpoint=folder)",
        )
        config = spec.describe()
        # the accounting of whole hospitals is for one way to take part in all rounds
        fixed = {"participation"} if isinstance(spec.privacy, HospitalDP) else set()
        changed = [n for n in config if n not in CHANGEABLE - fixed and resume.config.get(n) != config[n]]
        changed += ["hospitals"] * (resume.history.hospitals != spec.evaluation_hospitals.hospitals)
        changed += ["training hospitals"] * (resume.history.trainees != spec.hospitals.hospitals)
        problems.check(
            not changed,
            f"resume: that run has other {', '.join(dict.fromkeys(changed))}; give a run of this simulation",
        )
        problems.check(initial is None, "initial and resume: give one of them")
    if initial is not None:
        wanted = {name: variables_of(spec, local) for name, local in spec.local_trainings.items()}
        given = jax.tree.map(jnp.shape, initial)
        expected = jax.tree.map(lambda leaf: leaf.shape, wanted)
        single = spec.models is None
        shapes, kind = (expected[ALL], "") if single else (expected, " of every group")
        problems.check(
            given == shapes, f"initial has shapes {given}, the model needs {shapes}; give Variables{kind}"
        )
    problems.raise_if_any()


def warn_faded(specs: Iterable[Spec], rounds: int) -> None:
    """Warn where hospitals adapt models before use with a scheduled step size that has almost fallen to 0.

    Adapting has the step size of the last of ``rounds`` rounds.
    """
    known: set[Any] = set()
    for spec in specs if rounds else ():
        for local in spec.recipe.locals if spec.recipe.algorithm.adapts else ():
            rate, argument = spec.recipe.algorithm.adapting_rate(local) or (None, "")
            if not isinstance(rate, Schedule) or (rate.function, argument) in known:
                continue
            known.add((rate.function, argument))
            first, last = (float(rate.function(jnp.asarray(r, jnp.int32))) for r in (0, rounds - 1))
            if abs(last) < FADED * abs(first):
                warn(
                    f"models adapt before use with the step size of the last round, {last:.3g}, which "
                    f"began at {first:.3g}: they hardly change; give adapting a step size of its own, "
                    f"{argument}"
                )


def check_checkpoint(checkpoint: Any, every: Any, keep: Any, resume: Any) -> None:
    """Raise one error that lists every problem of the arguments for checkpoints."""
    problems = Problems("checkpoint")
    fine = checkpoint is None or isinstance(checkpoint, str | os.PathLike)
    fine = fine and checkpoint != ""
    problems.check(fine, f"checkpoint={checkpoint!r}: give the name of a folder, or None")
    problems.check(resume is None or checkpoint is None, "checkpoint and resume: give one of them")
    problems.check(every is None or checkpoint is not None, f"every={every!r}: give checkpoint=folder too")
    check_count(problems, "every", every, 1, optional=True)
    check_count(problems, "keep", keep, 1)
    problems.raise_if_any()
