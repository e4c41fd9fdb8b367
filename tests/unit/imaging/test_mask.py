"""Masks on other grids and in all symmetric poses."""

import pytest
import torch
from torch import Tensor

from multicryogan.imaging import resampled_mask, symmetric_mask, symmetrise

PLACE = (4.0, -6.0, 2.0)  # Å, (x, y, z)


def positions(box: int, voxel_size: float) -> Tensor:
    """(D, D, D, 3) places of the voxels, (x, y, z) in Å."""
    axis = voxel_size * (torch.arange(box) - box // 2)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    return torch.stack((x, y, z), dim=-1)


def ball(box: int, voxel_size: float, radius: float = 9.0) -> Tensor:
    """(D, D, D) ball about a place, its edge as wide as a voxel."""
    away = (positions(box, voxel_size) - torch.tensor(PLACE)).norm(dim=-1)
    return (0.5 + (radius - away) / voxel_size).clamp(0, 1)


@pytest.mark.parametrize("box", [16, 17])
def test_a_mask_on_its_own_grid_stays(box: int) -> None:
    mask = ball(box, 3.0)
    torch.testing.assert_close(resampled_mask(mask, box), mask)


@pytest.mark.parametrize("old", [(40, 1.2), (41, 1.2), (16, 3.0), (12, 4.0)])
@pytest.mark.parametrize("new", [(16, 3.0), (17, 3.0), (25, 1.5), (24, 2.0)])
def test_a_mask_keeps_its_place_and_its_size(
    old: tuple[int, float], new: tuple[int, float]
) -> None:
    mask = ball(*old)
    ratio = old[0] * old[1] / (new[0] * new[1])
    found = resampled_mask(mask, new[0], ratio)
    assert found.shape == (new[0],) * 3
    where = (found[..., None] * positions(*new)).sum((0, 1, 2)) / found.sum()
    torch.testing.assert_close(where, torch.tensor(PLACE), atol=0.15, rtol=0)
    size, expected = float(found.sum()) * new[1] ** 3, float(mask.sum()) * old[1] ** 3
    assert size == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("new", [7, 16, 41])
def test_values_stay_between_0_and_1(new: int) -> None:
    hard = (ball(24, 2.0) > 0.5).float()
    found = resampled_mask(hard, new)
    assert float(found.min()) == 0
    assert float(found.max()) <= 1 + 1e-6
    # Of the same field of view, all are 1 where the mask is.
    middle = resampled_mask(torch.ones(24, 24, 24), new)[(new // 2,) * 3]
    assert float(middle) == pytest.approx(1, abs=1e-5)


def test_beyond_the_mask_there_is_none() -> None:
    found = resampled_mask(torch.ones(8, 8, 8), 32, 0.5)
    away = positions(32, 1.0).abs().amax(-1)
    assert (found[away > 10] == 0).all()
    torch.testing.assert_close(found[away < 6], torch.ones(11**3))


@pytest.mark.parametrize("group", ["C2", "C3", "D2", "O"])
@pytest.mark.parametrize("box", [24, 25])
def test_all_poses_are_covered(group: str, box: int) -> None:
    mask = ball(box, 2.0, 6.0)
    found = symmetric_mask(mask, group)
    assert float(found.max()) <= 1 + 1e-6
    assert (found >= mask - 1e-6).all()
    # Where the mean over the group has something, one of the poses has it.
    mean = symmetrise(mask, group)
    assert (found[mean > 0.5 * float(mean.max())] > 0.3).all()
    assert (mean[found > 0.9] > 0).all()


def test_a_pose_on_the_grid_is_exact() -> None:
    mask = ball(17, 2.0)
    turned = torch.maximum(mask, mask.flip(1, 2))  # about z
    torch.testing.assert_close(symmetric_mask(mask, "C2"), turned)


def test_without_symmetry_a_mask_stays() -> None:
    mask = ball(16, 2.0)
    assert torch.equal(symmetric_mask(mask, "C1"), mask)
