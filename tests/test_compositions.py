"""Every algorithm with every part of a road and every participation: refused with a reason, or it works.

Nothing is compiled: a round is traced, and its new state must have the shapes and types of the old.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from catalogue import CATALOGUE, Normalised
from federations import Lab, hospitals, recipe
from groups import CATALOGUE as OF_GROUPS
from groups import GroupLab
from roads import FULL, precisions

import jaxfed
from jaxfed import aggregators, attacks, participation, privacy, transforms
from jaxfed.aggregators import (
    ARC,
    CAF,
    MDA,
    NNM,
    SMEA,
    Bucketing,
    Bulyan,
    CentredClipping,
    DnC,
    FLTrust,
    GeometricMedian,
    Krum,
    Meamed,
    Median,
    MoNNA,
    StaticClipping,
    TrimmedMean,
    UniformMean,
    WeightedMean,
    as_chain,
    chain,
)
from jaxfed.algorithms import FedAvg, mixed
from jaxfed.core.aggregation import Part
from jaxfed.core.engine import rounds
from jaxfed.core.engine.recipe import COPIED, STATE
from jaxfed.core.errors import InvalidInput, Problems
from jaxfed.core.group_algorithm import GroupAlgorithm, Parts
from jaxfed.privacy import BandMF, CorrelatedNoise, SecureSum
from jaxfed.spec.road import check_road
from jaxfed.spec.spec import Spec
from jaxfed.transforms import Clip, Momentum, Noise, TopK

SIZES = (5, 4, 3, 2, 4)

# A new part is added here, and inherits the test.
ROADS = {
    "WeightedMean": WeightedMean(),
    "Median": Median(),
    "TrimmedMean": TrimmedMean(0.2),
    "Krum": Krum(1),
    "GeometricMedian": GeometricMedian(),
    "CentredClipping": CentredClipping(1.0),
    "NNM": chain(NNM(1), TrimmedMean(0.2)),
    "Bucketing": chain(Bucketing(2), WeightedMean()),
    "Clip": chain(Clip(1.0), WeightedMean()),
    "TopK": chain(TopK(0.5), WeightedMean()),
    "Momentum": chain(Momentum(0.8), Median()),
    "Noise": chain(WeightedMean(), Noise(1.0, 1.0, 5.0)),
    "UniformMean": UniformMean(),
    "Bulyan": Bulyan(0),
    "MDA": MDA(1),
    "Meamed": Meamed(1),
    "MoNNA": MoNNA(1, trusted=2),
    "SMEA": SMEA(1),
    "CAF": CAF(1),
    "FLTrust": FLTrust(trusted=2),
    "DnC": DnC(1),
    "ARC": chain(ARC(1), Median()),
    "StaticClipping": chain(StaticClipping(1.0), Median()),
    "transforms and a post": chain(Clip(1.0), TopK(0.5), WeightedMean(), Noise(1.0, 1.0, 5.0)),
    "SecureSum": SecureSum(4.0, 12, masked=True),
    "CorrelatedNoise": chain(WeightedMean(), CorrelatedNoise(1.0, 1.0, 5.0, BandMF(bands=3))),
}
PARTICIPATIONS = {
    "Everyone": participation.Everyone(),
    "Cyclic": participation.Cyclic(),
    "FixedCohort": participation.FixedCohort(2),
    "Poisson": participation.Poisson(0.5),
}
# A rule sees uploads as rows of numbers, whoever sent them. Every algorithm is traced with one road of each
# kind, and every road with algorithms whose uploads differ most; all pairs are asked what is refused.
KINDS = ("CentredClipping", "NNM", "transforms and a post", "SecureSum")
SENDERS = ("FedAvg", "Scaffold, option II", "FedBN", "HeteroFL")
kinds = pytest.mark.parametrize("road", KINDS)


def reasons(algorithm, road):
    """Why the road is refused, each problem with the algorithm's own reason; none where it is accepted."""
    problems = Problems("here")
    check_road(Spec(hospitals(SIZES), algorithm=algorithm, aggregator=road), len(SIZES), problems)
    if not problems.count:
        return False
    with pytest.raises(InvalidInput) as error:
        problems.raise_if_any()
    whys = [why for why in (algorithm.why_untransformed, algorithm.why_averaged) if why]
    assert any(why in str(error.value) for why in whys)
    assert problems.count <= len(whys)
    return True


def layout(leaf):
    return leaf.shape, leaf.dtype, leaf.weak_type


def round_of(lab):
    """A round as a function of the state."""

    def program(state):
        def on_device(recipe, data, state):
            return rounds.round_on_device(recipe, lab.plans, data, state)

        return jax.shard_map(
            on_device,
            mesh=lab.plans[0].mesh,
            in_specs=(COPIED, COPIED, STATE),
            out_specs=(STATE, COPIED),
            check_vma=False,
        )(lab.input, lab.training_data, state)

    return program


def keeps(lab):
    """A round of ``lab`` keeps shapes and types; returns those of the state and of what is seen."""
    state = jax.eval_shape(lab.start)
    new, info = jax.eval_shape(round_of(lab), state)
    assert jax.tree.structure(new) == jax.tree.structure(state)
    assert jax.tree.map(layout, new) == jax.tree.map(layout, state)
    seen = jax.tree.leaves((info.clients, info.present, info.rejected))
    assert {leaf.shape for leaf in seen} == {(len(lab.data),)}
    assert (info.refused.shape, info.refused.dtype) == ((), bool)
    return state, info


