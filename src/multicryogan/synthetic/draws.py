"""Poses, shifts and optics of synthetic particles, one random stream each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from multicryogan import rng
from multicryogan.config import OpticsConfig, SimulationConfig
from multicryogan.imaging import CTFParams
from multicryogan.rotations import euler_to_matrix, random_rotations
from multicryogan.synthetic.groups import OpticsGroup, optics_groups
from multicryogan.units import ANGSTROM_PER_MICROMETRE

ROWS_PER_DRAW = 4096  # one random stream for each block of so many rows
PARTICLES_PER_MICROGRAPH = 100


@dataclass(frozen=True, slots=True)
class Views:
    """How N particles are seen."""

    rotation: Tensor  # (N, 3, 3) matrices A, r_image = A r_volume
    shift_angstrom: Tensor  # (N, 2) (x, y): where the particle sits
    ctf: CTFParams  # fields (N,); its scale is the contrast of each particle
    group: Tensor  # (N,) place of the optics group in the config, from 0

    def select(self, rows: Tensor) -> Views:
        """Take (B,) rows."""
        return Views(
            self.rotation[rows],
            self.shift_angstrom[rows],
            self.ctf.select(rows),
            self.group[rows],
        )


def draw_views(config: SimulationConfig, along: Tensor) -> Views:
    """Draw the pose and optics of every particle of a data set.

    Each quantity has a stream of its own, and each block of 4096 rows: a larger data
    set with the same seed begins with the rows of a smaller one. Groups are drawn for
    each particle, so that their rows are mixed.

    Args:
        config: The data set.
        along: (N,) place of each particle along its first coordinate, 0 to 1.
    """
    groups = optics_groups(config)
    group = _groups(config, groups)
    ctf = _optics(config, groups, group)
    return Views(_rotations(config, along), _shifts(config), ctf, group)


def number_in_group(group: Tensor) -> Tensor:
    """Count the rows of each group, (N,) places from 0."""
    number = torch.zeros_like(group)
    for value in range(int(group.max()) + 1):
        rows = (group == value).nonzero()[:, 0]
        number[rows] = torch.arange(len(rows))
    return number


def micrographs(group: Tensor) -> Tensor:
    """Number the micrograph of each particle within its group (N,), from 0."""
    return number_in_group(group) // PARTICLES_PER_MICROGRAPH


def uniform(images: int, seed: int, name: str, columns: int = 1) -> Tensor:
    """Draw U(0, 1) for a quantity, (N, columns), float64."""

    def draw(generator: torch.Generator) -> Tensor:
        shape = (ROWS_PER_DRAW, columns)
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    return _by_block(images, seed, name, draw)


def _by_block(
    images: int, seed: int, name: str, draw: Callable[[torch.Generator], Tensor]
) -> Tensor:
    """Join the draws of all blocks and keep the first `images` rows."""
    blocks = range(math.ceil(images / ROWS_PER_DRAW))
    draws = [draw(rng.stream(seed, name, step=block)) for block in blocks]
    return torch.cat(draws)[:images]


def _normal(images: int, seed: int, name: str, columns: int) -> Tensor:
    """(N, columns) standard normal draws."""

    def draw(generator: torch.Generator) -> Tensor:
        return torch.randn(ROWS_PER_DRAW, columns, generator=generator)

    return _by_block(images, seed, name, draw)


def _groups(config: SimulationConfig, groups: tuple[OpticsGroup, ...]) -> Tensor:
    """(N,) group of every particle, drawn by the shares."""
    ends = torch.tensor([group.share for group in groups]).double().cumsum(0)[:-1]
    draw = uniform(config.images, config.seed, "group")[:, 0]
    return torch.searchsorted(ends, draw, right=True)


def _rotations(config: SimulationConfig, along: Tensor) -> Tensor:
    """(N, 3, 3) uniform on SO(3), or a share of them seen from near the z axis."""
    images, seed = config.images, config.seed

    def draw(generator: torch.Generator) -> Tensor:
        return random_rotations((ROWS_PER_DRAW,), generator)

    rotation = _by_block(images, seed, "rotation", draw)
    if config.preferred_share <= 0:
        return rotation
    share = config.preferred_share + config.preferred_rise * (along.double() - 0.5)
    is_preferred = uniform(images, seed, "preferred")[:, 0] < share
    draws = uniform(images, seed, "preferred rotation", 3)
    lowest = math.cos(math.radians(config.preferred_cone_deg))
    tilt_deg = torch.acos(lowest + (1 - lowest) * draws[:, 1]).rad2deg()
    near = euler_to_matrix(360 * draws[:, 0], tilt_deg, 360 * draws[:, 2]).float()
    return torch.where(is_preferred[:, None, None], near, rotation)


def _shifts(config: SimulationConfig) -> Tensor:
    """(N, 2) Gaussian shifts in Å."""
    normal = _normal(config.images, config.seed, "shift", 2)
    return config.shift_sigma_angstrom * normal


def _optics(
    config: SimulationConfig, groups: tuple[OpticsGroup, ...], group: Tensor
) -> CTFParams:
    """Optics of every particle, each by its group."""
    micrograph = micrographs(group)
    every = [_optics_of(config, one, micrograph) for one in groups]
    rows = torch.arange(config.images)
    values = {
        field.name: torch.stack([getattr(ctf, field.name) for ctf in every])[
            group, rows
        ]
        for field in fields(CTFParams)
        if field.name not in ("scale", "group")
    }
    return CTFParams(**values, scale=_contrast(config))


def _optics_of(
    config: SimulationConfig, group: OpticsGroup, micrograph: Tensor
) -> CTFParams:
    """Optics with U(low, high) mean defocus and U(0, largest) astigmatism.

    As if all (N,) particles were of this group. A row has the same draws whatever its
    group, so that other groups change nothing in its optics.
    """
    images, seed, optics = config.images, config.seed, group.optics
    low, high = optics.defocus_um
    draw = uniform(images, seed, "defocus")[:, 0]
    mean = (low + (high - low) * draw) * ANGSTROM_PER_MICROMETRE
    difference = optics.astigmatism_angstrom * uniform(images, seed, "astigmatism")
    angle_deg = 180 * uniform(images, seed, "astigmatism angle")
    if optics.astigmatism_angstrom == 0:
        angle_deg = torch.zeros_like(angle_deg)
    half = difference[:, 0] / 2
    ctf = constant_optics(
        optics, (mean + half).float(), (mean - half).float(), angle_deg[:, 0].float()
    )
    drawn = uniform(int(micrograph.max()) + 1, seed, f"phase shift/{group.number}")
    spread = optics.phase_shift_spread_deg * (drawn[micrograph, 0] - 0.5)
    return replace(ctf, phase_shift_deg=ctf.phase_shift_deg + spread.float())


def _contrast(config: SimulationConfig) -> Tensor | None:
    """(N,) contrast of the particles, log-normal with a mean of 1; none: all 1."""
    spread = config.contrast_spread
    if spread == 0:
        return None
    normal = _normal(config.images, config.seed, "contrast", 1)[:, 0]
    return torch.exp(spread * normal - spread**2 / 2)


def constant_optics(
    optics: OpticsConfig, defocus_u: Tensor, defocus_v: Tensor, angle_deg: Tensor
) -> CTFParams:
    """Add what is the same for all particles to (N,) defoci in Å."""

    def constant(value: float) -> Tensor:
        return torch.full_like(defocus_u, value)

    return CTFParams(
        defocus_u_angstrom=defocus_u,
        defocus_v_angstrom=defocus_v,
        defocus_angle_deg=angle_deg,
        phase_shift_deg=constant(optics.phase_shift_deg),
        voltage_kv=constant(optics.voltage_kv),
        cs_mm=constant(optics.cs_mm),
        amplitude_contrast=constant(optics.amplitude_contrast),
        bfactor_angstrom2=constant(optics.bfactor_angstrom2),
    )
