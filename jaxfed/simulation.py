"""The front: hospitals, a model and an algorithm make a simulation, and a simulation makes runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from jaxfed.aggregators import WeightedMean
from jaxfed.algorithms import FedAvg, FineTuned, LocalOnly
from jaxfed.algorithms.mixed import ByGroup
from jaxfed.core import hyperparameters as values
from jaxfed.core.algorithm import Algorithm
from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import InvalidInput, spelled
from jaxfed.core.types import Variables
from jaxfed.data.notices import warn_unmeasured
from jaxfed.participation import Everyone
from jaxfed.privacy import PatientDP
from jaxfed.results.arms import FEDERATED, LOCAL, PERSONALISED, POOLED
from jaxfed.results.comparison import Comparison
from jaxfed.results.run import Run
from jaxfed.results.sweep import Sweep
from jaxfed.results.valuation import Valuation
from jaxfed.spec import paths
from jaxfed.spec.checks import check_spec
from jaxfed.spec.costs import costs_by_hospital
from jaxfed.spec.spec import Spec
from jaxfed.sweep.arms import compare_arms
from jaxfed.sweep.halving import Halving
from jaxfed.sweep.run import sweep
from jaxfed.sweep.space import Mode
from jaxfed.sweep.utility import privacy_utility
from jaxfed.sweep.valuation import Method, value_hospitals
from jaxfed.training.checks import check_checkpoint, check_run, warn_faded
from jaxfed.training.hypergradient import Gradient, gradient
from jaxfed.training.loop import train
from jaxfed.training.plan_report import Planned, planned
from jaxfed.training.trainer import Trainer
from jaxfed.training.tuning import tuned


@dataclasses.dataclass(frozen=True, eq=False)
class Simulation(Spec):
    """A federation of hospitals, ready to run.

    The attributes are those of :class:`jaxfed.spec.spec.Spec`; they are checked when a simulation is made.

    Raises:
        InvalidInput: lists everything that is wrong, before anything is compiled.
    """

    def __post_init__(self) -> None:
        check_spec(self)

    def replace(self, **changes: Any) -> Simulation:
        """A copy with some attributes changed, checked again.

        What is inside of an attribute has a dotted path, as in a sweep: ``sim.replace(**best.settings)``.

        Raises:
            InvalidInput: there is no such field, or lists everything that is wrong with the copy.
        """
        inside = {path: changes.pop(path) for path in [*changes] if "." in path}
        if not inside:
            return dataclasses.replace(self, **changes)
        parts = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)} | changes
        for path, value in inside.items():
            if path.startswith("data."):
                raise InvalidInput(
                    f"replace: {path} is an argument of the function that made a sweep's hospitals; call it, "
                    f"sim.replace(hospitals=make({path.removeprefix('data.')}={value!r}))"
                )
            if not paths.has(parts, path):
                raise InvalidInput(f"replace: {paths.unknown(self, path)}")
            parts = paths.replace(parts, path, value)
        return dataclasses.replace(self, **parts)

    def local_only(self) -> Simulation:
        """The baseline without a federation: every hospital trains alone, with the same settings."""
        alone: Any = LocalOnly() if self.models is None else ByGroup(LocalOnly())
        unit = self.privacy if isinstance(self.privacy, PatientDP) else None  # nothing leaves a hospital
        return self.replace(
            privacy=unit, algorithm=alone, participation=Everyone(), aggregator=WeightedMean()
        )

    def pooled(self) -> Simulation:
        """The baseline without privacy: all training rows in one place, evaluated per hospital.

        A round is then as many epochs (or steps) over the pooled rows.
        """
        if self.models is not None:
            raise InvalidInput(
                "pooled: with models=... say which one, sim.replace(model=..., models=None, groups=None, "
                "algorithm=FedAvg()).pooled()"
            )
        described = (self.client_optimizer, self.epochs, self.steps, self.l2)
        if values.differs(described):
            raise InvalidInput(
                "pooled: client_optimizer, epochs, steps or l2 differ between hospitals; give one number for "
                "all, sim.replace(steps=...).pooled()"
            )
        train = [h for h, n in zip(self.hospitals.hospitals, self.trained_rows, strict=True) if n]
        trained = self.hospitals if self.included is None else self.hospitals.select(train)
        return self.replace(
            hospitals=trained.pooled(),
            included=None,
            algorithm=FedAvg(),
            participation=Everyone(),
            evaluate_on=self.evaluate_on or self.hospitals,
            weights=None,
            aggregator=WeightedMean(),
            privacy=self.privacy if isinstance(self.privacy, PatientDP) else None,
        )

    @spelled
    def run(
        self,
        rounds: int,
        *,
        seed: int = 0,
        eval_every: int = 1,
        initial: Variables | Mapping[str, Variables] | None = None,
        resume: Run | None = None,
        checkpoint: str | Path | None = None,
        every: int | None = None,
        keep: int = 3,
        progress: bool = True,
    ) -> Run:
        """Train for some rounds.

        Ctrl-C (or a notebook's stop button) ends the run after the rounds in progress and returns what
        is done so far.

        With ``checkpoint`` the run can be cut anywhere, also by a crash: the same call, in this process
        or another, goes on from the newest checkpoint in the folder and ends at the same place, bit for
        bit. There ``rounds`` is the total; with ``resume`` it is how many more.

        Args:
            rounds: communication rounds.
            seed: of the initial model, cohorts and batches; results are a function of it.
            eval_every: rounds between evaluations; before the first and after the last round there is
                always one.
            initial: start from these variables instead of drawing them from the seed; with ``models``
                ``{group: variables}``.
            resume: go on where this run stopped, for ``rounds`` more; the result is that of one
                uninterrupted run, and ``seed`` and ``initial`` are those of that run.
            checkpoint: a folder for checkpoints, for this run alone.
            every: rounds between checkpoints; where None one is written after 30 seconds of training, the
                next time that the progress bar moves. There is one at the start and one at the end.
            keep: how many of the newest are kept, in case that the last cannot be read.
            progress: show a progress bar.

        Raises:
            InvalidInput: lists what is wrong with the arguments.
            CheckpointError: the folder is of another run (other settings, hospitals or seed), or none of
                its checkpoints can be read.
        """
        check_run(self, rounds, seed, eval_every, initial, resume)
        check_checkpoint(checkpoint, every, keep, resume)
        warn_unmeasured(self.evaluation_hospitals, self.splits)
        total = int(rounds) + (0 if resume is None else len(resume.history.refused))
        warn_faded([self], total)
        return train(
            self.trainer,
            int(rounds),
            seed=int(seed),
            eval_every=int(eval_every),
            initial=initial,
            resume=resume,
            checkpoint=checkpoint,
            every=every,
            keep=keep,
            progress=progress,
        )

    @spelled
    def sweep(
        self,
        fields: Mapping[str, Any],
        rounds: int,
        *,
        mode: Mode = "grid",
        eval_every: int = 1,
        seed: int = 0,
        samples: int | None = None,
        data: Callable[..., Dataset] | None = None,
        halving: Halving | None = None,
        together: int | None = None,
        memory: int | None = None,
        checkpoint: str | Path | None = None,
        every: int | None = None,
        keep: int = 3,
        progress: bool = True,
    ) -> Sweep:
        """Many runs of this simulation as one compiled program.

        ``sim.sweep({"client_optimizer.learning_rate": [0.01, 0.1], "algorithm.mu": [0, 0.1, 1], "seed":
        range(5)}, rounds=50)``. Numbers are traced; everything else (batch size, model, algorithm) makes
        programs, and each is compiled once. Every entry equals the single run with these settings. A run that
        diverges stops there and changes no other one. Ctrl-C returns what is done so far.

        Args:
            fields: values by field, a dotted path into this simulation, or ``"seed"``. Values are numbers,
                :func:`jaxfed.schedule` and :func:`jaxfed.per_hospital`, or whole parts (``"algorithm":
                [FedAvg(), Scaffold()]``). ``"hospitals"`` takes data sets by name, ``{"mild": ..., "strong":
                ...}``, and ``"data.NAME"`` an argument of ``data``.
            rounds: communication rounds of every run.
            mode: ``"grid"``, all combinations; ``"zip"``, first values with first values and so on;
                ``"random"``, draws: fields are then ``(low, high)`` (whole numbers, both included, where both
                are whole), ``(low, high, "log")``, a list to choose from, or anything with ``sample(rng)``.
            eval_every: rounds between evaluations; before the first and after the last round there is
                always one.
            seed: of the runs where ``"seed"`` is not swept, and of the draws.
            samples: number of draws.
            data: makes the hospitals of a configuration from its ``data.*`` fields:
                ``sweep({"data.alpha": [0.1, 1.0]}, data=lambda alpha: digits(30, alpha=alpha))``.
            halving: :class:`jaxfed.Halving`: the worse part of the configurations stops after some rounds,
                and again later. What is not measured is NaN.
            together: runs side by side on a device, under ``vmap``; None for 1 on a CPU, where one after
                another is fastest, and all on a GPU. As many as there is memory for run at a time.
            memory: bytes that may be used; None for what is free.
            checkpoint: a folder for checkpoints, for this sweep alone: the same call goes on where it was
                cut, as in :meth:`run`.
            every: rounds of all runs together between checkpoints; where None one is written every 30
                seconds.
            keep: how many of the newest are kept.
            progress: show a progress bar.

        Raises:
            InvalidInput: lists everything that is wrong, before anything is compiled.
            CheckpointError: the folder is of another sweep, or none of its checkpoints can be read.
        """
        warn_unmeasured(self.evaluation_hospitals, self.splits)
        return sweep(
            self,
            fields,
            rounds,
            mode=mode,
            eval_every=eval_every,
            seed=seed,
            samples=samples,
            data=data,
            halving=halving,
            together=together,
            memory=memory,
            checkpoint=checkpoint,
            every=every,
            keep=keep,
            progress=progress,
        )

    @spelled
    def compare(
        self,
        rounds: int,
        *,
        seeds: int = 5,
        personalised: Algorithm | Literal[False] | None = None,
        leave_one_out: bool | Sequence[str] = True,
        tune: Mapping[str, Any] | None = None,
        eval_every: int = 1,
        progress: bool = True,
    ) -> Comparison:
        """Compare with every hospital alone, pooled data, personal models and leave-one-hospital-out.

        Each arm is one sweep over seeds, stopped early on validation rows in the same way; the runs that
        leave a hospital out belong to the program of the federation. ``print(sim.compare(20))`` says in words
        what joining is worth; the result has tables, paired differences with intervals and a figure.

        Args:
            rounds: communication rounds of every run.
            seeds: runs of each arm.
            personalised: the algorithm with a model for each hospital; None for this simulation's if it has
                such models (the federated arm is then FedAvg), else FineTuned; False for no such arm.
            leave_one_out: whether each hospital is also given the model of all others, a run for each
                hospital and seed; or the names of hospitals to leave out.
            tune: ``{field: values}``, settings from which each arm takes the best on validation rows; an arm
                that has no such field goes without it.
            eval_every: rounds between evaluations.
            progress: show progress bars.

        Raises:
            InvalidInput: lists what is wrong with the arguments, or an arm that this simulation cannot have.
        """
        algorithm: Any = self.algorithm
        joint = self.replace(algorithm=FedAvg()) if algorithm.personal else self
        arms = {LOCAL: self.local_only(), POOLED: self.pooled(), FEDERATED: joint}
        if personalised is None:
            personalised = algorithm if algorithm.personal else FineTuned()
        if personalised is not False:
            if not getattr(personalised, "personal", False):
                raise InvalidInput(
                    f"compare: personalised={personalised!r}: give an algorithm with a model for each "
                    "hospital, such as jaxfed.algorithms.Ditto(), or False"
                )
            arms[PERSONALISED] = self.replace(algorithm=personalised)
        return compare_arms(
            arms,
            rounds,
            seeds=seeds,
            leave_one_out=leave_one_out,
            tune=tune,
            eval_every=eval_every,
            progress=progress,
        )

    @spelled
    def privacy_utility(
        self,
        epsilons: Sequence[float],
        rounds: int,
        *,
        seeds: int = 3,
        metric: str | None = None,
        progress: bool = True,
    ) -> pd.DataFrame:
        """What privacy costs: this federation, every hospital alone, and pooled data, for each epsilon.

        Every epsilon and seed is a run of one sweep per arm, with the noise that ``rounds`` rounds need.
        ``jaxfed.figures.privacy.utility_figure(table, "auroc")`` draws the result.

        Args:
            epsilons: of a patient, in each hospital.
            rounds: communication rounds; the metrics are those after the last.
            seeds: runs of each setting.
            metric: None for the task's first one.
            progress: show progress bars.

        Raises:
            InvalidInput: the simulation has no :class:`jaxfed.privacy.PatientDP`.

        Returns:
            A row for each arm, epsilon (infinite without privacy) and seed: ``mean`` and ``worst`` hospital.
        """
        arms = {self.name: self, "local-only": self.local_only(), "pooled": self.pooled()}
        return privacy_utility(arms, epsilons, int(rounds), int(seeds), metric, progress=progress)

    @spelled
    def value(
        self,
        rounds: int,
        method: Method = "leave-one-out",
        *,
        metric: str | None = None,
        split: str = "test",
        seeds: int = 1,
        samples: int = 20,
        progress: bool = True,
    ) -> Valuation:
        """The value of each hospital for the federation, beside its size and label shift.

        ``"leave-one-out"`` is what the model loses without a hospital, a run for each; ``"shapley"`` shares
        out what training gains, by retraining with every coalition of hospitals (2^C runs up to 8 hospitals,
        above those of random orders); ``"gradient-shapley"`` does so for each round with the uploads of one
        training (Wang et al. 2020, arXiv:2009.06192). Runs are one sweep, after the same number of rounds.

        Args:
            rounds: communication rounds of every run.
            method: how values are measured.
            metric: a column of :meth:`jaxfed.sweep.Sweep.to_frame`, such as ``"auroc"`` (mean over
                hospitals); None for the loss over all rows. Positive values are improvements.
            split: the rows on which it is measured.
            seeds: runs of each coalition, over which values are averaged.
            samples: random orders with more than 8 hospitals.
            progress: show progress bars.

        Raises:
            InvalidInput: lists what is wrong with the arguments.
        """
        return value_hospitals(
            self,
            rounds,
            method,
            metric=metric,
            split=split,
            seeds=seeds,
            samples=samples,
            progress=progress,
        )

    def gradient(
        self, fields: Sequence[str], rounds: int, *, seed: int = 0, split: str = "validation"
    ) -> Gradient:
        """The loss at the end of a run, and how it changes with numbers of this simulation.

        ``sim.gradient(["algorithm.server_optimizer.learning_rate", "client_optimizer.learning_rate"],
        20).by`` has a derivative for each field; of :func:`jaxfed.per_hospital` numbers one for each
        hospital. Forward mode: it costs about two runs for each number.

        Args:
            fields: dotted paths of numbers that are no whole ones.
            rounds: communication rounds of the run, which ends at its privacy budget.
            seed: of the run.
            split: the loss is that over all rows of this split.

        Raises:
            InvalidInput: a field that is not there or no number, or a split that is not evaluated.
        """
        check_run(self, rounds, seed, 1, None, None)
        return gradient(self, self.trainer, fields, int(rounds), seed=int(seed), split=split)

    def plan(self, rounds: int = 1, *, eval_every: int = 1) -> Planned:
        """How ``run(rounds)`` lays the hospitals on devices: ``print(sim.plan())``.

        Where ``block`` is None it is judged from the sizes of the hospitals and of the models, for each group
        of models; nothing is measured, so that equal calls have equal results to the last bit. :meth:`tuned`
        measures.
        """
        check_run(self, rounds, 0, eval_every, None, None)
        return planned(self.trainer)

    def tuned(self, rounds: int = 1) -> Simulation:
        """A copy with the fastest ``block`` and ``form``, measured on this machine with the real program.

        Each candidate is compiled (seconds each) and timed over some rounds, the least of three times. On a
        CPU the form is not measured: the fast one is. ``sim.tuned().run(1000)`` pays off for long runs;
        results of another block are the same up to the order of additions.

        Args:
            rounds: of each timing; more where a round takes less than some milliseconds.

        Raises:
            InvalidInput: no block fits into memory.
        """
        check_run(self, rounds, 0, 1, None, None)
        return self.replace(**tuned(self, max(int(rounds), 1)))

    def evaluate(self, variables: Variables, split: str = "test") -> Any:
        """Metrics of one model on every hospital: a table with one row per hospital."""
        if self.models is not None:
            raise InvalidInput(
                "evaluate: hospitals have models of their own here; give a simulation with model=... and "
                "algorithm=FedAvg()"
            )
        same = self.replace(algorithm=FedAvg()) if self.algorithm.personal else self
        return same.run(0, initial=variables, progress=False).hospitals(split)

    def costs(self) -> pd.DataFrame:
        """Bytes that each hospital sends, is sent, keeps, and that its model has, in a round: a row each."""
        rows = map(dataclasses.asdict, costs_by_hospital(self))
        return pd.DataFrame(rows, pd.Index(self.hospitals.hospitals, name="hospital"))

    @cached_property
    def trainer(self) -> Trainer:
        """This simulation laid out on devices; it holds the rows there."""
        return Trainer(self)


Simulation.__init__ = spelled(Simulation.__init__, "Simulation")  # type: ignore[method-assign]
