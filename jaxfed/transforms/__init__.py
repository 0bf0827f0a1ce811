"""What is done to single uploads before they are aggregated, and to the aggregate after."""

from jaxfed.transforms.clip import Clip
from jaxfed.transforms.momentum import Momentum
from jaxfed.transforms.noise import Noise
from jaxfed.transforms.top_k import TopK

__all__ = ["Clip", "Momentum", "Noise", "TopK"]
