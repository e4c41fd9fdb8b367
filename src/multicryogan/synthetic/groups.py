"""Optics groups of a data set: how each was taken and sampled."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from multicryogan.config import GroupConfig, OpticsConfig, SimulationConfig

PIXELS_PER_BLOCK = 2**20  # images rendered at once by a thread; bounds the memory


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sampling of maps, or of the images of one optics group."""

    box: int
    pixel_size: float  # Å
    resolution: float  # Å, blur of the atoms
    intensity: float = 1.0  # of images, over sums of voxels of that pixel size

    @classmethod
    def of(cls, config: SimulationConfig) -> Geometry:
        """Sampling of the true maps: blur 0 means one and a half of the largest pixels.

        The blur is the same in all groups: there is one molecule.
        """
        sizes = [group.pixel_size or 0.0 for group in config.groups]
        resolution = config.resolution or 1.5 * max(config.pixel_size, *sizes, 0.0)
        return cls(config.box, config.pixel_size, resolution)

    @property
    def rows_per_block(self) -> int:
        """Images to hold at once."""
        return max(256, min(1024, PIXELS_PER_BLOCK // self.box**2))


@dataclass(frozen=True, slots=True)
class OpticsGroup:
    """How some of the particles were taken."""

    number: int  # from 1, as in the .star
    share: float  # of the particles; those of all groups sum to 1
    optics: OpticsConfig
    geometry: Geometry
    noise_factor: float  # standard deviation of the noise, over that of snr_db
    noise_falloff_angstrom: float


def optics_groups(config: SimulationConfig) -> tuple[OpticsGroup, ...]:
    """Resolve the groups of a config; without any, all particles are one group.

    Images of all groups are projections of the true maps, summed over the voxels of
    those: a particle is as bright in fine pixels as in coarse ones.
    """
    listed = config.groups or (GroupConfig(),)
    whole = sum(group.share for group in listed)
    common = Geometry.of(config)
    groups = []
    for number, group in enumerate(listed, start=1):
        own = as_one_group(config, group)
        geometry = replace(
            common,
            box=own.box,
            pixel_size=own.pixel_size,
            intensity=own.pixel_size / config.pixel_size,
        )
        groups.append(
            OpticsGroup(
                number,
                group.share / whole,
                own.optics,
                geometry,
                group.noise_factor,
                own.noise_falloff_angstrom,
            )
        )
    return tuple(groups)


def as_one_group(config: SimulationConfig, group: GroupConfig) -> SimulationConfig:
    """Lay what a group sets over the common settings."""
    given = {name: value for name, value in vars(group).items() if value is not None}
    optics = {field.name for field in fields(OpticsConfig)}
    common = {field.name for field in fields(SimulationConfig)}
    return replace(
        config,
        optics=replace(config.optics, **{k: given[k] for k in optics & set(given)}),
        groups=(),
        **{k: given[k] for k in common & set(given)},
    )
