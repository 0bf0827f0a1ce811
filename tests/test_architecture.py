"""Who imports whom, and what every algorithm, participation and aggregator keeps to."""

import ast
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from federations import Lab, hospitals, recipe

import jaxfed
from jaxfed import aggregators, algorithms, participation
from jaxfed.core.engine import rounds as engine

HERE = Path(jaxfed.__file__).parent
WINGS = {"algorithms", "aggregators", "participation", "data", "models", "evaluation"}
FOUNDATIONS = {"jax", "flax", "optax", "numpy", *sys.stdlib_module_names}

# A new one is added here, and inherits the tests.
ALGORITHMS = {name: getattr(algorithms, name)() for name in algorithms.__all__}
AGGREGATORS = {name: getattr(aggregators, name)() for name in aggregators.__all__}
PARTICIPATIONS = {
    "Everyone": participation.Everyone(),
    "Cyclic": participation.Cyclic(),
    "FixedCohort": participation.FixedCohort(2),
    "Poisson": participation.Poisson(0.5),
}


def imported(path):
    """Absolute names of the modules that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            if node.module == "jaxfed":
                yield from (f"jaxfed.{name.name}" for name in node.names)


def files(part):
    return sorted((HERE / part).rglob("*.py"))


@pytest.mark.parametrize("path", files("core"), ids=lambda path: path.stem)
def test_core_stands_on_its_own(path):
    for name in imported(path):
        assert name.split(".")[0] in FOUNDATIONS or name.startswith("jaxfed.core"), name


@pytest.mark.parametrize("wing", sorted(WINGS))
def test_wings_have_no_neighbours(wing):
    for path in files(wing):
        for name in imported(path):
            if name.split(".")[0] == "jaxfed":
                assert name.startswith(("jaxfed.core", f"jaxfed.{wing}")), f"{path}: {name}"


def test_every_package_is_known():
    packages = {path.parent.name for path in HERE.glob("*/__init__.py")}
    assert packages == WINGS | {"core", "report", "sweep", "cli"}


def test_no_algorithm_is_asked_for_by_name():
    """Behaviour belongs to the parts; nothing else tells one algorithm from another."""
    for path in [*files("core"), HERE / "simulation.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
                assert not {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} & set(ALGORITHMS)


def test_lists_are_complete():
    assert set(PARTICIPATIONS) == set(participation.__all__)


def layout(leaf):
    return leaf.shape, leaf.dtype, leaf.weak_type


@pytest.mark.parametrize(("task", "block"), [("binary", 1), ("multiclass", 3), ("regression", 1)])
@pytest.mark.parametrize("who", PARTICIPATIONS)
@pytest.mark.parametrize("rule", AGGREGATORS)
@pytest.mark.parametrize("name", ["FedAvg", "FedSGD", "LocalOnly"])  # the others: algorithms/test_common.py
def test_a_round_keeps_shapes(name, rule, who, task, block):
    data = hospitals((4, 3, 2), task=task)
    how = recipe(
        data,
        algorithm=ALGORITHMS[name],
        aggregator=AGGREGATORS[rule],
        participation=PARTICIPATIONS[who],
    )
    lab = Lab(how, data, block=block)
    plan, federation = lab.placement.plan, lab.federation
    state = jax.eval_shape(lambda: engine.start(how, plan, federation, 0))
    new, log = jax.eval_shape(
        lambda state: engine.advance(how, plan, federation, state, 2, capacity=5), state
    )
    assert jax.tree.map(layout, new) == jax.tree.map(layout, state)
    assert {leaf.shape for leaf in jax.tree.leaves((log.clients, log.present, log.rejected))} == {(5, 3)}
    assert log.kept.shape == (5,)
    variables = jax.eval_shape(
        lambda state: how.algorithm.variables(
            state.server, jax.tree.map(lambda leaf: leaf[0], state.clients)
        ),
        state,
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_algorithms_are_trees_of_numbers(name):
    algorithm = ALGORITHMS[name]
    assert all(isinstance(leaf, int | float) for leaf in jax.tree.leaves(algorithm))
    doubled = jax.tree.map(lambda leaf: 2 * leaf, algorithm)
    assert type(doubled) is type(algorithm)
    assert jax.tree.structure(doubled) == jax.tree.structure(algorithm)
    assert algorithm.weighting in ("samples", "uniform")
    assert isinstance(algorithm.personal, bool)
    assert isinstance(algorithm.trains, bool)
    assert type(algorithm).__doc__
