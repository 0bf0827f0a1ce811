"""The loop of a run over calls of the program, with checkpoints and interruption by Ctrl-C."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from jaxfed.core.errors import InvalidInput
from jaxfed.results.run import Run
from jaxfed.runtime import interrupt
from jaxfed.runtime.provenance import provenance
from jaxfed.storage.fingerprint import canonical_text, settings
from jaxfed.storage.folder import Checkpoints, Saver
from jaxfed.training.privacy import accounted
from jaxfed.training.progress import Progress
from jaxfed.training.scored import inputs_of
from jaxfed.training.trainer import Trainer


def train(
    trainer: Trainer,
    rounds: int,
    *,
    seed: int,
    eval_every: int,
    initial: Any = None,
    resume: Run | None = None,
    checkpoint: str | Path | None = None,
    every: int | None = None,
    keep: int = 3,
    progress: bool = True,
) -> Run:
    """Train from the start, or continue another run or a checkpoint; see :meth:`jaxfed.Simulation.run`.

    A run ends at its privacy budget.
    """
    spec = trainer.spec
    if resume is not None:
        seed = resume.config["seed"]
    files, newest = None, None
    if checkpoint is not None:
        about = {"seed": seed, "eval_every": eval_every, "initial": canonical_text(initial)}
        files = Checkpoints(Path(checkpoint), {**settings(spec), **about}, keep)
        newest = files.latest()
    if newest is not None:
        if newest.round > rounds:
            raise InvalidInput(
                f"rounds={rounds}: the run in {checkpoint} has done {newest.round}, and rounds is the total; "
                "give at least as many, or another folder"
            )
        now = Progress.restored(laid_out(trainer, newest.notes["layout"]), newest, seed, initial)
    elif resume is not None:
        layout = {name: resume.provenance[name] for name in trainer.layout()}
        now = Progress.after(laid_out(trainer, layout), resume)
    else:
        now = Progress.begin(trainer, seed, initial)
    first = now.done
    last = spec.within_budget(rounds if files else first + rounds)
    saver = Saver(files, every, saved=None if newest is None else first)
    if first < last or not now.evaluated:
        now.compile()
    with saver:
        if not first:
            saver.save(0, now.checkpoint, always=True)
        _rounds(now, last, eval_every, saver, progress)
    history, statement = accounted(spec, now.recorder.history)
    return Run(
        name=spec.name,
        history=history,
        variables=now.trainer.variables(now.slot.state),
        personal=spec.algorithm.personal,
        config={**spec.describe(), "seed": seed, "rounds": now.done, "eval_every": eval_every},
        provenance={**provenance(), **now.trainer.layout(), **now.timings.report()},
        state=now.slot.state,
        best=now.trainer.best(now.slot, now.given, now.earlier),
        inputs=inputs_of(spec),
        privacy=statement,
    )


def laid_out(trainer: Trainer, layout: dict[str, Any]) -> Trainer:
    """The trainer itself if it has this layout, else a new trainer with the layout."""
    return trainer if layout == trainer.layout() else Trainer(trainer.spec, layout)


def _rounds(now: Progress, last: int, eval_every: int, saver: Saver, progress: bool) -> None:
    """Train until round ``last`` or until Ctrl-C."""
    marks = np.arange(0, last + 1, eval_every)
    bar = tqdm(total=last, initial=now.done, desc=now.trainer.spec.name, unit="round", disable=not progress)
    try:
        with bar:
            while now.done < last:
                until = (
                    last if saver.every is None else min(last, (now.done // saver.every + 1) * saver.every)
                )
                # the call donates the old state, so state, history and number of rounds must change together
                with interrupt.deferred():
                    now.advance(marks, until)
                    saver.save(now.done, now.checkpoint)
                bar.set_postfix_str(now.recorder.headline(), refresh=False)
                bar.update(now.done - bar.n)
    except KeyboardInterrupt:
        bar.write(f"interrupted after {now.done} of {last} rounds{saver.remark()}")
    with contextlib.suppress(KeyboardInterrupt), interrupt.deferred():
        # saved before the extra evaluation, so that the checkpoint equals that of an uninterrupted run
        saver.save(now.done, now.checkpoint, always=True)
        now.evaluate()
