"""Rules that choose a set of uploads, and clipping: their papers' formulas, and what they promise.

All of them run in one program on 9 uploads, of which any may be absent; f is traced where that is possible.
"""

import dataclasses

import numpy as np
import pytest
import robust_oracles as oracles
from federations import hospitals
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from roads import Aggregated, aggregate_each, mixed

from jaxfed import FixedCohort, Simulation
from jaxfed.aggregators import (
    ARC,
    CAF,
    MDA,
    SMEA,
    Bucketing,
    Bulyan,
    DnC,
    FLTrust,
    Krum,
    Meamed,
    MoNNA,
    StaticClipping,
    TrimmedMean,
    UniformMean,
    as_chain,
    chain,
)
from jaxfed.core.errors import InvalidInput
from jaxfed.core.permutation import permute
from jaxfed.models import logistic

N, D = 9, 7
# the same cases every time, and no search for smaller ones
QUICKLY = settings(max_examples=60, deadline=None, derandomize=True, phases=[Phase.generate])
ROTATED = ("MDA", "SMEA", "CAF", "MoNNA", "DnC", "FLTrust", "multi-Krum", "mean")
SHIFTED = ("MDA", "SMEA", "CAF", "MoNNA", "DnC", "Meamed", "Bulyan", "multi-Krum", "mean")


def updates(seed=0):
    return np.random.default_rng(seed).normal(size=(N, D)).astype(np.float32)


def answers(x, f=2, trusted=0, weights=None, devices=1, seed=0) -> dict[str, Aggregated]:
    """What every rule makes of ``x``; SMEA's f is static, so it is there for 1 and 2."""
    f, trusted = np.int32(f), np.int32(trusted)
    roads = {
        "mean": (UniformMean(),),
        "MDA": (MDA(f),),
        "SMEA 1": (SMEA(1),),
        "SMEA 2": (SMEA(2),),
        "Meamed": (Meamed(f),),
        "Bulyan": (Bulyan(f),),
        "CAF": (CAF(f),),
        "DnC": (DnC(f),),
        "DnC of 3 columns": (DnC(f, draws=2, size=3),),
        "MoNNA": (MoNNA(f, trusted),),
        "FLTrust": (FLTrust(trusted),),
        "multi-Krum": (Krum(f, select=None),),
        "ARC": (ARC(f), UniformMean()),
        "clipped": (StaticClipping(np.float32(2.0)), UniformMean()),
    }
    found = aggregate_each(x, roads, weights, devices, seed)
    if f in (1, 2):
        found["SMEA"] = found[f"SMEA {f}"]
    return found


def expected(x, f, trusted):
    """The same by the oracles, on the uploads present; None for no answer."""
    x = np.asarray(x, np.float64)
    clipped = x * np.minimum(1, 2 / np.linalg.norm(x, axis=1))[:, None]
    majority, several = len(x) > 2 * f, len(x) > 2 * f and len(x) >= f + 3
    return {
        "mean": x.mean(0),
        "MDA": oracles.mda(x, f) if majority else None,
        "SMEA": oracles.smea(x, f) if majority else None,
        "Meamed": oracles.meamed(x, f) if majority else None,
        "Bulyan": oracles.bulyan(x, f) if len(x) >= 4 * f + 3 else None,
        "CAF": oracles.caf(x, f) if majority else None,
        "DnC": oracles.dnc(x, f) if majority else None,
        "MoNNA": oracles.nearest_to(x, f, trusted) if majority else None,
        "FLTrust": oracles.fltrust(x, trusted),
        "multi-Krum": x[oracles.krum_order(x, f)[: len(x) - f]].mean(0) if several else None,
        "ARC": oracles.adaptively_clipped(x, f).mean(0) if majority else None,
        "clipped": clipped.mean(0),
    }


def agree(found, wanted):
    for name, answer in wanted.items():
        if name not in found:
            continue
        if answer is None:
            assert not np.isfinite(found[name].update).any(), name
            continue
        # directions of nearly the same variance turn with the last digits of float32
        atol = 5e-3 if name == "CAF" else 2e-4
        np.testing.assert_allclose(found[name].update, answer, rtol=1e-3, atol=atol, err_msg=name)
        if name not in ("FLTrust", "ARC", "clipped"):
            np.testing.assert_allclose(found[name].aux, answer[:2], rtol=1e-3, atol=atol, err_msg=name)


def case(seed, absent, f):
    """Random uploads with some far away, who is present, and a trusted hospital among those."""
    rng = np.random.default_rng(seed)
    x = updates(seed)
    x[rng.permutation(N)[:2]] *= rng.choice([1, 3, 30])
    order = rng.permutation(N)
    weights = np.where(np.isin(np.arange(N), order[:absent]), 0, rng.integers(1, 5, N)).astype(np.float32)
    used = np.flatnonzero(weights)
    return x, weights, used, int(rng.integers(len(used)))


