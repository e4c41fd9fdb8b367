"""Take a drifting rotation out of a series of volumes."""

from __future__ import annotations

import torch
from torch import Tensor

from multicryogan.evaluation.alignment import JOINT_BOX, prepare
from multicryogan.evaluation.rigid import move, refine

AT_ONCE = 8  # pairs of neighbours refined together


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
    small = prepare(volumes, JOINT_BOX, None)
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
