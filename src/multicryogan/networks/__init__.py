"""The two players: generators of volumes and discriminators of images."""

from multicryogan.networks.discriminator import (
    Discriminator,
    PooledDiscriminator,
    fast_precision,
)
from multicryogan.networks.generator import (
    ComponentGenerator,
    ConvolutionGenerator,
    Generator,
    VolumeGenerator,
)
from multicryogan.networks.templates import TemplateDiscriminator

__all__ = [
    "ComponentGenerator",
    "ConvolutionGenerator",
    "Discriminator",
    "Generator",
    "PooledDiscriminator",
    "TemplateDiscriminator",
    "VolumeGenerator",
    "fast_precision",
]
