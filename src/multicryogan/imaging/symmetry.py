"""Symmetry: the mean of a volume over a point group, P x = 1/|G| Σ_g g x.

Rotations that map the grid onto itself permute voxels, which is exact. They form a
subgroup H; only one rotation of each of its cosets is interpolated, as slices are: from
a padded transform, with a Kaiser-Bessel kernel. P is its own transpose.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from multicryogan.fourier import centre_to_corner, corner_to_centre, frequency_radius
from multicryogan.imaging.projection import PADDING, gridded_transform, neighbours
from multicryogan.rotations import point_group

TAPS_KEPT = 2**26  # of a group, half a gigabyte; of more, all are worked out each time
EXACT = 1e-6


@dataclass(frozen=True, slots=True)
class Symmetry:
    """What a molecule has of a point group.

    Attributes:
        group: Name as of `rotations.point_group`.
        has_motion: Whether motions have it too, or the mean alone.
    """

    group: str = "C1"
    has_motion: bool = False

    @property
    def order(self) -> int:
        """Number of rotations of the group."""
        return len(point_group(self.group))

    def of_all(self, motions: int) -> str:
        """Name the group that every conformation has: that of the mean, or C1.

        Directions that it takes into each other look alike. A motion without the
        symmetry tells them apart: a molecule may well lie on the subunit that moves.
        """
        return self.group if self.has_motion or motions == 0 else "C1"

    def impose(self, basis: Tensor) -> Tensor:
        """Make (C, D, D, D) symmetric: the first, the mean, or with all motions."""
        if self.has_motion:
            return symmetrise(basis, self.group)
        return torch.cat((symmetrise(basis[:1], self.group), basis[1:]))


ASYMMETRIC = Symmetry()


def symmetrise(volumes: Tensor, group: str) -> Tensor:
    """Average volumes over a point group about the centre voxel.

    Where rotations are interpolated, the modes |k| >= D / 2 are left out, and what lies
    outside the sphere in the box wraps around.

    Args:
        volumes: (..., D, D, D) densities, axes (z, y, x), centred on voxel D // 2.
        group: Name as of `rotations.point_group`.

    Returns:
        (..., D, D, D) symmetric densities.
    """
    if len(point_group(group)) == 1:
        return volumes
    flat = volumes.reshape(-1, *volumes.shape[-3:])
    averaged: Tensor = _Symmetrise.apply(flat, group)  # type: ignore[no-untyped-call]
    return averaged.view_as(volumes)


class _Symmetrise(torch.autograd.Function):
    """P is its own transpose: no slow scattering of gradients."""

    @staticmethod
    def forward(ctx: FunctionCtx, volumes: Tensor, group: str) -> Tensor:
        """Average (C, D, D, D) volumes: over one rotation of each coset, then H."""
        ctx.group = group  # type: ignore[attr-defined]
        onto_grid, turns = _cosets(group)
        if len(turns) > 1:
            volumes = _turned_mean(volumes, group)
        permuted = [_permuted(volumes, turn) for turn in onto_grid]
        return torch.stack(permuted).mean(0)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        """Average the gradient as well."""
        group: str = ctx.group  # type: ignore[attr-defined]
        return symmetrise(gradient, group), None


@lru_cache(maxsize=16)
def _cosets(group: str) -> tuple[Tensor, Tensor]:
    """H (h, 3, 3), and rotations (m, 3, 3), the identity first, with G = H {r}."""
    rotations = point_group(group)
    turns = rotations[:1]
    for rotation in rotations:
        if not _is_onto_grid(rotation @ turns.mT).any():
            turns = torch.cat((turns, rotation[None]))
    return rotations[_is_onto_grid(rotations)], turns


def _is_onto_grid(rotations: Tensor) -> Tensor:
    """(m,) whether (m, 3, 3) rotations are signed permutations of the axes."""
    return (rotations - rotations.round()).abs().amax((1, 2)) < EXACT


def _permuted(volumes: Tensor, turn: Tensor) -> Tensor:
    """Rotate (C, D, D, D) volumes by a signed permutation of the axes (x, y, z)."""
    box = volumes.shape[-1]
    source = turn.abs().argmax(1).tolist()  # axis j that axis i of the result shows
    moved = volumes.permute(0, *(3 - source[i] for i in (2, 1, 0)))
    flipped = [3 - i for i in range(3) if turn[i, source[i]] < 0]
    # An even box has one more voxel below its centre than above: it stays.
    beyond = [1 - box % 2] * len(flipped)
    return moved.flip(flipped).roll(beyond, flipped) if flipped else moved


def _turned_mean(volumes: Tensor, group: str) -> Tensor:
    """Average (C, D, D, D) volumes over one rotation of each coset."""
    box, count = volumes.shape[-1], len(_cosets(group)[1])
    modes = _modes(box).to(volumes.device)
    reach = _reach(box)
    grids = gridded_transform(volumes, reach).flatten(1)  # (C, N)
    table = torch.view_as_real(grids.T.contiguous()).flatten(1)  # (N, 2C)
    spectrum = torch.fft.rfftn(centre_to_corner(volumes, 3), dim=(-3, -2, -1))
    flat = spectrum.flatten(1)
    total = flat[:, modes].T
    is_small = (count - 1) * len(modes) * 64 <= TAPS_KEPT
    taps = _taps if is_small else _taps.__wrapped__
    for number in range(1, count):
        index, weight, is_opposite = taps(box, group, number, table.device, table.dtype)
        values = torch.nn.functional.embedding_bag(
            index, table, mode="sum", per_sample_weights=weight
        )
        values = torch.view_as_complex(values.view(*total.shape, 2))
        total = total + torch.where(is_opposite, values.conj(), values)
    mean = torch.zeros_like(flat).index_copy(1, modes, total.T / count)
    turned = torch.fft.irfftn(
        mean.view_as(spectrum), s=volumes.shape[1:], dim=(-3, -2, -1)
    )
    return corner_to_centre(turned, 3)


@lru_cache(maxsize=128)
def _taps(
    box: int, group: str, number: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Work out the grid points of the K modes under one rotation.

    Returns:
        (K, 64) places and weights as of `neighbours`, and (K, 1) where the value at the
        opposite point is taken.
    """
    layout = torch.stack(
        torch.unravel_index(_modes(box), (box, box, box // 2 + 1)), dim=-1
    )
    frequency = (layout + box // 2) % box - box // 2  # (z, y, x)
    # The transform of g x at k is that of x at g^T k.
    turn = _cosets(group)[1][number]
    points = frequency.flip(-1).double() @ turn * PADDING
    # The volume is real: where x < 0, the opposite point has the conjugate value.
    is_opposite = points[:, :1] < 0
    points = torch.where(is_opposite, -points, points).to(device, dtype)
    index, weight = neighbours(points, _reach(box))
    return index.int(), weight, is_opposite.to(device)


@lru_cache(maxsize=8)
def _modes(box: int) -> Tensor:
    """(K,) places of the modes |k| < D / 2 in the flattened rfftn layout."""
    radius = frequency_radius(box, 3, like=torch.zeros((), dtype=torch.float64))
    return (2 * radius.flatten() < box).nonzero()[:, 0]


def _reach(box: int) -> int:
    """Outermost grid point: one to spare for rounding errors."""
    return math.floor(box / 2 * PADDING) + 2
