"""The two players: generators of volumes and the discriminator of images."""

from multicryogan.networks.discriminator import (
    PooledDiscriminator,
    StridedDiscriminator,
    fast_precision,
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
    "PooledDiscriminator",
    "StridedDiscriminator",
    "VolumeGenerator",
    "fast_precision",
]
