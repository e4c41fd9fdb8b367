"""Compare maps of other programs or runs: laid on each other, correlated in a mask.

Nothing in images tells rotation, position, hand, sign or scale of a map, so all of
them are matched before two maps are called different.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.errors import InputError
from multicryogan.evaluation.alignment import Alignment, align, apply_alignment
from multicryogan.evaluation.frames import own_frames
from multicryogan.evaluation.fsc import fsc, fsc_area, resolution_angstrom
from multicryogan.evaluation.half_maps import HalfSetFSC, half_set_fsc, solvent_mask
from multicryogan.evaluation.rigid import border_level
from multicryogan.fourier import resampling_matrix
from multicryogan.progress import Progress, ignore
from multicryogan.rotations import geodesic_distance_deg

SAME = 1e-3  # relative difference of voxels that is none
FLAT = 1e-6  # of the size of a map: what is left of it in a mask is rounding


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two maps on one grid, the second laid on the first.

    Attributes:
        reference: (D, D, D) the first.
        moved: (D, D, D) the second, moved, with the sign and scale of the first.
        mask: (D, D, D) that they were compared in.
        curves: Correlation shell by shell.
        voxel_size: Å.
        alignment: Motion from the second, mirrored if told, to the first.
        is_inverted: Whether dark of the second is bright of the first.
        scale: Factor that the second was given, its sign included.
        correlation: In the mask, grey levels removed.
    """

    reference: Tensor
    moved: Tensor
    mask: Tensor
    curves: HalfSetFSC
    voxel_size: float
    alignment: Alignment
    is_inverted: bool
    scale: float
    correlation: float

    @property
    def rotation_deg(self) -> float:
        """Angle that the second was turned by."""
        turn = self.alignment.rotation
        return float(geodesic_distance_deg(turn, torch.eye(3).to(turn)))

    @property
    def shift_angstrom(self) -> float:
        """How far the second was shifted."""
        return float(self.alignment.shift.norm()) * self.voxel_size

    def resolution_angstrom(self, threshold: float) -> float:
        """Resolution at a threshold of the curve that is corrected for the mask."""
        curves = self.curves
        return resolution_angstrom(
            curves.corrected, threshold, curves.box, curves.voxel_size
        )


@dataclass(frozen=True, slots=True)
class Match:
    """The map of a second set that is most like one of the first."""

    number: int  # in the second set
    fsc: Tensor  # (D//2+1,)
    moved: Tensor  # (D, D, D) laid on the one of the first

    @property
    def fsc_area(self) -> float:
        """Area under the curve up to Nyquist."""
        return float(fsc_area(self.fsc))


def compare_maps(
    first: Tensor, second: Tensor, voxel_size: float, mask: Tensor | None = None
) -> Comparison:
    """Lay a map on another and correlate them.

    Args:
        first: (D, D, D) density, axes (z, y, x).
        second: (D, D, D) density on the same grid: see `on_one_grid`.
        voxel_size: Å per voxel.
        mask: (D, D, D) values in [0, 1]; drawn about both maps when missing.

    Returns:
        Over all rotations and shifts, both hands and both signs the best alignment,
        and how alike the maps are then.

    Raises:
        InputError: A map is the same everywhere in the mask.
    """
    reference = first - border_level(first[None])[0]
    if mask is not None:
        _inside(reference, mask)  # before what takes a minute
    found, sign = max(
        ((align(sign * second, first), sign) for sign in (1.0, -1.0)),
        key=lambda pair: pair[0].correlation,
    )
    moved = apply_alignment(sign * second[None], found)[0]
    moved = moved - border_level(moved[None])[0]
    if mask is None:
        mean = reference / reference.std() + moved / moved.std()
        # Where the first is dark on bright, so is the mean: a mask is about density.
        mean = mean * torch.sign(mean.pow(3).mean())
        mask = solvent_mask(mean, voxel_size)
    inside = [_inside(volume, mask) for volume in (reference, moved)]
    scale = float((inside[0] * inside[1]).sum() / inside[1].square().sum())
    size = inside[0].norm() * inside[1].norm()
    correlation = float((inside[0] * inside[1]).sum() / size.clamp(min=1e-30))
    curves = half_set_fsc(reference, moved, mask, voxel_size, seed=0)
    return Comparison(
        first,
        scale * moved,
        mask,
        curves,
        voxel_size,
        found,
        sign < 0,
        sign * scale,
        correlation,
    )


