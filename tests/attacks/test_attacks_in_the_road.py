"""Attacks inside of the engine: layouts change nothing, absent and refused hospitals have no voice.

All attacks and rules are branches of one program, see :mod:`jaxfed.bench.switch`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from federations import Lab, hospitals, recipe, same

from jaxfed import attacks
from jaxfed.aggregators import NNM, Krum, Median, WeightedMean, chain
from jaxfed.bench.switch import OneAttack, OneRule, OneTransform
from jaxfed.core.hyperparameters import per_hospital
from jaxfed.core.uploads import Uploads
from jaxfed.models import MLP
from jaxfed.participation import Poisson

SIZES = (11, 4, 7, 1, 9, 6, 5, 8, 7)
C, ROUNDS = len(SIZES), 2
DATA = hospitals(SIZES)
WHO = per_hospital(np.isin(np.arange(C), [2, 5]).astype(int))
TRANSFORMS = (attacks.Constant(WHO, float("nan")), attacks.Gaussian(WHO, 0.5))
MIXERS = (
    attacks.Optimised(attacks.IPM(WHO, 0.5), (0.1, 1.0, 10.0)),
    attacks.ALIE(WHO),
    attacks.MinMax(WHO),
    attacks.Mimic(WHO),
    attacks.Mimic(WHO, 6),
)
RULES = (WeightedMean(), Median(), Krum(1))
CASES = [  # transform, attack, mixer, rule
    (2, 0, 0, 0),
    (1, 2, 0, 1),
    (0, 1, 1, 1),
    (0, 3, 1, 2),
    (0, 4, 0, 0),
    (0, 5, 0, 0),
]


def road(transform, attack, mixer, rule):
    return chain(
        OneTransform(TRANSFORMS, transform),
        OneAttack(MIXERS, attack),
        OneRule((NNM(2),), RULES, mixer, rule),
    )


def lab(parts, devices=1, block=1, rate=0.8):
    made = recipe(
        DATA,
        aggregator=parts,
        model=MLP((), outputs=1),
        batch_size=None,
        participation=Poisson(np.float32(rate)),
    )
    return Lab(made, DATA, devices, block)


def run(one, rounds=ROUNDS, seed=3):
    state, info = one.advance(one.start(seed), rounds)
    return state.server, jax.tree.map(lambda leaf: np.asarray(leaf)[:rounds], info)


def test_layouts_change_nothing():
    """1, 2 and 4 devices; noise of an attack belongs to the client."""
    first = [run(lab(road(*case))) for case in CASES]
    assert 0 < first[0][1].present.sum() < first[0][1].present.size
    moved = [np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(server)]) for server, _ in first]
    assert all(np.isfinite(numbers).all() for numbers in moved)
    assert len({numbers.tobytes() for numbers in moved}) == len(CASES)  # each is another run
    for devices, block in ((2, 2), (4, 8)):
        for case, (server, info) in zip(CASES, first, strict=True):
            other, seen = run(lab(road(*case), devices, block))
            same(other, server, rtol=2e-3, atol=2e-5)
            same(seen, info, rtol=2e-3, atol=2e-5)


def test_the_switches_run_the_parts_that_they_name():
    plain, _ = run(lab(chain(MIXERS[2], NNM(2), RULES[1]), rate=1.0))
    same(run(lab(road(0, 3, 1, 1), rate=1.0))[0], plain, rtol=1e-4, atol=1e-6)


def test_what_is_not_finite_is_refused():
    """NaN of a client, and an update of colluding clients that overflows, which counts as absent."""
    _, info = run(lab(road(1, 0, 0, 2)))
    malicious = np.asarray(WHO.values) > 0
    assert np.array_equal(info.rejected, info.present & malicious)
    x = np.full((C, 3), 2.0, np.float32)
    sent = attacks.attacked(attacks.IPM(WHO, 3e38), x)
    assert not np.asarray(sent)[malicious].any()
    assert (np.asarray(sent)[~malicious] == 2).all()
    uploads = Uploads(jnp.ones((3, 2)), jnp.zeros((3, 0)), jnp.ones(3))
    replaced = uploads.replace(jnp.array([True, True, False]), jnp.array([[np.inf, 1], [2, 3], [4, 5]]))
    assert replaced.weights.tolist() == [0, 1, 1]
    assert replaced.update.tolist() == [[0, 0], [2, 3], [1, 1]]
