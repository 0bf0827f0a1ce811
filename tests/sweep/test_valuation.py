"""Values of hospitals: brute force over all coalitions and orders, and Shapley's axioms."""

import itertools

import jax
import numpy as np
import pandas as pd
import pytest
from federations import hospitals, with_validation
from matplotlib.figure import Figure

import jaxfed
from jaxfed import InvalidInput, Simulation, per_hospital
from jaxfed.evaluation.shapley import Exact, LeaveOneOut, Sampled
from jaxfed.models import logistic
from jaxfed.results.valuation import Valuation
from jaxfed.sweep.arms import included

SMALL = {"model": logistic(), "batch_size": None, "devices": 1, "block": 1}


def brute_force(utility, members):
    """The mean over all orders of what a member adds to those before it; ``utility`` takes a set."""
    orders = [*itertools.permutations(members)]
    return [
        np.mean([utility({*o[: o.index(k) + 1]}) - utility({*o[: o.index(k)]}) for o in orders])
        for k in members
    ]


def game(members, seed=0):
    """A random game: ``utility(set)``."""
    values = np.random.default_rng(seed).normal(size=2**members)
    return lambda s: values[sum(1 << k for k in s)]


def measured(coalitions, utility):
    return np.array([utility({*np.flatnonzero(mask)}) for mask in coalitions.masks])


@pytest.mark.parametrize("members", [2, 4])
def test_exact_values_are_brute_force_and_sum_to_the_whole(members):
    exact, utility = Exact.of(members), game(members)
    assert exact.masks[0].all()
    assert not exact.masks[-1].any()
    assert len({mask.tobytes() for mask in exact.masks}) == 2**members
    (values,) = exact.contributions(measured(exact, utility))
    np.testing.assert_allclose(values, brute_force(utility, range(members)))
    np.testing.assert_allclose(values.sum(), utility({*range(members)}) - utility(set()))
    (left_out,) = LeaveOneOut.of(members).contributions(measured(LeaveOneOut.of(members), utility))
    everyone = {*range(members)}
    np.testing.assert_allclose(left_out, [utility(everyone) - utility(everyone - {k}) for k in everyone])


def test_equal_members_are_worth_the_same_and_idle_ones_nothing():
    inner = game(3)
    utility = lambda s: inner({*(s & {0, 1}), *({2} if s & {2, 3} else set())})  # noqa: E731 - 2 and 3 are equal
    with_idle = lambda s: utility(s - {4})  # noqa: E731
    (values,) = Exact.of(5).contributions(measured(Exact.of(5), with_idle))
    assert values[2] == pytest.approx(values[3])
    assert values[4] == pytest.approx(0, abs=1e-12)


def test_random_orders_estimate_the_exact_values():
    utility = game(5)
    sampled = Sampled.of(5, 3000)
    each = sampled.contributions(measured(sampled, utility))
    (exact,) = Exact.of(5).contributions(measured(Exact.of(5), utility))
    error = each.std(0, ddof=1) / np.sqrt(len(each))
    assert (np.abs(each.mean(0) - exact) < 4 * error).all()
    np.testing.assert_allclose(each.sum(1), utility({*range(5)}) - utility(set()))
    few = Sampled.of(30, 2)
    assert len(few.masks) == len({mask.tobytes() for mask in few.masks}) <= 2 * 29 + 2
    assert few.masks[0].all()
    assert not few.masks[-1].any()


@pytest.fixture(scope="module")
def heart(heart_folder):
    """The four hospitals, and 2 rounds on data of every subset of them, one data set each."""
    data = jaxfed.data.heart_disease(heart_folder, standardize="federated", split=(0.6, 0.1, 0.3))
    subsets = [s for n in range(1, 5) for s in itertools.combinations(data.hospitals, n)]
    sets = {"+".join(s): data.select(s) for s in subsets}
    sim = Simulation(next(iter(sets.values())), evaluate_on=data, **SMALL)
    # the entries of a sweep are single runs: test_runs.py
    return data, sim.sweep({"hospitals": sets}, 2, eval_every=2, progress=False).data


def test_leave_one_out_on_heart_is_a_program_and_equals_runs_on_data_without_the_hospital(heart):
    data, alone = heart
    sim = Simulation(data, **SMALL)
    done = sim.sweep({"included": included(sim, data.hospitals)}, 2, eval_every=2, progress=False)
    assert done.provenance["programs"] == 1
    for name in data.hospitals:
        rest = "+".join(other for other in data.hospitals if other != name)
        ours, expected = done.data.sel(included=f"without {name}"), alone.sel(hospitals=rest)
        for metric in ("auroc", "log_loss", "auroc_pooled"):
            np.testing.assert_allclose(ours[metric], expected[metric], rtol=1e-5, atol=1e-6)


