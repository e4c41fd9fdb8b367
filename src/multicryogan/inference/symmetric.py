"""Symmetry in the M-step: an image of a symmetric volume counts in all its poses.

Where the volume is symmetric, each of its images says the same at all |G| symmetric
poses, so the sums of the E-step are taken over all of these. Where only the mean is
symmetric, its step is taken apart from that of the motions: ρ between them is left out.
It is small, as coefficients are zero on average, and at rest nothing is lost by it: the
gradients of mean and motions are zero there, whatever ρ is.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from multicryogan.fourier import frequency_radius
from multicryogan.imaging import Symmetry
from multicryogan.likelihood.maximisation import Sums
from multicryogan.rotations import point_group


def in_all_poses(sums: Sums, pairs: Tensor, box: int, symmetry: Symmetry) -> Sums:
    """Count every image in all symmetric poses.

    The gradient of symmetric volumes is only multiplied: ρ being symmetric, the step
    may as well be made so afterwards.

    Args:
        sums: Of the E-step.
        pairs: (2, P) of the manifold.
        box: Side D of the volumes in voxels.
        symmetry: Of the mean, and of the motions or not.
    """
    if symmetry.order == 1:
        return sums
    first, second = pairs
    gradient, precision = sums.gradient.clone(), sums.precision.clone()
    if symmetry.has_motion:
        gradient *= symmetry.order
        precision = rotated_sum(precision, box, symmetry.group)
    else:
        gradient[:, :2] *= symmetry.order  # real and imaginary parts of the mean's
        own = (first == 0) & (second == 0)
        precision[:, own] = rotated_sum(precision[:, own], box, symmetry.group)
        precision[:, (first == 0) & (second > 0)] = 0
    return dataclasses.replace(sums, gradient=gradient, precision=precision)


def rotated_sum(values: Tensor, box: int, group: str) -> Tensor:
    """Sum a density of the transform over a point group: Σ_g ρ(g q) at each voxel q.

    The nearest voxel is taken, as it is where slices are inserted.

    Args:
        values: (D * D * (D//2+1), P) in rfftn layout, alike at opposite voxels.
        box: Side D.
        group: Name as of `rotations.point_group`.

    Returns:
        (D * D * (D//2+1), P) sums; voxels |q| >= D / 2 are multiplied by |G|.
    """
    half = box // 2 + 1
    radius = frequency_radius(box, 3, like=values).flatten()
    inside = (2 * radius < box).nonzero()[:, 0]
    layout = torch.stack(torch.unravel_index(inside, (box, box, half)), dim=-1)
    points = ((layout + box // 2) % box - box // 2).flip(-1).double()  # (x, y, z)
    rotations = point_group(group).to(values.device)
    total = len(rotations) * values
    total[inside] = 0
    for rotation in rotations:
        # A margin, so that all devices and orders round halves alike.
        turned = (points @ rotation.mT).mul(1 - 1e-6).round().long()
        x, y, z = torch.where(turned[:, :1] < 0, -turned, turned).unbind(-1)
        total[inside] += values[(z % box * box + y % box) * half + x]
    return total
