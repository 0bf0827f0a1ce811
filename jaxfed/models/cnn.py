"""A small convolutional network for small images."""

from __future__ import annotations

import flax.linen as nn
from jax import Array

from jaxfed.core.errors import InvalidInput
from jaxfed.models.dense import check_widths


class CNN(nn.Module):
    """Convolutions of 3 x 3 with relu, each followed by average pooling of 2 x 2, then dense layers.

    Attributes:
        channels: channels of each convolution.
        dense: width of the hidden dense layer.
        outputs: width of the output; None lets :class:`jaxfed.Simulation` fill in what the data need.
    """

    channels: tuple[int, ...] = (16, 32)
    dense: int = 64
    outputs: int | None = None

    def setup(self) -> None:
        """Layers ``conv_0``, ``conv_1``, ..., ``hidden``, ``head``."""
        self.convolutions = [
            nn.Conv(width, (3, 3), name=f"conv_{i}") for i, width in enumerate(self.channels)
        ]
        self.hidden = nn.Dense(self.dense)
        self.head = nn.Dense(self.outputs or 1)

    def features(self, x: Array) -> Array:
        """What goes into the head, ``[B, dense]``."""
        shape, halved = x.shape[1:], 2 ** len(self.channels)
        if x.ndim != 4:
            hint = "add the axis, x[..., None]" if x.ndim == 3 else "for a table give mlp(64, 32)"
            raise InvalidInput(
                f"cnn takes images [height, width, channels], not rows of shape {shape}; {hint}"
            )
        if min(shape[:2]) < halved:
            hint = "move the channels last, x.transpose(0, 2, 3, 1), or " if shape[0] <= 4 < shape[2] else ""
            raise InvalidInput(
                f"cnn with {len(self.channels)} convolutions halves images {len(self.channels)} times, and "
                f"{shape[0]} x {shape[1]} (with {shape[2]} channels) is too small; {hint}give fewer "
                "convolutions"
            )
        for convolution in self.convolutions:
            x = nn.avg_pool(nn.relu(convolution(x)), (2, 2), (2, 2))
        return nn.relu(self.hidden(x.reshape(len(x), -1)))

    def __call__(self, x: Array) -> Array:
        """Outputs ``[B, outputs]`` of images ``[B, height, width, channels]``."""
        return self.head(self.features(x))


def cnn(*channels: int, dense: int = 64) -> CNN:
    """A small CNN: ``cnn(16, 32)`` has two convolutions, each halving the image.

    Raises:
        InvalidInput: numbers of channels that are no whole numbers of at least 1; and, where it is used, rows
            that are no images ``[height, width, channels]``, or images too small.
    """
    check_widths("cnn", (*channels, dense))
    return CNN(tuple(channels) or (16, 32), dense)
