"""Soft masks, values from 0 to 1: on another grid, and in all symmetric poses.

Linear interpolation keeps them between 0 and 1, and 0 where they are: Fourier
interpolation would ring.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from multicryogan.rotations import point_group


def resampled_mask(mask: Tensor, box: int, field_ratio: float = 1.0) -> Tensor:
    """Bring a mask to other voxels about the same centre.

    Args:
        mask: (D, D, D) values, axes (z, y, x), centred on voxel D // 2.
        box: Side of the result in voxels.
        field_ratio: Side of the mask in Å over that of the result.

    Returns:
        (box, box, box) values, 0 beyond the mask; averages where voxels are larger.
    """
    count = mask.shape[-1]
    step = field_ratio * box / count  # a voxel of the mask, in new voxels
    place = (torch.arange(box, dtype=torch.float64) - box // 2) / step + count // 2
    width = max(1.0, 1 / step)  # of the tents, in voxels of the mask
    reach = torch.arange(-math.ceil(width), math.ceil(width) + 1)
    # As if the mask went on beyond its box, where it is 0.
    whole = _tent(place.round()[:, None] + reach - place[:, None], width).sum(1)
    tents = _tent(torch.arange(count) - place[:, None], width)
    matrix = (tents / whole[:, None]).to(mask)
    for _ in range(3):  # each puts the first axis last
        mask = torch.tensordot(mask, matrix, dims=([0], [1]))
    return mask


def _tent(away: Tensor, width: float) -> Tensor:
    """1 in the middle, falling to 0 at a distance."""
    return (1 - away.abs() / width).clamp(min=0)


def symmetric_mask(mask: Tensor, group: str) -> Tensor:
    """Cover all poses of a point group about the centre voxel.

    Args:
        mask: (D, D, D) values, axes (z, y, x), centred on voxel D // 2.
        group: Name as of `rotations.point_group`.

    Returns:
        (D, D, D) the largest value of all poses.
    """
    rotations = point_group(group).to(mask)
    if len(rotations) == 1:
        return mask
    box = mask.shape[-1]
    axis = (torch.arange(box) - box // 2).to(mask)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    points = torch.stack((x, y, z), dim=-1)
    covered = mask
    for rotation in rotations[1:]:
        # From voxels to grid_sample's own: -1 and 1 are the first and the last.
        place = 2 * (points @ rotation.mT + box // 2) / (box - 1) - 1
        turned = functional.grid_sample(
            mask[None, None], place[None], align_corners=True
        )
        covered = torch.maximum(covered, turned[0, 0])
    return covered
