"""Sums over hospitals do not stop growing in half precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from federations import Lab, hospitals, recipe, server_in

from jaxfed.aggregators import WeightedMean, as_chain
from jaxfed.algorithms import FedAvg, FedCM, Scaffold
from jaxfed.core.engine.road import Channel, start_channel
from jaxfed.core.types import Upload, Variables


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_the_mean_of_many(dtype):
    """200 hospitals of 966 patients: the weights add up to 193200, which neither type can hold."""
    chain, one = as_chain(WeightedMean()), Upload(jnp.ones(3, dtype))
    channel = Channel(chain, one, start_channel(chain, one))
    lab = Lab(recipe(hospitals()), hospitals())

    def mean():
        total = channel.begin(lab.plans[0])
        block = Upload(jnp.ones((1, 3), dtype))
        for _ in range(200):
            total = channel.add(total, block, jnp.full(1, 966.0), jnp.zeros(1, int))
        return channel.aggregate([total], [jnp.zeros(1, int)], lab.plans[0], jnp.ones(1), jax.random.key(0))[
            0
        ]

    on_device = jax.shard_map(mean, mesh=lab.plans[0].mesh, in_specs=(), out_specs=jax.P(), check_vma=False)
    np.testing.assert_array_equal(jax.jit(on_device)().update, np.ones(3, np.float32))


@pytest.mark.parametrize("algorithm", [FedAvg(), Scaffold(), FedCM()])
def test_a_half_precision_model_stays_what_it_is(algorithm):
    data = hospitals((9, 8))
    lab = Lab(recipe(data, algorithm=algorithm, batch_size=4), data)
    initial = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), server_in(lab.start()).variables)
    server, _, log = lab.rounds(3, initial=Variables(*initial))
    assert {leaf.dtype for leaf in jax.tree.leaves(server.variables)} == {jnp.dtype(jnp.bfloat16)}
    assert not log.rejected.any()
