"""Bring recovered volumes into the frame of the truth: rotation, shift and hand."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from multicryogan.evaluation.baselines import mean_map
from multicryogan.evaluation.fsc import check_cubes
from multicryogan.evaluation.matching import correlation_matrix
from multicryogan.evaluation.rigid import (
    FINER,
    border_level,
    mirror,
    move,
    move_fast,
    refine,
)
from multicryogan.evaluation.search import Pose, distinct, search, turn_all
from multicryogan.fourier import fourier_resize, shell_index
from multicryogan.progress import Progress, ignore

FULL_BOX = 40  # finest grid of a single alignment, in voxels
JOINT_BOX = 24  # finest grid when many pairs are aligned at once
COARSE_BOX = 14  # holds the shells that are searched
TRIED = 5  # poses of each hand that are refined on the full grid
OFFERED = 4  # candidates for a common alignment
FINE_BOX = 128  # upsampled grid of the last refinement
MOST_PAIRS = 32  # pairs in a joint refinement


@dataclass(frozen=True, slots=True)
class Alignment:
    """A rigid motion of volumes onto a reference, after a mirror in z if told."""

    rotation: Tensor  # (3, 3), from the volume, mirrored if told, to the reference
    shift: Tensor  # (3,) voxels (x, y, z), after the rotation
    is_mirrored: bool
    correlation: float


def align(
    volume: Tensor,
    reference: Tensor,
    *,
    hands: bool = True,
    max_shell: int | None = None,
) -> Alignment:
    """Find the rotation, shift and hand that best lay a volume on a reference.

    Args:
        volume: (D, D, D) density to move.
        reference: (D, D, D) density that stays.
        hands: Try the mirror image too.
        max_shell: Last shell compared; all of them when missing.

    Returns:
        The alignment of highest correlation. Applied to the volume it gives the
        reference: `apply_alignment(volume[None], align(volume, reference))`.
    """
    return candidates(volume, reference, hands=hands, max_shell=max_shell)[0]


def candidates(
    volume: Tensor,
    reference: Tensor,
    *,
    hands: bool = True,
    max_shell: int | None = None,
) -> tuple[Alignment, ...]:
    """List the best few distinct alignments, the best first.

    Args:
        volume: (D, D, D) density to move.
        reference: (D, D, D) density that stays.
        hands: Try the mirror image too.
        max_shell: Last shell compared; all of them when missing.

    Returns:
        At most four alignments.
    """
    return candidates_each(volume[None], reference, hands=hands, max_shell=max_shell)[0]


def candidates_each(
    volumes: Tensor,
    reference: Tensor,
    *,
    hands: bool = True,
    max_shell: int | None = None,
    progress: Progress = ignore,
) -> list[tuple[Alignment, ...]]:
    """List the `candidates` of several volumes on one reference, which saves time.

    Args:
        volumes: (N, D, D, D) densities to move, each by itself.
        reference: (D, D, D) density that stays.
        hands: Try the mirror images too.
        max_shell: Last shell compared; all of them when missing.
        progress: Called with volumes done, none at first, and volumes in all.

    Returns:
        For each volume at most four alignments, the best first.
    """
    check_cubes(volumes, reference)
    box = volumes.shape[-1]
    everything = torch.cat((volumes, reference[None]))
    coarse = prepare(everything, COARSE_BOX, max_shell)
    full = prepare(everything, FULL_BOX, max_shell)
    turned = turn_all(coarse[-1])
    found = []
    for i in range(len(volumes)):
        progress(i, len(volumes))
        poses = search(coarse[i], coarse[-1], turned, hands=hands)
        poses = _best_refined(full[[i, -1]], poses, full.shape[-1] / coarse.shape[-1])
        found.append(
            tuple(
                Alignment(
                    pose.rotation.to(volumes),
                    (pose.shift * (box / full.shape[-1])).to(volumes),
                    pose.is_mirrored,
                    pose.correlation,
                )
                for pose in poses
            )
        )
    return found


def _best_refined(pair: Tensor, poses: list[Pose], ratio: float) -> list[Pose]:
    """Refine the best coarse poses of pair[0] on pair[1], a finer grid; offer a few."""
    # Flat particles look alike in both hands at low resolution: try some of each.
    tried = [
        pose.scaled(ratio)
        for is_mirrored in (False, True)
        for pose in [p for p in poses if p.is_mirrored == is_mirrored][:TRIED]
    ]
    poses = distinct(_refined(pair, tried))[:OFFERED]
    finer = min(4, FINE_BOX // pair.shape[-1])
    return [*_refined(pair, poses[:1], finer=finer), *poses[1:]]


def apply_alignment(volumes: Tensor, alignment: Alignment) -> Tensor:
    """Move all conformations by one alignment.

    Args:
        volumes: (N, D, D, D) densities.
        alignment: Motion and hand, in voxels of these volumes.

    Returns:
        (N, D, D, D) moved densities, with their detail up to Nyquist.
    """
    volumes = _handed(volumes, alignment)
    count = len(volumes)
    rotation = alignment.rotation.expand(count, 3, 3)
    return move(volumes, rotation, alignment.shift.expand(count, 3))


def common_alignment(
    volumes: Tensor,
    states: Tensor,
    *,
    volume_weights: Tensor | None = None,
    state_weights: Tensor | None = None,
) -> Alignment:
    """Find one alignment for all conformations.

    The mean of the volumes is aligned to that of the states. Of the best few poses
    the one is taken at which states correlate best with their best-matching volumes,
    and it is refined on all these pairs together.

    Args:
        volumes: (N, D, D, D) recovered densities.
        states: (M, D, D, D) true densities.
        volume_weights: (N,) weights of their mean; equal when missing.
        state_weights: (M,) weights of their mean; equal when missing.

    Returns:
        The alignment, its correlation the mean over states of the best match.
    """
    check_cubes(volumes, states)
    box = volumes.shape[-1]
    mean_volume = mean_map(volumes, _or_equal(volume_weights, volumes))
    mean_state = mean_map(states, _or_equal(state_weights, states))
    small_volumes = prepare(_spread(volumes), JOINT_BOX, None)
    small_states = prepare(_spread(states), JOINT_BOX, None)
    ratio = small_volumes.shape[-1] / box
    starts = [
        replace(start, shift=start.shift * ratio)
        for start in candidates(mean_volume, mean_state)
    ]
    best = max(starts, key=lambda s: _best_matches(small_volumes, small_states, s)[1])
    best = _joint(small_volumes, small_states, best)
    return replace(best, shift=best.shift / ratio)


def _best_matches(
    volumes: Tensor, states: Tensor, pose: Alignment
) -> tuple[Tensor, float]:
    """Find the volume (M,) nearest each state at a pose, and their mean correlation."""
    grid, count = volumes.shape[-1], len(volumes)
    fine = fourier_resize(_handed(volumes, pose), FINER * grid, ndim=3)
    moved = move_fast(
        fine, grid, pose.rotation.expand(count, 3, 3), pose.shift.expand(count, 3)
    )
    best, match = correlation_matrix(moved, states, grid // 2).max(dim=0)
    return match, best.mean().item()


def _joint(volumes: Tensor, states: Tensor, pose: Alignment) -> Alignment:
    """Refine one pose on all pairs of a state and its best match."""
    for _ in range(2):  # a better pose may change who matches whom
        match, _mean = _best_matches(volumes, states, pose)
        rotation, shift, correlation = refine(
            _handed(volumes, pose)[match],
            states,
            pose.rotation[None],
            pose.shift[None],
            is_shared=True,
            steps=4,
        )
        pose = replace(
            pose,
            rotation=rotation[0],
            shift=shift[0],
            correlation=correlation.item(),
        )
    return pose


def _handed(volumes: Tensor, pose: Alignment) -> Tensor:
    return mirror(volumes) if pose.is_mirrored else volumes


def _refined(pair: Tensor, poses: list[Pose], finer: int = FINER) -> list[Pose]:
    """Refine poses of pair[0] on pair[1], and sort them."""
    hands = torch.stack((pair[0], mirror(pair[0])))
    rotation, shift, correlation = refine(
        hands[[int(pose.is_mirrored) for pose in poses]],
        pair[1:],
        torch.stack([pose.rotation for pose in poses]).to(pair),
        torch.stack([pose.shift for pose in poses]).to(pair),
        steps=6,
        finer=finer,
    )
    order = correlation.argsort(descending=True).tolist()
    return [
        Pose(rotation[i], shift[i], poses[i].is_mirrored, correlation[i].item())
        for i in order
    ]


def prepare(volumes: Tensor, largest_box: int, max_shell: int | None) -> Tensor:
    """Set the empty level to zero, take to a smaller grid, filter to a sphere.

    Args:
        volumes: (N, D, D, D) densities.
        largest_box: Side of the grid where the volumes are larger.
        max_shell: Last shell kept; all of them when missing.

    Returns:
        (N, S, S, S) densities, S the smaller of D and largest_box.
    """
    box = volumes.shape[-1]
    volumes = volumes.detach() - border_level(volumes)[:, None, None, None]
    grid = min(box, largest_box)
    volumes = fourier_resize(volumes, grid, ndim=3)
    if max_shell is None or max_shell >= grid // 2:
        return volumes
    mask = shell_index(grid, 3, like=volumes) <= max_shell
    spectrum = torch.fft.rfftn(volumes, dim=(-3, -2, -1)) * mask
    filtered: Tensor = torch.fft.irfftn(spectrum, s=(grid,) * 3, dim=(-3, -2, -1))
    return filtered


def _spread(volumes: Tensor) -> Tensor:
    """Pick at most MOST_PAIRS volumes, evenly."""
    count = min(len(volumes), MOST_PAIRS)
    return volumes[torch.linspace(0, len(volumes) - 1, count).round().long()]


def _or_equal(weights: Tensor | None, volumes: Tensor) -> Tensor:
    return volumes.new_ones(len(volumes)) if weights is None else weights
