"""Rigid motions of volumes: sample them moved, and refine a motion locally.

A motion takes a point p, counted in voxels from the centre, to R p + t.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from multicryogan.fourier import fourier_resize

FINER = 2  # Fourier upsampling that makes local interpolation near exact
LARGEST_STEP = 0.3  # radians, one step of the refinement
TURNED = (0.3, 0.25, -0.2)  # radians about x, y, z: no axis meets an axis
TOLERANCE = 3e-4  # of correlation: what interpolation leaves uncertain
TINY = 1e-30
REFLECT = torch.tensor([1.0, 1.0, -1.0])  # `mirror` takes a point p to REFLECT p


def move(volumes: Tensor, rotation: Tensor, shift: Tensor) -> Tensor:
    """Rotate and shift volumes about their centre, keeping detail up to Nyquist.

    Each volume is upsampled twofold in Fourier space and read through a cubic
    spline: there and back leaves FSC > 0.98 up to 0.8 Nyquist.

    Args:
        volumes: (N, D, D, D) densities.
        rotation: (N, 3, 3) rotations R, vectors (x, y, z).
        shift: (N, 3) displacements t in voxels, (x, y, z).

    Returns:
        (N, D, D, D) with value(r) = volume(R^T (r - t)); the border level outside.
    """
    from scipy.ndimage import map_coordinates, spline_filter

    box = volumes.shape[-1]
    moved = np.empty(volumes.shape, dtype=np.float32)
    levels = border_level(volumes)
    flat = volumes.detach() - levels[:, None, None, None]
    places = sample_points(
        box,
        rotation.to(volumes),
        shift.to(volumes),
        scale=FINER,
        origin=FINER * box // 2,
    )
    for i in range(len(flat)):
        fine = fourier_resize(flat[i], FINER * box, ndim=3).cpu().numpy()
        place = places[i].flip(-1).movedim(-1, 0).cpu().numpy()
        knots = spline_filter(fine, order=3, output=np.float32, mode="grid-wrap")
        moved[i] = map_coordinates(
            knots, place, order=3, mode="grid-constant", prefilter=False
        )
    return torch.from_numpy(moved).to(volumes) + levels[:, None, None, None]


def mirror(volumes: Tensor) -> Tensor:
    """Reflect (..., D, D, D) volumes in z through the centre voxel box // 2."""
    flipped = volumes.flip(-3)
    return flipped.roll(1, -3) if volumes.shape[-1] % 2 == 0 else flipped


def border_level(volumes: Tensor) -> Tensor:
    """Estimate the empty level of (N, D, D, D) volumes: (N,) medians of the faces."""
    faces = [volumes.select(axis, side) for axis in (1, 2, 3) for side in (0, -1)]
    return torch.cat([face.flatten(1) for face in faces], dim=1).median(dim=1).values


def axes_of(box: int, like: Tensor) -> Tensor:
    """List (D, D, D, 3) points (x, y, z) of a grid, in voxels from its centre."""
    axis = torch.arange(box, dtype=like.dtype, device=like.device) - box // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    return torch.stack((x, y, z), dim=-1)


def sample_points(
    box: int, rotation: Tensor, shift: Tensor, *, scale: float, origin: float
) -> Tensor:
    """Find where each voxel of the moved volume was: scale R^T (r - t) + origin.

    Returns (N, D, D, D, 3) points (x, y, z).
    """
    grid = axes_of(box, rotation).reshape(1, -1, 3) * scale
    start = origin - (shift * scale)[:, None] @ rotation
    points = torch.baddbmm(start, grid.expand(len(rotation), -1, 3), rotation)
    return points.reshape(-1, box, box, box, 3)


