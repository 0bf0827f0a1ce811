"""Ready-made flax models; any other flax model works too."""

from jaxfed.models.cnn import CNN, cnn
from jaxfed.models.dense import MLP, logistic, mlp
from jaxfed.models.published import LeNet, ReddiCNN, lenet, reddi_cnn
from jaxfed.models.resnet import ResNet, resnet

__all__ = [
    "CNN",
    "MLP",
    "LeNet",
    "ReddiCNN",
    "ResNet",
    "cnn",
    "lenet",
    "logistic",
    "mlp",
    "reddi_cnn",
    "resnet",
]
