"""Trees of dataclasses know their class."""

import itertools

import jax
import pytest
from algorithms.catalogue import CATALOGUE

from jaxfed.algorithms import MRMTL, FedAvg, FedProx, FedSGD, LocalOnly
from jaxfed.core.hyperparameters import PerHospital
from jaxfed.participation import Cyclic, Everyone, Poisson


@pytest.mark.parametrize(
    ("one", "other"),
    [(FedAvg(), FedSGD()), (FedProx(), MRMTL()), (Everyone(), Cyclic())],
    ids=lambda node: type(node).__name__,
)
def test_classes_with_equal_fields_have_different_trees(one, other):
    """In a cache of programs, equal trees are one program."""
    assert jax.tree.structure(one) != jax.tree.structure(other)


def test_no_two_algorithms_share_a_tree():
    cases = [case.algorithm for case in CATALOGUE.values()]
    for one, other in itertools.combinations(cases, 2):
        if type(one) is not type(other):
            assert jax.tree.structure(one) != jax.tree.structure(other)


@pytest.mark.parametrize(
    "node", [FedProx(mu=0.3), LocalOnly(), Poisson(0.2), PerHospital((1, 2), ("a", "b"))]
)
def test_round_trip(node):
    leaves, structure = jax.tree.flatten(node)
    again = jax.tree.unflatten(structure, leaves)
    assert type(again) is type(node)
    assert repr(again) == repr(node)
    assert jax.tree.structure(again) == structure
    assert hash(jax.tree.structure(again)) == hash(structure)


def test_static_fields_are_compared():
    assert jax.tree.structure(FedAvg()) == jax.tree.structure(FedAvg())
    assert jax.tree.structure(FedAvg()) != jax.tree.structure(FedAvg(weighting="uniform"))
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(FedProx())]
    assert ".mu" in paths