@QUICKLY
@given(seed=st.integers(0, 10**6), absent=st.integers(0, 6), f=st.integers(0, 4))
def test_every_rule_is_the_formula_of_its_paper(seed, absent, f):
    x, weights, used, trusted = case(seed, absent, f)
    found = answers(x, f, used[trusted], weights)
    agree(found, expected(x[used], f, trusted))


@pytest.mark.parametrize("devices", [2, 4])
def test_on_several_devices(devices):
    for seed, absent, f in ((0, 0, 1), (1, 2, 1), (2, 1, 2), (3, 0, 4)):
        x, weights, used, trusted = case(seed, absent, f)
        found = answers(x, f, used[trusted], weights, devices)
        agree(found, expected(x[used], f, trusted))
        alone = answers(x, f, used[trusted], weights)
        for name, answer in alone.items():
            # see agree; CAF's directions turn with the order of sums
            atol = 5e-3 if name == "CAF" else 1e-5
            np.testing.assert_allclose(found[name].update, answer.update, rtol=1e-5, atol=atol, err_msg=name)
            np.testing.assert_allclose(
                found[name].metrics.get("influence", 0), answer.metrics.get("influence", 0), atol=atol
            )


@QUICKLY
@given(st.lists(st.lists(st.integers(-2, 2), min_size=2, max_size=2), min_size=N, max_size=N))
def test_ties_go_to_the_first_hospitals(rows):
    """Small whole numbers in two coordinates: distances are exact, and many are equal."""
    x = np.zeros((N, D), np.float32)
    x[:, :2] = rows
    found = answers(x, 1)
    x = x.astype(np.float64)
    some = {
        "MDA": oracles.mda(x, 1),
        "Meamed": oracles.meamed(x, 1),
        "Bulyan": oracles.bulyan(x, 1),
        "MoNNA": oracles.nearest_to(x, 1, 0),
        "multi-Krum": x[oracles.krum_order(x, 1)[: N - 1]].mean(0),
    }
    agree(found, some)


def test_coordinates_are_drawn_for_every_draw():
    import jax

    x = updates()
    for seed in range(4):
        key = jax.random.key(seed)
        columns = [np.asarray(permute(key, np.arange(3), D, i)) for i in range(2)]
        assert len(set(columns[0])) == 3
        answer = oracles.dnc(x.astype(np.float64), 1, columns=columns)
        for devices in (1, 4):
            found = answers(x, 1, devices=devices, seed=seed)["DnC of 3 columns"]
            np.testing.assert_allclose(found.update, answer, rtol=1e-4, atol=1e-5)


def test_the_order_of_hospitals_does_not_matter():
    for seed in range(3):
        x = updates(seed)
        order = np.random.default_rng(seed).permutation(N)
        found, other = answers(x[order], 1, np.flatnonzero(order == 4)[0]), answers(x, 1, 4)
        if not np.allclose(oracles.mda(x, 1), oracles.mda(x[order], 1)):
            other.pop("MDA")  # two sets with the same diameter
        other.pop("Bulyan")  # with one neighbour each, the nearest two tie, and the first hospital is chosen
        for name in other:
            np.testing.assert_allclose(
                found[name].update, other[name].update, rtol=1e-4, atol=1e-4, err_msg=f"{name} {seed}"
            )
            if "influence" in other[name].metrics:
                part = other[name].metrics["influence"][order]
                np.testing.assert_allclose(found[name].metrics["influence"], part, atol=1e-4)


def test_translation_scale_and_rotation():
    x, moved = updates(), updates(5)[0]
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(D, D)))[0].astype(np.float32)
    first, scaled = answers(x), answers(4 * x)
    shifted, rotated = answers(x + moved), answers(x @ rotation)
    for name in SHIFTED:
        update = first[name].update
        np.testing.assert_allclose(shifted[name].update, update + moved, rtol=1e-4, atol=1e-4, err_msg=name)
    for name in (*SHIFTED, "FLTrust", "ARC"):
        np.testing.assert_allclose(scaled[name].update, 4 * first[name].update, rtol=1e-4, atol=1e-4)
    for name in ROTATED:
        update = first[name].update @ rotation
        np.testing.assert_allclose(rotated[name].update, update, rtol=1e-3, atol=1e-4, err_msg=name)


