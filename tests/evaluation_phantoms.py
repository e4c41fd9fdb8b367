"""Sums of Gaussians with a known pose: closed forms for the evaluation tests."""

import math

import torch
from torch import Tensor

from multicryogan.evaluation.rigid import mirror, move
from multicryogan.rng import stream
from multicryogan.rotations import random_rotations


def grid_points(box: int) -> Tensor:
    """(D, D, D, 3) points (x, y, z) in voxels from the centre box // 2."""
    axis = torch.arange(float(box)) - box // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    return torch.stack((x, y, z), dim=-1)


def blobs(box: int, points: Tensor, sigma: float = 1.2) -> Tensor:
    """(D, D, D) sum of Gaussians at (A, 3) points."""
    grid = grid_points(box)
    return torch.stack(
        [
            torch.exp(-(grid - point).square().sum(-1) / (2 * sigma**2))
            for point in points
        ]
    ).sum(0)


def asymmetric_points(box: int, seed: int, count: int = 20) -> Tensor:
    """(A, 3) points of a lopsided particle of radius 0.3 box."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(count, 3, generator=generator)
    points = points * torch.tensor([1.0, 0.7, 0.5])
    return points * (0.3 * box / points.norm(dim=1).max())


def hinge(box: int, angles_deg: list[float]) -> Tensor:
    """(N, D, D, D) body with an arm that turns about z by the angles."""
    generator = torch.Generator().manual_seed(3)
    along = torch.linspace(1, 9, 20)[:, None]
    arm = torch.cat((along, 2 * torch.randn(20, 2, generator=generator)), dim=1)
    body = torch.cat((-along, 2 * torch.randn(20, 2, generator=generator)), dim=1)
    turned = [torch.cat((body, arm @ about_z(angle).T)) for angle in angles_deg]
    return torch.stack([blobs(box, points * (box / 32)) for points in turned])


def about_z(angle_deg: float) -> Tensor:
    """(3, 3) right-handed rotation about z."""
    c, s = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return torch.tensor([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def scrambled(volumes: Tensor, seed: int) -> Tensor:
    """(N, D, D, D) volumes in random frames, every second one mirrored."""
    handed = volumes.clone()
    handed[1::2] = mirror(volumes[1::2])
    rotation = random_rotations((len(volumes),), stream(seed, "pose"))
    return move(handed, rotation, torch.zeros(len(volumes), 3))
