"""A small residual network with group norm."""

from __future__ import annotations

import math

import flax.linen as nn
from jax import Array


class Residual(nn.Module):
    """Two convolutions of 3 x 3 with group norm, added to what goes in (He et al. 2016, arXiv:1512.03385).

    Attributes:
        channels: channels of the output; where they or the size change, a 1 x 1 convolution brings the input
            to its shape.
        stride: of the first convolution.
        groups: groups of the norm, at most.
    """

    channels: int
    stride: int = 1
    groups: int = 8

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Images ``[B, height, width, channels]`` to the same, ``stride`` times smaller."""
        step, groups = (self.stride, self.stride), math.gcd(self.groups, self.channels)
        y = nn.relu(nn.GroupNorm(groups)(nn.Conv(self.channels, (3, 3), step, use_bias=False)(x)))
        y = nn.GroupNorm(groups)(nn.Conv(self.channels, (3, 3), use_bias=False)(y))
        if x.shape != y.shape:
            x = nn.GroupNorm(groups)(nn.Conv(self.channels, (1, 1), step, use_bias=False)(x))
        return nn.relu(x + y)


class ResNet(nn.Module):
    """Residual blocks, each halving the image but the first, then the mean over the image.

    Group norm (Wu and He 2018, arXiv:1803.08494) in place of batch norm: statistics of a batch say nothing of
    another hospital's patients (Hsieh et al. 2020, arXiv:1910.00189).

    Attributes:
        channels: channels of each block.
        outputs: width of the output; None lets :class:`jaxfed.Simulation` fill in what the data need.
        groups: groups of the norms, at most.
    """

    channels: tuple[int, ...] = (16, 32, 64)
    outputs: int | None = None
    groups: int = 8

    def setup(self) -> None:
        """Layers ``stem``, ``norm``, ``block_0``, ``block_1``, ..., ``head``."""
        self.stem = nn.Conv(self.channels[0], (3, 3), use_bias=False)
        self.norm = nn.GroupNorm(math.gcd(self.groups, self.channels[0]))
        self.blocks = [
            Residual(width, 1 if i == 0 else 2, self.groups, name=f"block_{i}")
            for i, width in enumerate(self.channels)
        ]
        self.head = nn.Dense(self.outputs or 1)

    def features(self, x: Array) -> Array:
        """What goes into the head, ``[B, channels]``."""
        x = nn.relu(self.norm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return x.mean((1, 2))

    def __call__(self, x: Array) -> Array:
        """Outputs ``[B, outputs]`` of images ``[B, height, width, channels]``."""
        return self.head(self.features(x))


def resnet(*channels: int, groups: int = 8) -> ResNet:
    """A small residual network: ``resnet(16, 32, 64)`` has three blocks, 8 layers in all."""
    return ResNet(tuple(channels) or (16, 32, 64), groups=groups)
