"""Convolutional networks that federated learning is often measured with."""

from __future__ import annotations

import flax.linen as nn
from jax import Array


class ReddiCNN(nn.Module):
    """The CNN of Reddi et al. 2021, "Adaptive federated optimization" (arXiv:2003.00295), for EMNIST.

    Two convolutions of 3 x 3 without padding, maximum over 2 x 2, one hidden layer. 1,206,590 parameters for
    EMNIST (28 x 28 x 1, 62 classes); 1,626,442 for CIFAR10 (32 x 32 x 3, 10 classes), where pfl-research
    (Granqvist et al. 2024, arXiv:2404.06430) uses it too.

    Attributes:
        outputs: width of the output; None lets :class:`jaxfed.Simulation` fill in what the data need.
        dropout: shares of units dropped in training, after pooling and after the hidden layer.
    """

    outputs: int | None = None
    dropout: tuple[float, float] = (0.25, 0.5)

    def setup(self) -> None:
        """Layers ``conv_0``, ``conv_1``, ``hidden``, ``head``."""
        self.convolutions = [
            nn.Conv(width, (3, 3), padding="VALID", name=f"conv_{i}") for i, width in enumerate((32, 64))
        ]
        self.drops = [nn.Dropout(share) for share in self.dropout]
        self.hidden = nn.Dense(128)
        self.head = nn.Dense(self.outputs or 1)

    def features(self, x: Array, train: bool = False) -> Array:
        """What goes into the head, ``[B, 128]``."""
        for convolution in self.convolutions:
            x = nn.relu(convolution(x))
        x = self.drops[0](nn.max_pool(x, (2, 2), (2, 2)), deterministic=not train)
        x = nn.relu(self.hidden(x.reshape(len(x), -1)))
        return self.drops[1](x, deterministic=not train)

    def __call__(self, x: Array, train: bool = False) -> Array:
        """Outputs ``[B, outputs]`` of images ``[B, height, width, channels]``."""
        return self.head(self.features(x, train))


class LeNet(nn.Module):
    """LeNet-5 (LeCun et al. 1998) with relu and maximum pooling, as in PyTorch's CIFAR10 tutorial.

    Convolutions of 5 x 5 without padding, each followed by a maximum over 2 x 2; hidden layers of 120 and 84.
    62,006 parameters for CIFAR10.

    Attributes:
        outputs: width of the output; None lets :class:`jaxfed.Simulation` fill in what the data need.
    """

    outputs: int | None = None

    def setup(self) -> None:
        """Layers ``conv_0``, ``conv_1``, ``hidden_0``, ``hidden_1``, ``head``."""
        self.convolutions = [
            nn.Conv(width, (5, 5), padding="VALID", name=f"conv_{i}") for i, width in enumerate((6, 16))
        ]
        self.layers = [nn.Dense(width, name=f"hidden_{i}") for i, width in enumerate((120, 84))]
        self.head = nn.Dense(self.outputs or 1)

    def features(self, x: Array) -> Array:
        """What goes into the head, ``[B, 84]``."""
        for convolution in self.convolutions:
            x = nn.max_pool(nn.relu(convolution(x)), (2, 2), (2, 2))
        x = x.reshape(len(x), -1)
        for layer in self.layers:
            x = nn.relu(layer(x))
        return x

    def __call__(self, x: Array) -> Array:
        """Outputs ``[B, outputs]`` of images ``[B, height, width, channels]``."""
        return self.head(self.features(x))


def reddi_cnn(dropout: bool = True) -> ReddiCNN:
    """The CNN for EMNIST and CIFAR10 of Reddi et al. 2021."""
    return ReddiCNN() if dropout else ReddiCNN(dropout=(0.0, 0.0))


def lenet() -> LeNet:
    """LeNet-5 for images of 28 x 28 pixels or more."""
    return LeNet()