def move_fast(fine: Tensor, box: int, rotation: Tensor, shift: Tensor) -> Tensor:
    """Move volumes that are given upsampled, by trilinear interpolation.

    Args:
        fine: (1 or N, S, S, S) volumes on a finer grid of the same field of view.
        box: Side D of the result.
        rotation: (N, 3, 3) rotations.
        shift: (N, 3) displacements in voxels of the result.

    Returns:
        (N, D, D, D) moved volumes, zero outside.
    """
    side, count = fine.shape[-1], len(rotation)
    unit = 2 / (side - 1)  # grid_sample counts from -1 to 1, voxel 0 to the last
    place = sample_points(
        box,
        rotation.to(fine),
        shift.to(fine),
        scale=side / box * unit,
        origin=(side // 2) * unit - 1,
    )
    sources = fine[:, None].expand(count, 1, side, side, side)
    return F.grid_sample(sources, place, align_corners=True)[:, 0]


def refine(
    volumes: Tensor,
    references: Tensor,
    rotation: Tensor,
    shift: Tensor,
    *,
    is_shared: bool = False,
    steps: int = 10,
    finer: int = FINER,
) -> tuple[Tensor, Tensor, Tensor]:
    """Climb from each start to the nearest maximum of the correlation.

    Newton's method with the curvature of the reference. A step that does harm is
    taken back and halved.

    Args:
        volumes: (1 or N, D, D, D) densities to move, empty level zero.
        references: (1 or N, D, D, D) densities that stay, empty level zero.
        rotation: (N, 3, 3) starts; (1, 3, 3) when shared.
        shift: (N, 3) starts in voxels; (1, 3) when shared.
        is_shared: One motion serves all pairs (volumes[n], references[n]).
        steps: Number of steps.
        finer: Upsampling of the volumes for the trilinear interpolation.

    Returns:
        Rotation (N, 3, 3), shift (N, 3) and correlation (N,) where the climb ends.
    """
    # Trilinear interpolation weakens detail and noise between voxels, so poses that
    # lie on voxels would be favoured. Seen from a turned frame no pose does.
    frame = _turns(torch.tensor([TURNED])).to(references)
    still = torch.zeros(len(references), 3)
    references = move(references, frame.expand(len(references), 3, 3), still)
    rotation, shift = frame @ rotation, shift @ frame[0].T
    hill = _Hill.of(volumes, references, is_shared, finer)
    best, step = hill.climb(rotation, shift)
    factor = torch.ones_like(best)
    for _ in range(steps):
        trial_rotation, trial_shift = _undo(step * factor[:, None], rotation, shift)
        trial, trial_step = hill.climb(trial_rotation, trial_shift)
        is_better = trial > best - TOLERANCE
        best = torch.where(is_better, trial, best)
        rotation = torch.where(is_better[:, None, None], trial_rotation, rotation)
        shift = torch.where(is_better[:, None], trial_shift, shift)
        step = torch.where(is_better[:, None], trial_step, step)
        factor = torch.where(is_better, factor, factor / 2)
    return frame.mT @ rotation, shift @ frame[0], best


@dataclass(frozen=True, slots=True)
class _Hill:
    """The correlation of volumes with references as a function of their motion."""

    fine: Tensor  # (1 or N, S, S, S) volumes, upsampled
    references: Tensor  # (1 or N, D³) of mean zero and norm one
    tangents: Tensor  # (1 or N, 6, D³) change of the references by a small motion
    curvature: Tensor  # (1 or N, 6, 6)
    box: int
    is_shared: bool

    @classmethod
    def of(
        cls, volumes: Tensor, references: Tensor, is_shared: bool, finer: int
    ) -> _Hill:
        box = references.shape[-1]
        flat = references.flatten(1)
        flat = flat - flat.mean(dim=1, keepdim=True)
        norm = flat.norm(dim=1).clamp(min=TINY)
        tangents = _tangents(references / norm[:, None, None, None])
        # A rigid motion keeps the norm. That of the moved volume is not used:
        # interpolation smooths noise between voxels, and would be rewarded for it.
        spread = volumes.flatten(1).std(dim=1, correction=0) * box**1.5
        scaled = volumes / spread.clamp(min=TINY)[:, None, None, None]
        return cls(
            fine=fourier_resize(scaled, finer * box, ndim=3),
            references=flat / norm[:, None],
            tangents=tangents,
            curvature=tangents @ tangents.mT,
            box=box,
            is_shared=is_shared,
        )

    def climb(self, rotation: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        """Return the correlation (N,) at a pose and Newton's step (N, 6) from it."""
        pairs = max(len(self.fine), len(self.references), len(rotation))
        moved = move_fast(
            self.fine, self.box, rotation.expand(pairs, 3, 3), shift.expand(pairs, 3)
        ).flatten(1)
        correlation = (moved * self.references).sum(dim=1)
        slope = (self.tangents @ moved[:, :, None])[:, :, 0]
        bend = self.curvature * correlation.clamp(min=0.05)[:, None, None]
        if self.is_shared:
            slope, bend = slope.mean(0, keepdim=True), bend.mean(0, keepdim=True)
            correlation = correlation.mean(0, keepdim=True)
        # A round volume has no preferred turn: the ridge keeps its step finite.
        scale = bend.diagonal(dim1=1, dim2=2)
        ridge = 1e-3 * scale + TINY
        step = torch.linalg.solve(bend + torch.diag_embed(ridge), slope)
        size = step[:, :3].norm(dim=1, keepdim=True)
        return correlation, step * (LARGEST_STEP / size.clamp(min=LARGEST_STEP))


def _tangents(references: Tensor) -> Tensor:
    """Derivatives of (N, D, D, D) by a small motion (w, u): (N, 6, D³).

    The motion p -> p + w x p + u changes a volume by -(r x grad) . w - grad . u.
    """
    box = references.shape[-1]
    spectrum = torch.fft.rfftn(references, dim=(-3, -2, -1))
    full = 2 * torch.pi * torch.fft.fftfreq(box).to(references)
    half = 2 * torch.pi * torch.fft.rfftfreq(box).to(references)
    if box % 2 == 0:  # the Nyquist row has no derivative on the grid
        full[box // 2] = 0
        half[-1] = 0
    waves = (half, full[:, None], full[:, None, None])  # x, y, z
    slope = torch.stack(
        [torch.fft.irfftn(1j * k * spectrum, s=(box,) * 3) for k in waves], dim=-1
    )
    turn = torch.linalg.cross(axes_of(box, references).expand_as(slope), slope)
    return -torch.cat((turn, slope), dim=-1).flatten(1, 3).mT


def _undo(step: Tensor, rotation: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Apply to the volume the inverse of a motion (w, u) found for the reference."""
    back = _turns(-step[:, :3])
    moved = (back @ (shift - step[:, 3:])[:, :, None])[:, :, 0]
    return back @ rotation, moved


def _turns(vector: Tensor) -> Tensor:
    """(N, 3, 3) rotations by (N, 3) vectors.

    In single precision matrix_exp is off by 1e-5, which chains of turns add up.
    """
    turns: Tensor = torch.linalg.matrix_exp(_skew(vector.double()))
    return turns.to(vector)


def _skew(vector: Tensor) -> Tensor:
    """Write the cross product with (N, 3) vectors as matrices (N, 3, 3)."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    rows = (zero, -z, y, z, zero, -x, -y, x, zero)
    return torch.stack(rows, dim=-1).reshape(-1, 3, 3)
