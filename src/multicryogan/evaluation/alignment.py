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
from multicryogan.evaluation.search import Pose, search
from multicryogan.fourier import fourier_resize, shell_index

FULL_BOX = 40  # finest grid of a single alignment, in voxels
JOINT_BOX = 24  # finest grid when many pairs are aligned at once
COARSE_BOX = 12
TRIED = 5  # poses of each hand that are refined on the full grid
OFFERED = 4  # candidates for a common alignment
FINE_BOX = 128  # upsampled grid of the last refinement
AT_ONCE = 8  # pairs of neighbours refined together
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
    check_cubes(volume, reference)
    box = volume.shape[-1]
    pair = _prepare(torch.stack((volume, reference)), COARSE_BOX, max_shell)
    poses = search(pair[0], pair[1], hands=hands)
    pair = _prepare(torch.stack((volume, reference)), FULL_BOX, max_shell)
    grid = pair.shape[-1]
    coarse_box = min(box, COARSE_BOX)
    # Flat particles look alike in both hands at low resolution: try some of each.
    tried = [
        pose.scaled(grid / coarse_box)
        for is_mirrored in (False, True)
        for pose in [p for p in poses if p.is_mirrored == is_mirrored][:TRIED]
    ]
    poses = _refined(pair, tried)[:OFFERED]
    poses = [*_refined(pair, poses[:1], finer=min(4, FINE_BOX // grid)), *poses[1:]]
    return tuple(
        Alignment(
            pose.rotation.to(volume),
            (pose.shift * (box / grid)).to(volume),
            pose.is_mirrored,
            pose.correlation,
        )
        for pose in poses
    )


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
    small_volumes = _prepare(_spread(volumes), JOINT_BOX, None)
    small_states = _prepare(_spread(states), JOINT_BOX, None)
    ratio = small_volumes.shape[-1] / box
    starts = [
        replace(start, shift=start.shift * ratio)
        for start in candidates(mean_volume, mean_state)
    ]
    best = max(starts, key=lambda s: _best_matches(small_volumes, small_states, s)[1])
    best = _joint(small_volumes, small_states, best)
    return replace(best, shift=best.shift / ratio)


def align_neighbours(volumes: Tensor, latents: Tensor | None = None) -> Tensor:
    """Take out a rotation or shift that drifts along the latent.

    Each volume is laid on its nearest neighbour among those already laid, from the
    first on, as a rigid body and by local refinement only: no search, no hand. The
    part of a motion that is no rigid motion of the whole stays as it is.

    Args:
        volumes: (N, D, D, D) densities.
        latents: (N,) or (N, d) positions; the order of the volumes when missing.

    Returns:
        (N, D, D, D) moved densities; the first is the first given.
    """
    if len(volumes) < 2:
        return volumes.clone()
    count, box = len(volumes), volumes.shape[-1]
    positions = torch.arange(float(count)) if latents is None else latents
    tree = _neighbour_tree(positions.reshape(count, -1).double().cpu())
    small = _prepare(volumes, JOINT_BOX, None)
    turns, slides = _onto_neighbours(small, tree)
    slides = slides * (box / small.shape[-1])
    rotation = torch.eye(3).to(volumes).repeat(count, 1, 1)
    shift = torch.zeros(count, 3).to(volumes)
    for (i, j), turn, slide in zip(tree, turns, slides, strict=True):
        rotation[i] = rotation[j] @ turn
        shift[i] = rotation[j] @ slide + shift[j]
    moved = move(volumes[1:], rotation[1:], shift[1:])
    return torch.cat((volumes[:1], moved))


def _onto_neighbours(
    volumes: Tensor, tree: list[tuple[int, int]]
) -> tuple[Tensor, Tensor]:
    """Lay each child on its parent: rotations (N-1, 3, 3) and shifts (N-1, 3)."""
    motions = []
    for pairs in torch.split(torch.tensor(tree), AT_ONCE):
        child, parent = pairs.T
        start = torch.eye(3).to(volumes).expand(len(pairs), 3, 3)
        still = torch.zeros(len(pairs), 3).to(volumes)
        motions.append(refine(volumes[child], volumes[parent], start, still, finer=3))
    turns, slides, _ = zip(*motions, strict=True)
    return torch.cat(turns), torch.cat(slides)


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


def _prepare(volumes: Tensor, largest_box: int, max_shell: int | None) -> Tensor:
    """Set the empty level to zero, take to a smaller grid, filter to a sphere."""
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


def _neighbour_tree(positions: Tensor) -> list[tuple[int, int]]:
    """List (child, parent) of the shortest tree from position 0, parents first."""
    distance = torch.cdist(positions, positions)
    parent = torch.zeros(len(positions), dtype=torch.int64)
    reach = distance[0].clone()
    is_free = torch.ones(len(positions), dtype=torch.bool)
    is_free[0] = False
    tree = []
    while is_free.any():
        child = int(torch.where(is_free, reach, torch.inf).argmin())
        tree.append((child, int(parent[child])))
        is_free[child] = False
        is_nearer = distance[child] < reach
        parent = torch.where(is_nearer, child, parent)
        reach = torch.minimum(reach, distance[child])
    return tree
