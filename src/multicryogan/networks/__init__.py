"""The two players: generators of volumes and the discriminator of images."""

from multicryogan.networks.discriminator import (
    fast_precision,
    pooled_discriminator,
    strided_discriminator,
)
from multicryogan.networks.generator import (
    ComponentGenerator,
    ConvolutionGenerator,
    Generator,
    VolumeGenerator,
)

__all__ = [
    "ComponentGenerator",
    "ConvolutionGenerator",
    "Generator",
    "VolumeGenerator",
    "fast_precision",
    "pooled_discriminator",
    "strided_discriminator",
]