def test_retrained_shapley_values_on_heart_are_brute_force_over_all_subsets(heart):
    data, done = heart
    names, loss = data.hospitals, done["log_loss_pooled"].sel(split="test")

    def utility(s):
        label = "+".join(name for name in names if name in s)
        return -float(loss.sel(hospitals=label, round=2) if s else loss.isel(hospitals=0).sel(round=0))

    sim = Simulation(data, **SMALL)
    valuation = sim.value(2, "shapley", progress=False)
    table = valuation.table.loc[[*names]]
    np.testing.assert_allclose(table["value"], brute_force(utility, names), atol=2e-6)
    assert valuation.total == pytest.approx(utility({*names}) - utility(set()), abs=2e-6)
    assert table["value"].sum() == pytest.approx(valuation.total)
    left_out = sim.value(2, progress=False).table.loc[[*names], "value"]
    expected = [utility({*names}) - utility({*names} - {name}) for name in names]
    np.testing.assert_allclose(left_out, expected, atol=2e-6)
    assert table["train_rows"].tolist() == data.counts[:, 0].tolist()


@pytest.fixture(scope="module")
def twins():
    """Hospitals of which the first two are equal, and the last counts for nothing."""
    data = with_validation(hospitals((9, 9, 14, 6), test=10))
    x, y, split = (np.array(leaf) for leaf in (data.x, data.y, data.split))
    first, second = data.start[:2]
    n = data.size[0]
    for leaf in (x, y, split):
        leaf[second : second + n] = leaf[first : first + n]
    data = data.replace(x=x, y=y, split=split)
    return Simulation(data, weights=per_hospital([1, 1, 1, 0]), **SMALL)


def test_values_by_rounds_are_brute_force_over_the_uploads(twins):
    """Full batches of logistic regression: an upload is a gradient step, and so is that of a coalition."""
    rounds, data, step = 2, twins.hospitals, 0.05
    names, sizes = data.hospitals, data.counts[:, 0] * np.array([1, 1, 1, 0])
    run = twins.run(rounds, progress=False)
    valuation = twins.value(rounds, "gradient-shapley", split="validation", progress=False)
    x = np.concatenate([data.x, np.ones((len(data.y), 1))], axis=1)
    held = data.split == 1

    def utility(w):
        score = x[held] @ w
        return -np.mean(np.logaddexp(0, score) - data.y[held] * score)

    def after(w, s):
        total = sum(sizes[k] for k in s)
        return w - step * sum(sizes[k] * gradient(w, k) for k in s) / total if total else w

    def gradient(w, k):
        rows = (data.split == 0) & (data.owner == k)
        return x[rows].T @ (1 / (1 + np.exp(-x[rows] @ w)) - data.y[rows]) / rows.sum()

    start = jax.tree.leaves(twins.run(0, progress=False).variables.params)
    w = np.concatenate([start[1].ravel(), start[0].ravel()]).astype(float)  # kernel, bias
    first = utility(w)
    for t in range(rounds):
        values = brute_force(lambda s, w=w: utility(after(w, s)), range(4))
        np.testing.assert_allclose(valuation.by_round.loc[t + 1, [*names]], values, atol=2e-6)
        w = after(w, range(4))
    table = valuation.table.loc[[*names], "value"]
    np.testing.assert_allclose(table, valuation.by_round.sum()[[*names]])
    assert table.iloc[0] == pytest.approx(table.iloc[1], abs=1e-6)
    assert table.iloc[3] == pytest.approx(0, abs=1e-6)
    assert valuation.total == pytest.approx(utility(w) - first, abs=2e-6)
    assert table.sum() == pytest.approx(valuation.total, abs=1e-6)
    assert -run.history.pooled["log_loss"][-1, 0] == pytest.approx(utility(w), abs=2e-6)


def test_words_files_and_figure(tmp_path):
    values = np.array([[[0.1, -0.2], [0.3, 0.0]], [[0.1, 0.0], [0.5, 0.2]]])
    index = pd.Index(["a", "b"], name="hospital")
    sizes = pd.DataFrame(
        {"train_rows": [10, 40], "share_of_rows": [0.2, 0.8], "label_shift": [0.1, 0.0]}, index
    )
    coalitions = pd.DataFrame({"a": [True, False], "b": [True, False], "utility": [0.2, 0.7]})
    made = Valuation("shapley", "auroc", "AUROC", "test", values, 0.5, sizes, coalitions, None, {}, 1.0)
    np.testing.assert_allclose(made.table["value"], [0.25, 0.0])
    orders = values.mean(0)
    np.testing.assert_allclose(made.table["standard_error"], orders.std(0, ddof=1) / np.sqrt(2))
    assert "most a +0.2500" in repr(made)
    assert "<table" in made._repr_html_()
    assert isinstance(made.plot(), Figure)
    names = {"values.csv", "coalitions.csv", "values.png"}
    assert {path.name for path in made.save(tmp_path / "v").iterdir()} == names


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"method": "shapely"}, "did you mean 'shapley'"),
        ({"metric": "log_los"}, "did you mean 'log_loss'"),
        ({"split": "train"}, "split='train': give one of splits, validation, test"),
        ({"seeds": 0}, "seeds=0: give a whole number"),
    ],
)
def test_wrong_arguments_name_the_remedy(twins, arguments, text):
    with pytest.raises(InvalidInput, match=text):
        twins.value(2, **arguments)