def match_sets(
    first: Tensor, second: Tensor, progress: Progress = ignore
) -> list[Match]:
    """Find for each map of a set the map of another that is most like it.

    Args:
        first: (M, D, D, D) densities in one frame.
        second: (N, D, D, D) densities on the same grid, each in a frame of its own.
        progress: Called with maps of both that are done, and those in all.

    Returns:
        A match for each of the first.
    """
    frames = own_frames(second, first, first.mean(0), progress)
    everyone = torch.arange(len(second))
    found = []
    for number, state in enumerate(first):
        laid = frames.lay(number, everyone)
        curves = fsc(laid, state)
        best = int(fsc_area(curves).argmax())
        found.append(Match(best, curves[best], laid[best]))
    return found


def on_one_grid(
    first: Tensor, second: Tensor, voxel_sizes: tuple[float, float]
) -> tuple[Tensor, Tensor, float]:
    """Bring maps to the larger of two voxels and the larger of two fields of view.

    Args:
        first: (M, D, D, D) densities.
        second: (N, E, E, E) densities.
        voxel_sizes: Å per voxel of both.

    Returns:
        Both on one grid, and its voxel size; those that have it already are the same.

    Raises:
        InputError: The fields of view have so little in common that no grid fits.
    """
    is_same = abs(voxel_sizes[0] / voxel_sizes[1] - 1) < SAME
    if is_same and first.shape[-1] == second.shape[-1]:
        return first, second, voxel_sizes[0]
    sides = [
        volumes.shape[-1] * size
        for volumes, size in zip((first, second), voxel_sizes, strict=True)
    ]
    voxel_size, side = max(voxel_sizes), max(sides)
    if max(sides) > 4 * min(sides):
        raise InputError(
            f"one map spans {min(sides):.0f} Å and the other {max(sides):.0f} Å; check "
            "the voxel sizes in their headers"
        )
    box = 2 * math.floor(side / voxel_size / 2 + SAME)
    resized = [
        _resampled(volumes, size, box, voxel_size)
        for volumes, size in zip((first, second), voxel_sizes, strict=True)
    ]
    return resized[0], resized[1], voxel_size


def _resampled(volumes: Tensor, old: float, box: int, new: float) -> Tensor:
    """(N, D, D, D) volumes of voxels `old` at voxels `new`, in another box."""
    if volumes.shape[-1] == box and abs(old / new - 1) < SAME:
        return volumes
    padded = _padded(volumes, math.ceil(box * new / old - SAME))
    own = padded.shape[-1]
    matrix = resampling_matrix(own, box, max(1.0, own * old / (box * new)))
    matrix = matrix.to(volumes)
    for _ in range(3):  # the last axis goes first
        padded = torch.einsum("ij,nzyj->nizy", matrix, padded)
    return padded


def _padded(volumes: Tensor, least: int) -> Tensor:
    """Surround (N, D, D, D) volumes by their border's level, to an even box."""
    box = volumes.shape[-1]
    wanted = max(box, least)
    wanted += wanted % 2
    before = wanted // 2 - box // 2
    after = wanted - box - before
    level = border_level(volumes)[:, None, None, None]
    return torch.nn.functional.pad(volumes - level, (before, after) * 3) + level


def _inside(volume: Tensor, mask: Tensor) -> Tensor:
    """Take the mean inside a mask from a volume, and what is outside.

    Raises:
        InputError: Nothing is left.
    """
    level = (volume * mask).sum() / mask.sum().clamp(min=1e-30)
    left = (volume - level) * mask
    if not left.norm() > FLAT * volume.norm():
        raise InputError(
            "a map is the same everywhere in the mask; give a mask of more voxels, "
            "about what both maps show"
        )
    return left
