"""Ready-made models: sizes as published, parts as every model has them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from federations import Lab, hospitals, recipe

from jaxfed.core.nn.linen_model import LinenModel
from jaxfed.models import cnn, lenet, logistic, mlp, reddi_cnn, resnet

KEY = jax.random.key(0)

# model, shape of a row, outputs, parameters
SIZES = {
    "logistic": (logistic(), (5,), 1, 6),
    "mlp": (mlp(4, 3), (5,), 2, 24 + 15 + 8),
    "cnn": (cnn(2, dense=3), (4, 4, 1), 2, 20 + 27 + 8),
    "EMNIST": (reddi_cnn(), (28, 28, 1), 62, 1_206_590),
    "CIFAR10": (reddi_cnn(), (32, 32, 3), 10, 1_626_442),
    "LeNet": (lenet(), (32, 32, 3), 10, 62_006),
    "resnet": (
        resnet(4, 8),
        (8, 8, 3),
        2,
        (27 * 4 + 8) + (2 * (36 * 4 + 8)) + (36 * 8 + 16 + 72 * 8 + 16 + 4 * 8 + 16) + 18,
    ),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_and_parts(name):
    module, shape, outputs, parameters = SIZES[name]
    model = LinenModel(module.clone(outputs=outputs), form="native")  # only shapes matter here
    x = jax.ShapeDtypeStruct((3, *shape), jnp.float32)
    variables = jax.eval_shape(model.init, KEY, x)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == parameters
    found = jax.eval_shape(lambda v, x: model.apply(v, x, train=True, key=KEY, mask=None)[0], variables, x)
    assert found.shape == (3, outputs)
    features = jax.eval_shape(model.features, variables, x)
    assert variables.params["head"]["kernel"].shape == (features.shape[1], outputs)


def test_a_residual_network_learns():
    rng = np.random.default_rng(0)
    y = np.arange(24) % 2
    x = rng.normal(size=(24, 8, 8, 1)).astype(np.float32)
    x[:, :4, :4] += 2 * y[:, None, None, None]
    data = hospitals((14, 10)).replace(x=x, y=y.astype(np.int32))
    how = recipe(data, model=resnet(4, 8, groups=2).clone(outputs=1), batch_size=8, epochs=4)
    _, _, log = Lab(how, data).rounds(3)
    loss = log.clients["loss"].mean(1)
    assert not log.rejected.any()
    assert loss[-1] < 0.7 * loss[0]
