"""The loop of a run, for anything that trains in rounds: evaluations, checkpoints, interruptions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tqdm import tqdm

from jaxfed.core.errors import InvalidInput
from jaxfed.results.run import Run
from jaxfed.runtime import interrupt
from jaxfed.runtime.provenance import provenance
from jaxfed.storage.fingerprint import in_words
from jaxfed.storage.folder import Checkpoints, Saver
from jaxfed.training.progress import Progress
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
    """Train, from the start or from where another run stopped; see :meth:`jaxfed.Simulation.run`."""
    if resume is not None:
        seed = resume.config["seed"]
    files, found = None, None
    if checkpoint is not None:
        about = {"seed": seed, "eval_every": eval_every, "initial": in_words(initial)}
        files = Checkpoints(Path(checkpoint), {**trainer.identity(), **about}, keep)
        found = files.latest()
    if found is not None:
        if found.round > rounds:
            raise InvalidInput(
                f"rounds={rounds}: the run in {checkpoint} has done {found.round}, and rounds is the total; "
                "give at least as many, or another folder"
            )
        now = Progress.restored(trainer.laid_out(found.notes["layout"]), found, seed, initial)
    elif resume is not None:
        layout = {name: resume.provenance[name] for name in trainer.layout()}
        now = Progress.after(trainer.laid_out(layout), resume)
    else:
        now = Progress.begin(trainer.prepared(rounds, eval_every), seed, initial)
    first = now.done
    last = rounds if files else first + rounds
    saver = Saver(files, every, saved=None if found is None else first)
    if first < last:
        now.compile(eval_every)
    if not first:
        now.evaluate()
        saver.save(0, now.checkpoint, always=True)
    _rounds(now, last, eval_every, saver, progress)
    return Run(
        name=trainer.name,
        history=now.history,
        variables=now.trainer.variables(now.state),
        personal=trainer.personal,
        config={**trainer.describe(), "seed": seed, "rounds": now.done, "eval_every": eval_every},
        provenance={**provenance(), **now.trainer.layout(), **now.clock.report()},
        state=now.state,
    )


def _rounds(now: Progress, last: int, eval_every: int, saver: Saver, progress: bool) -> None:
    """Go on until ``last``, or Ctrl-C."""
    pace, seconds = 1, 0.0
    marks = [eval_every, saver.every] if saver.every else [eval_every]
    bar = tqdm(total=last, initial=now.done, desc=now.trainer.name, unit="round", disable=not progress)

    def finish() -> None:
        """What is saved is what an uninterrupted run has here: no evaluation that is out of turn."""
        if now.done % eval_every == 0:
            now.evaluate()
        saver.save(now.done, now.checkpoint, always=True)
        now.evaluate()

    try:
        with bar:
            while now.done < last:
                mark = min(last, *((now.done // mark + 1) * mark for mark in marks))
                count = min(mark - now.done, pace)
                # the old state is donated: it, the log and the count of rounds change together
                with interrupt.deferred():
                    seconds = now.advance(count, eval_every)
                    if now.done % eval_every == 0:
                        now.evaluate()
                    saver.save(now.done, now.checkpoint)
                    if now.done == last:
                        finish()
                if now.done in now.history.evaluated[-1:]:
                    bar.set_postfix_str(now.history.headline(), refresh=False)
                bar.update(count)
                # about four looks a second: a live bar, and an interrupt that is heard soon
                pace = max(1, int(count * 0.25 / max(seconds, 1e-9)))
    except KeyboardInterrupt:
        bar.write(f"interrupted after {now.done} of {last} rounds{saver.remark()}")
    finish()
