"""Poses, shifts and optics of synthetic particles, one random stream each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan import rng
from multicryogan.config import OpticsConfig, SimulationConfig
from multicryogan.imaging import CTFParams
from multicryogan.rotations import euler_to_matrix, random_rotations
from multicryogan.units import ANGSTROM_PER_MICROMETRE

ROWS_PER_DRAW = 4096  # one random stream for each block of so many rows


@dataclass(frozen=True, slots=True)
class Views:
    """How N particles are seen."""

    rotation: Tensor  # (N, 3, 3) matrices A, r_image = A r_volume
    shift_angstrom: Tensor  # (N, 2) (x, y): where the particle sits
    ctf: CTFParams  # fields (N,)


def draw_views(config: SimulationConfig) -> Views:
    """Draw the pose and optics of every particle of a data set.

    Each quantity has a stream of its own, and each block of 4096 rows: a larger data
    set with the same seed begins with the rows of a smaller one.
    """
    return Views(_rotations(config), _shifts(config), _optics(config))


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


def _rotations(config: SimulationConfig) -> Tensor:
    """(N, 3, 3) uniform on SO(3), or a share of them seen from near the z axis."""
    images, seed = config.images, config.seed

    def draw(generator: torch.Generator) -> Tensor:
        return random_rotations((ROWS_PER_DRAW,), generator)

    rotation = _by_block(images, seed, "rotation", draw)
    if config.preferred_share <= 0:
        return rotation
    is_preferred = uniform(images, seed, "preferred")[:, 0] < config.preferred_share
    draws = uniform(images, seed, "preferred rotation", 3)
    lowest = math.cos(math.radians(config.preferred_cone_deg))
    tilt_deg = torch.acos(lowest + (1 - lowest) * draws[:, 1]).rad2deg()
    near = euler_to_matrix(360 * draws[:, 0], tilt_deg, 360 * draws[:, 2]).float()
    return torch.where(is_preferred[:, None, None], near, rotation)


def _shifts(config: SimulationConfig) -> Tensor:
    """(N, 2) Gaussian shifts in Å."""

    def draw(generator: torch.Generator) -> Tensor:
        return torch.randn(ROWS_PER_DRAW, 2, generator=generator)

    normal = _by_block(config.images, config.seed, "shift", draw)
    return config.shift_sigma_angstrom * normal


def _optics(config: SimulationConfig) -> CTFParams:
    """Optics with U(low, high) mean defocus and U(0, largest) astigmatism."""
    images, seed, optics = config.images, config.seed, config.optics
    low, high = optics.defocus_um
    draw = uniform(images, seed, "defocus")[:, 0]
    mean = (low + (high - low) * draw) * ANGSTROM_PER_MICROMETRE
    difference = optics.astigmatism_angstrom * uniform(images, seed, "astigmatism")
    angle_deg = 180 * uniform(images, seed, "astigmatism angle")
    if optics.astigmatism_angstrom == 0:
        angle_deg = torch.zeros_like(angle_deg)
    half = difference[:, 0] / 2
    return constant_optics(
        optics, (mean + half).float(), (mean - half).float(), angle_deg[:, 0].float()
    )


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
