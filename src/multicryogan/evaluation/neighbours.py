"""Lay volumes on each other as rigid bodies: on neighbours, or on references."""

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
    child, parent = torch.tensor(tree).T
    turns, slides = _laid(small[child], small[parent])
    slides = slides * (box / small.shape[-1])
    rotation = torch.eye(3).to(volumes).repeat(count, 1, 1)
    shift = torch.zeros(count, 3).to(volumes)
    for (i, j), turn, slide in zip(tree, turns, slides, strict=True):
        rotation[i] = rotation[j] @ turn
        shift[i] = rotation[j] @ slide + shift[j]
    moved = move(volumes[1:], rotation[1:], shift[1:])
    return torch.cat((volumes[:1], moved))


def align_each(volumes: Tensor, references: Tensor) -> Tensor:
    """Lay each volume on its own reference by local refinement, without search.

    Images do not show the frame of a single conformation: turned with all its views
    it gives the same images. So each map may be compared in its own best frame.

    Args:
        volumes: (N, D, D, D) densities, roughly aligned.
        references: (N, D, D, D) densities that stay.

    Returns:
        (N, D, D, D) moved densities.
    """
    count, box = len(volumes), volumes.shape[-1]
    small = prepare(torch.cat((volumes, references)), JOINT_BOX, None)
    turns, slides = _laid(small[:count], small[count:])
    return move(volumes, turns, slides * (box / small.shape[-1]))


def _laid(volumes: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
    """Refine pairs in blocks: rotations (N, 3, 3) and shifts (N, 3) in voxels."""
    motions = []
    for some, others in zip(
        torch.split(volumes, AT_ONCE), torch.split(references, AT_ONCE), strict=True
    ):
        start = torch.eye(3).to(some).expand(len(some), 3, 3)
        still = torch.zeros(len(some), 3).to(some)
        motions.append(refine(some, others, start, still, finer=3))
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