def test_identical_updates_are_the_answer_and_without_attackers_the_mean():
    x = np.repeat(updates()[:1], N, axis=0)
    for name, answer in answers(x, 1).items():
        bound = min(1, 2 / np.linalg.norm(x[0])) if name == "clipped" else 1
        np.testing.assert_allclose(answer.update, bound * x[0], rtol=1e-4, err_msg=name)
    x = updates(1)
    for name in ("MDA", "Meamed", "Bulyan", "CAF", "DnC", "MoNNA", "multi-Krum", "ARC"):
        found = answers(x, 0)[name]
        np.testing.assert_allclose(found.update, x.mean(0), rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("size", [1e6, 1e12, 1e20, 1e30])
def test_a_minority_cannot_move_them_far(size):
    """Of 9 uploads f are as large as they like (1 for Bulyan); the trusted hospital is honest."""
    for f, together in ((1, True), (2, True), (2, False)):
        x = updates()
        x[:f] = size
        if not together:
            x[0] = -size
        honest = x[f:]
        radius = np.linalg.norm(honest - honest.mean(0), axis=1).max()
        found = answers(x, f, trusted=5)
        for name in ("MDA", "SMEA", "Meamed", "CAF", "DnC", "MoNNA", "multi-Krum", *["Bulyan"] * (f == 1)):
            assert np.linalg.norm(found[name].update.astype(float) - honest.mean(0)) <= 1.5 * radius, name
        assert np.linalg.norm(found["FLTrust"].update) <= np.linalg.norm(x[5]) * 1.001
        assert np.linalg.norm(found["clipped"].update) <= 2.001
        longest = np.linalg.norm(honest, axis=1).max()
        assert np.linalg.norm(found["ARC"].update) <= 1.001 * longest
        assert not together or np.abs(found["mean"].update).min() > size / N / 2


def test_kappa_of_every_honest_subset():
    """||F - mean_S||^2 <= kappa var_S for all S of n - f that may be the honest ones.

    Elements of two sets of n - f pair up but for f. With r = f / (n - 2 f): twice the diameter, whose square
    is 2 (n - f) var at most, for MDA; the distance to the centre for the median (arXiv:2302.01772 has 4 (1 +
    r)^2 for it) and for a trusted upload; arXiv:2302.04787 for SMEA; arXiv:2405.14432 for ARC.
    """
    for seed, f in ((3, 1), (3, 2), (4, 2)):
        x = updates(seed)
        x[7:] *= 20
        r, part = f / (N - 2 * f), f / (N - f)
        trimmed = 6 * r * (1 + r)
        constants = {
            "MDA": 8 * f * part,
            "SMEA": 4 * part * (1 + r) ** 2,
            "Meamed": 4 * part * (1 + 4 * (1 + r) ** 2),
            "MoNNA": 4 * part * (1 + N - f),
            "ARC and trimmed mean": trimmed + 2 * r,
        }
        found = answers(x, f)
        found["ARC and trimmed mean"] = aggregate_each(
            x, {"": (ARC(np.int32(f)), TrimmedMean(np.float32((f + 0.1) / N)))}
        )[""]
        for honest in oracles.subsets(N, N - f):
            some = x[honest].astype(np.float64)
            variance = ((some - some.mean(0)) ** 2).sum(1).mean()
            for name, kappa in constants.items():
                if name != "MoNNA" or 0 in honest:
                    error = ((found[name].update - some.mean(0)) ** 2).sum()
                    assert error <= kappa * variance, name


def test_the_least_kappa_is_reached():
    """Of zeros and f ones no rule can say who is honest: kappa is at least f / (n - 2 f)."""
    x = np.zeros((N, D), np.float32)
    x[7:] = 1
    honest = x[2:]
    variance = ((honest - honest.mean(0)) ** 2).sum(1).mean()
    found = answers(x, 2)
    for name in ("MDA", "SMEA", "Meamed", "CAF", "DnC", "MoNNA", "multi-Krum"):
        error = ((found[name].update - honest.mean(0)) ** 2).sum()
        np.testing.assert_allclose(error / variance, 2 / 5, rtol=1e-4, err_msg=name)


def test_the_trusted_hospital_is_needed():
    x, absent = updates(), (np.arange(N) != 3).astype(np.float32)
    for name in ("MoNNA", "FLTrust"):
        assert not np.isfinite(answers(x, 1, trusted=3, weights=absent)[name].update).any()
        assert np.isfinite(answers(x, 1, trusted=4, weights=absent)[name].update).all()
    x[3] = 0
    assert not answers(x, trusted=3)["FLTrust"].update.any()  # it points nowhere
    x = -np.repeat(updates()[:1], N, axis=0)
    x[3] *= -1
    assert not answers(x, trusted=3)["FLTrust"].update.any()  # nobody points where it does


def test_clipping_leaves_weights_and_absent_uploads():
    x, weights = updates(), np.array([5, 0, 2, 8, 3, 1, 0, 4, 2.0], np.float32)
    used = weights > 0
    for mixer, answer in (
        (ARC(2), oracles.adaptively_clipped(x[used].astype(np.float64), 2)),
        (StaticClipping(1.5), x[used] * np.minimum(1, 1.5 / np.linalg.norm(x[used], axis=1))[:, None]),
    ):
        found = mixed(x, mixer, weights=weights)
        np.testing.assert_array_equal(found.weights, weights)
        np.testing.assert_allclose(found.update[used], answer, rtol=1e-5)
        assert not np.any(found.update[~used])
    assert not np.isfinite(mixed(x, ARC(4), weights=weights).update[used]).any()


def test_influence_is_the_part_in_the_aggregate():
    x = updates()
    x[0] = 1e6
    found = answers(x, 2, trusted=3)
    for name, answer in found.items():
        if name in ("mean", "ARC", "clipped"):
            assert "influence" not in answer.metrics
            continue
        part = answer.metrics["influence"]
        assert part.min() >= 0
        np.testing.assert_allclose(part.sum(), 1, rtol=1e-5)
        assert name == "FLTrust" or part[0] == 0, name
    for name in ("MDA", "SMEA", "CAF", "DnC", "MoNNA", "multi-Krum"):
        np.testing.assert_allclose(
            found[name].metrics["influence"] @ x, found[name].update, rtol=1e-3, atol=1e-4
        )
    assert found["FLTrust"].metrics["influence"][3] == 0


@pytest.mark.parametrize(
    ("parts", "clients", "message"),
    [
        ((Bulyan(2),), 10, "Bulyan: f=2 needs at least 11 uploads, and there are 10: give f <= 1"),
        ((Bulyan(0),), 2, "Bulyan: f=0 needs at least 3 uploads, and there are 2: take another rule"),
        ((MDA(4),), 8, "MDA: f=4 is not less than half of 8 uploads: give f <= 3"),
        ((MDA(4),), 21, "MDA: 21 uploads have 2^21 sets, and at most 20 uploads can be compared"),
        ((SMEA(9),), 20, "SMEA: 20 uploads with f=9 have 167,960 sets, and 20,000 can be compared"),
        ((SMEA(5),), 10, "SMEA: f=5 is not less than half of 10 uploads: give f <= 4"),
        ((Meamed(5),), 9, "Meamed: f=5 is not less than half of 9 uploads"),
        ((CAF(5),), 9, "CAF: f=5 is not less than half"),
        ((DnC(5),), 9, "DnC: f=5 is not less than half"),
        ((DnC(3, factor=3.0),), 9, "factor=3.0 with f=3 leaves out all of 9 uploads: give factor < 3"),
        (
            (MoNNA(1, trusted=9),),
            9,
            "MoNNA: trusted=9 of 9 hospitals, which are counted from 0: give at most 8",
        ),
        ((FLTrust(9),), 9, "FLTrust: trusted=9 of 9 hospitals"),
        ((Bucketing(2), FLTrust(0)), 9, "FLTrust trusts a hospital, whose upload Bucketing mixes"),
        ((ARC(5), UniformMean()), 9, "ARC: f=5 is not less than half"),
    ],
)
def test_problems_of_impossible_numbers(parts, clients, message):
    assert any(message in problem for problem in chain(*parts).problems(clients))


@pytest.mark.parametrize(
    "make",
    [
        lambda: MDA(-1), lambda: SMEA(1.5), lambda: Meamed(-1), lambda: Bulyan(0.5), lambda: CAF(-2),
        lambda: DnC(-1), lambda: DnC(1, factor=0), lambda: DnC(1, draws=0), lambda: DnC(1, size=0),
        lambda: MoNNA(1, trusted=-1), lambda: FLTrust(-1), lambda: ARC(-1), lambda: StaticClipping(0.0),
        lambda: Krum(1, select=0),
    ],
)  # fmt: skip
def test_numbers_are_checked_when_built(make):
    with pytest.raises(InvalidInput, match="give a"):
        make()


def test_possible_numbers_are_no_problem():
    for rule in (MDA(4), SMEA(4), Meamed(4), Bulyan(1), CAF(4), DnC(4), MoNNA(4, 8), FLTrust(8)):
        assert not as_chain(rule).problems(9)


@pytest.mark.parametrize("rule", [FLTrust(5), MoNNA(1, trusted=5)])
def test_the_trusted_hospital_is_one_of_all_and_not_of_the_cohort(rule):
    data = hospitals((6,) * 6, test=2)
    sim = Simulation(data, model=logistic(), aggregator=rule, participation=FixedCohort(3))
    assert sim.participation.at_most(6) == 3
    with pytest.raises(
        InvalidInput, match="trusted=6 of 6 hospitals, which are counted from 0: give at most 5"
    ):
        sim.replace(aggregator=dataclasses.replace(rule, trusted=6))