def test_every_part_is_among_the_roads():
    parts = {type(part).__name__ for road in ROADS.values() for part in as_chain(road).parts}
    modules = (aggregators, transforms, privacy)
    classes = (getattr(module, name) for module in modules for name in module.__all__)
    exported = {cls.__name__ for cls in classes if isinstance(cls, type) and issubclass(cls, Part)}
    assert parts == exported


def test_every_participation_is_in_the_list():
    assert set(PARTICIPATIONS) == set(participation.__all__)


def test_every_algorithm_for_groups_is_in_the_list():
    classes = (getattr(mixed, name) for name in mixed.__all__)
    exported = {cls.__name__ for cls in classes if issubclass(cls, GroupAlgorithm)}
    assert set(OF_GROUPS) == exported


@pytest.mark.parametrize("name", CATALOGUE)
def test_an_algorithm_with_all_roads_is_refused_with_reasons_or_accepted(name):
    assert not all(reasons(CATALOGUE[name].algorithm, road) for road in ROADS.values())


@pytest.mark.parametrize(
    ("name", "road"),
    [(name, road) for name in CATALOGUE for road in ROADS if name in SENDERS or road in KINDS],
)
def test_an_algorithm_with_a_road(name, road):
    case, data = CATALOGUE[name], hospitals(SIZES)
    if reasons(case.algorithm, ROADS[road]):
        return
    model = Normalised() if case.statistics else case.model
    how = recipe(data, algorithm=case.algorithm, model=model, aggregator=ROADS[road], batch_size=None)
    keeps(Lab(how, data))


class Shifted(nn.Module):
    """A model without any product of matrices."""

    @nn.compact
    def __call__(self, x, train: bool = False):
        shift = self.param("shift", nn.initializers.zeros, x.shape[-1:])
        return (x - shift).sum(-1, keepdims=True)


WHO = jaxfed.per_hospital([1, 0, 0, 0, 0])
ATTACKED = {
    type(attack).__name__: chain(attack, Bucketing(2), WeightedMean())
    for attack in (
        attacks.IPM(WHO),
        attacks.ALIE(WHO),
        attacks.MinMax(WHO),
        attacks.MinSum(WHO),
        attacks.Mimic(WHO),
        attacks.Optimised(attacks.IPM(WHO)),
    )
}


@pytest.mark.parametrize("road", [*ROADS, *ATTACKED])
def test_no_product_of_uploads_is_rounded(road):
    """Nor of the numbers that are computed from them; a GPU rounds factors where nothing else is asked."""
    data = hospitals(SIZES)
    how = recipe(data, model=Shifted(), aggregator=(ROADS | ATTACKED)[road], batch_size=None)
    lab = Lab(dataclasses.replace(how, diagnose=True), data)
    program = jax.make_jaxpr(round_of(lab))(jax.eval_shape(lab.start))
    assert precisions(program.jaxpr) == {FULL}


@kinds
@pytest.mark.parametrize("name", OF_GROUPS)
def test_an_algorithm_for_groups_with_a_road(name, road):
    if not reasons(OF_GROUPS[name], ROADS[road]):
        keeps(GroupLab(OF_GROUPS[name], hospitals(SIZES), aggregator=ROADS[road]).lab)


@kinds
@pytest.mark.parametrize(("task", "block"), [("multiclass", 3), ("regression", 1)])
def test_other_tasks_with_a_road(road, task, block):
    """In mini-batches, on two devices."""
    data = hospitals(SIZES, task=task)
    keeps(Lab(recipe(data, aggregator=ROADS[road]), data, devices=2, block=block))


@pytest.mark.parametrize(("task", "block"), [("binary", 1), ("multiclass", 3), ("regression", 1)])
@pytest.mark.parametrize("who", PARTICIPATIONS)
@pytest.mark.parametrize("name", ["FedAvg", "FedSGD", "LocalOnly"])  # the others: algorithms/test_common.py
def test_an_algorithm_with_a_participation(name, who, task, block):
    data = hospitals((4, 3, 2), task=task)
    how = recipe(
        data, algorithm=CATALOGUE[name].algorithm, participation=PARTICIPATIONS[who], aggregator=Median()
    )
    lab = Lab(how, data, block=block)
    state, _ = keeps(lab)
    variables = jax.eval_shape(
        lambda state: how.algorithm.variables(
            Parts(state.server.common, state.server.group[0]),
            jax.tree.map(lambda leaf: leaf[0], state.clients[0].algorithm),
        ),
        state,
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}


def test_some_roads_are_refused():
    """The tests above would pass if everything were."""
    assert not any(reasons(FedAvg(), road) for road in ROADS.values())
    answers = {  # `reasons` asserts that each is the algorithm's
        name: [reasons(case.algorithm, road) for road in ROADS.values()] for name, case in CATALOGUE.items()
    }
    refused = [name for name, of_roads in answers.items() if any(of_roads)]
    assert 0 < len(refused) < len(CATALOGUE)
    assert all(not reasons(case.algorithm, WeightedMean()) for case in CATALOGUE.values())


def test_the_roads_are_refused_by_a_simulation():
    """``check_road`` is what a simulation asks."""
    with pytest.raises(InvalidInput, match="would not average the uploads of QFedAvg"):
        jaxfed.Simulation(hospitals(SIZES, test=1), algorithm=CATALOGUE["QFedAvg"].algorithm,
                          aggregator=Median(), splits=("test",))  # fmt: skip
