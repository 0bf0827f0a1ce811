"""Who imports whom, and what every algorithm keeps to. Compositions: test_compositions.py."""

import ast
import sys
from pathlib import Path

import jax
import pytest

import jaxfed
from jaxfed import algorithms

HERE = Path(jaxfed.__file__).parent
TESTS = Path(__file__).resolve().parent
CODE = [HERE, TESTS, TESTS.parent / "benchmarks"]  # of these, only the package may be installed
FOUNDATIONS = {"jax", "flax", "optax", "numpy", *sys.stdlib_module_names}

# Who may import whom: by folder, or module where it lies in none; "" is what `import jaxfed` gives.
WINGS = {
    "algorithms", "aggregators", "transforms", "attacks", "participation", "privacy", "models", "data",
    "evaluation",
}  # fmt: skip
BELOW_TRAINING = WINGS | {"core", "runtime", "pages", "storage", "records", "spec", "figures", "results"}
LAYERS = {
    "core": set(),
    "runtime": {"core"},
    "pages": {"core"},
    **{wing: {"core"} for wing in WINGS},
    "data": {"core", "pages"},  # its check of a table is a page
    "storage": {"core", "runtime"},
    "records": {"core"},
    "spec": WINGS | {"core"},
    "figures": {"core", "pages", "records"},
    "results": {"core", "runtime", "pages", "records", "figures", "storage", "data", "evaluation"},
    "training": BELOW_TRAINING,
    "sweep": BELOW_TRAINING | {"training"},
    "audits": BELOW_TRAINING | {"training", "sweep"},
    "simulation": BELOW_TRAINING | {"training", "sweep"},
    "bench": BELOW_TRAINING | {"training", "sweep"},
    "": BELOW_TRAINING | {"training", "sweep", "audits", "simulation", "bench"},
    # the public names, and what writes files and figures
    "cli": WINGS | {"", "core", "runtime", "pages", "storage", "figures"},
}

# Names with an underscore that are public, or that have no public form.
OPEN = {
    "_asdict", "_replace", "_fields", "_make",  # of named tuples
    "_repr_html_", "_repr_png_",  # of IPython's display protocol
    "_cache_size",  # jax: how many programs a jitted function has compiled
    "_exit",  # os: the end of a process without any cleaning up
    "_foreach_add_", "_foreach_copy_",  # torch: what its own optimisers use
}  # fmt: skip
ALGORITHMS = {name: getattr(algorithms, name)() for name in algorithms.__all__}


def files(part):
    return sorted((HERE / part).rglob("*.py"))


def name_of(path):
    """The module of a file, as ``core.local``; ``""`` is the package."""
    return ".".join(path.relative_to(HERE).with_suffix("").parts).removesuffix("__init__").rstrip(".")


MODULES = {name_of(path): path for path in files("")}


def imported(path):
    """Names of the modules that a file imports, also inside functions and under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for name in node.names:
                module = f"{node.module}.{name.name}"
                yield module if module.removeprefix("jaxfed.") in MODULES else node.module


def inside(path):
    """Those of jaxfed, without its name."""
    names = {name for name in imported(path) if name.split(".")[0] == "jaxfed"}
    return {name.removeprefix("jaxfed").removeprefix(".") for name in names}


def room(module):
    return module.split(".")[0]


@pytest.mark.parametrize("path", files("core"), ids=lambda path: path.stem)
def test_core_stands_on_its_own(path):
    for name in imported(path):
        assert name.split(".")[0] in FOUNDATIONS or name.startswith("jaxfed.core"), name


@pytest.mark.parametrize("here", sorted(LAYERS))
def test_nobody_imports_upwards(here):
    for module in (module for module in MODULES if room(module) == here):
        for other in inside(MODULES[module]):
            assert room(other) in LAYERS[here] | {here}, f"jaxfed.{module} imports jaxfed.{other}"


def test_every_module_has_a_layer():
    assert {room(module) for module in MODULES} <= set(LAYERS)


def test_only_the_package_imports_the_front():
    importers = {path for root in CODE for path in root.rglob("*.py") if "simulation" in inside(path)}
    assert importers == {HERE / "__init__.py"}


def test_two_modules_lie_outside_of_folders():
    assert {path.name for path in HERE.glob("*.py")} == {"__init__.py", "simulation.py"}


def components(edges):
    """Strongly connected components of a graph ``{node: nodes}``. Tarjan 1972, doi:10.1137/0201010."""
    order, lowest, path, parts = {}, {}, [], []

    def visit(node):
        order[node] = lowest[node] = len(order)
        path.append(node)
        for other in sorted(edges[node]):
            if other not in order:
                visit(other)
            if other in path:
                lowest[node] = min(lowest[node], lowest[other])
        if lowest[node] == order[node]:
            start = path.index(node)
            parts.append(sorted(path[start:]))
            del path[start:]

    for node in sorted(edges):
        if node not in order:
            visit(node)
    return parts


def test_the_components_of_a_small_graph():
    edges = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e", "f"}, "e": {"d"}, "f": set()}
    assert sorted(components(edges)) == [["a", "b", "c"], ["d", "e"], ["f"]]


def test_no_imports_form_a_circle():
    graph = {module: inside(path) & set(MODULES) - {module} for module, path in MODULES.items()}
    assert {", ".join(part) for part in components(graph) if len(part) > 1} == set()


def private(path):
    """Attributes with an underscore of anything but the object itself."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Attribute) or not node.attr.startswith("_"):
            continue
        itself = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        if not itself and not node.attr.startswith("__") and node.attr not in OPEN:
            yield ast.unparse(node)


def test_nobody_looks_into_other_objects():
    paths = [path for root in CODE for path in root.rglob("*.py")]
    assert {f"{path}: {name}" for path in paths for name in private(path)} == set()


def test_no_algorithm_is_asked_for_by_name():
    """Behaviour belongs to the parts; nothing else tells one algorithm from another."""
    for path in [*files("core"), HERE / "simulation.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
                assert not {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} & set(ALGORITHMS)


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
