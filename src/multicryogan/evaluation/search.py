"""Global search over rotation, shift and hand on a small grid."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from multicryogan.evaluation.rigid import FINER, mirror, move_fast, refine
from multicryogan.fourier import (
    fourier_resize,
    shell_index,
    shell_mean,
)
from multicryogan.rotations import geodesic_distance_deg, super_fibonacci

ROTATIONS = 4600  # about 15 degrees apart
SEARCH_SHELL = 6  # a rotation 8 degrees off still correlates up to here
KEPT = 64  # distinct poses that are refined
DISTINCT_DEG = 12.0
BEST = 600  # grid points looked at for distinct poses
BATCH = 200


@dataclass(frozen=True, slots=True)
class Pose:
    """A candidate: mirror in z if told, then rotate, then shift (in voxels)."""

    rotation: Tensor  # (3, 3)
    shift: Tensor  # (3,) (x, y, z)
    is_mirrored: bool
    correlation: float

    def scaled(self, factor: float) -> Pose:
        """Express the shift in voxels of a grid finer by a factor."""
        return replace(self, shift=self.shift * factor)


def turn_all(reference: Tensor) -> Tensor:
    """Turn a reference by all rotations of an even grid, for any number of searches.

    Args:
        reference: (D, D, D) density, empty level zero, D small (14).

    Returns:
        (ROTATIONS, D, D, D//2+1) conjugate transforms of what is searched on.
    """
    box = reference.shape[-1]
    fine = fourier_resize(_flattened(reference), FINER * box, ndim=3)[None]
    parts = []
    for part in torch.split(super_fibonacci(ROTATIONS).to(reference), BATCH):
        moved = move_fast(fine, box, part, reference.new_zeros(len(part), 3))
        parts.append(torch.fft.rfftn(moved, dim=(-3, -2, -1)).conj())
    return torch.cat(parts)


def search(
    volume: Tensor, reference: Tensor, turned: Tensor, *, hands: bool
) -> list[Pose]:
    """List the best distinct poses of a volume on a reference.

    All rotations of an even grid are tried, all shifts at once by correlation in
    Fourier space, and the best are refined on this same small grid.

    Args:
        volume: (D, D, D) density to move, empty level zero, D small (14).
        reference: (D, D, D) density that stays, empty level zero.
        turned: The reference as of `turn_all`.
        hands: Try the mirror image too.

    Returns:
        At most KEPT poses, the best first.
    """
    volume, reference = _flattened(volume), _flattened(reference)
    both = torch.stack((volume, mirror(volume)))
    poses = distinct(_grid_search(both if hands else both[:1], turned))
    rotation, shift, correlation = refine(
        both[[int(pose.is_mirrored) for pose in poses]],
        reference[None],
        torch.stack([pose.rotation for pose in poses]),
        torch.stack([pose.shift for pose in poses]),
        steps=5,
        finer=3,
    )
    refined = [
        Pose(rotation[i], shift[i], pose.is_mirrored, correlation[i].item())
        for i, pose in enumerate(poses)
    ]
    return distinct(sorted(refined, key=lambda pose: -pose.correlation))


def _grid_search(hands: Tensor, turned: Tensor) -> list[Pose]:
    """Correlate a volume's hands with all turned references; the BEST few, sorted.

    The reference turned by R and shifted by t lies on the volume: so the volume turned
    by R^T and shifted by -R^T t lies on the reference.
    """
    box = hands.shape[-1]
    axes = (-3, -2, -1)
    targets = torch.fft.rfftn(hands, dim=axes)[:, None]
    tops, places = [], []
    for part in torch.split(turned, BATCH):
        cross = torch.fft.irfftn(targets * part, s=(box,) * 3, dim=axes)
        top, place = cross.flatten(2).max(dim=2)  # (hands, batch)
        tops.append(top)
        places.append(place)
    top, place = torch.cat(tops, dim=1).flatten(), torch.cat(places, dim=1).flatten()
    rotations = super_fibonacci(ROTATIONS).to(hands).mT
    poses = []
    for index in top.argsort(descending=True)[:BEST].tolist():
        is_mirrored, row = divmod(index, ROTATIONS)
        shift = -rotations[row] @ _signed_shift(int(place[index]), box).to(hands)
        poses.append(Pose(rotations[row], shift, bool(is_mirrored), top[index].item()))
    return poses


def _signed_shift(place: int, box: int) -> Tensor:
    """Read (x, y, z) in -D/2..D/2 from a flat index of the correlation."""
    z, rest = divmod(place, box * box)
    y, x = divmod(rest, box)
    return torch.tensor([(i + box // 2) % box - box // 2 for i in (x, y, z)])


def distinct(poses: list[Pose]) -> list[Pose]:
    """Keep the first KEPT poses that are no near copies of a better one.

    Args:
        poses: Candidates, the best first.

    Returns:
        Those at least DISTINCT_DEG from all better ones of their hand.
    """
    kept: list[Pose] = []
    for pose in poses:
        same_hand = [p.rotation for p in kept if p.is_mirrored == pose.is_mirrored]
        if same_hand:
            apart = geodesic_distance_deg(torch.stack(same_hand), pose.rotation)
            if apart.min() < DISTINCT_DEG:
                continue
        kept.append(pose)
        if len(kept) == KEPT:
            break
    return kept


def _flattened(volume: Tensor) -> Tensor:
    """Filter (D, D, D) to 1..SEARCH_SHELL, each shell divided by the root of its rms.

    A round particle looks alike from all sides at low frequency: without the
    division its true pose is hidden among thousands of near equals.
    """
    box = volume.shape[-1]
    spectrum = torch.fft.rfftn(volume)
    shells = shell_index(box, 3, like=volume)
    power = shell_mean(spectrum.abs().square(), box, 3)
    gain = (power / power.max()).clamp(min=1e-6).pow(-0.25)
    gain[0] = 0
    gain[SEARCH_SHELL + 1 :] = 0
    spectrum = spectrum * gain[shells.clamp(max=box // 2)] * (shells <= box // 2)
    filtered: Tensor = torch.fft.irfftn(spectrum, s=volume.shape)
    return filtered
