"""Two maps whatever their frame, hand, sign, scale and grid."""

import math

import pytest
import torch
from torch import Tensor

from evaluation_phantoms import asymmetric_points, blobs, hinge, scrambled
from multicryogan.errors import InputError
from multicryogan.evaluation import (
    Comparison,
    compare_maps,
    fsc,
    fsc_area,
    match_sets,
    on_one_grid,
)
from multicryogan.evaluation.rigid import mirror, move
from multicryogan.rng import stream
from multicryogan.rotations import random_rotations

BOX, VOXEL_SIZE = 32, 5.0
MAP = blobs(BOX, asymmetric_points(BOX, 0), sigma=1.5)


def moved(volume: Tensor, seed: int = 0) -> Tensor:
    """Turn a volume at random and shift it by two voxels."""
    rotation = random_rotations((1,), stream(seed, "pose"))
    return move(volume[None], rotation, torch.tensor([[2.0, -1.0, 0.5]]))[0]


def compared(second: Tensor, first: Tensor = MAP) -> Comparison:
    return compare_maps(first, second, VOXEL_SIZE)


@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize("scale", [0.2, -3.0])
def test_a_moved_scaled_map_is_the_same(is_mirrored: bool, scale: float) -> None:
    other = mirror(MAP[None])[0] if is_mirrored else MAP
    found = compared(scale * moved(other) + 0.7)
    assert found.alignment.is_mirrored == is_mirrored
    assert found.is_inverted == (scale < 0)
    assert found.scale == pytest.approx(1 / scale, rel=0.02)
    assert found.correlation > 0.995
    assert float(found.curves.unmasked[:14].min()) > 0.99  # beyond there is nothing
    torch.testing.assert_close(found.moved, MAP, atol=0.06, rtol=0)


def test_dark_density_on_bright_is_compared_as_well() -> None:
    found = compared(moved(MAP), 5 - MAP)
    assert found.is_inverted
    assert found.scale == pytest.approx(-1, rel=0.02)
    assert found.correlation > 0.995
    assert 0.02 < found.mask.mean() < 0.6


def test_angle_and_way_of_the_motion_are_told() -> None:
    turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    other = move(MAP[None], turn[None], torch.tensor([[0.0, 0.0, 3.0]]))[0]
    found = compared(other)
    assert found.rotation_deg == pytest.approx(90, abs=0.5)
    assert found.shift_angstrom == pytest.approx(3 * VOXEL_SIZE, abs=0.5)


def test_maps_agree_as_far_as_noise_lets_them() -> None:
    """Two low-passed maps with white noise: FSC = S / (S + N) in the shell."""
    draws = [stream(seed, "noise") for seed in (0, 1)]
    noisy = [MAP + 0.05 * torch.randn(MAP.shape, generator=d) for d in draws]
    found = compared(moved(noisy[1]), noisy[0])
    expected = fsc(*noisy)
    half = next(s for s in range(1, 17) if expected[s] < 0.5)
    assert found.resolution_angstrom(0.5) == pytest.approx(
        BOX * VOXEL_SIZE / half, rel=0.2
    )


def test_other_molecules_are_told_apart() -> None:
    other = blobs(BOX, asymmetric_points(BOX, 5), sigma=1.5)
    found = compared(moved(other))
    assert found.correlation < 0.9
    assert found.resolution_angstrom(0.5) > 20


@pytest.mark.parametrize(("box", "size"), [(48, 5.0), (40, 4.0), (24, 5.0), (33, 4.8)])
def test_other_boxes_and_voxels_come_to_one_grid(box: int, size: float) -> None:
    points = asymmetric_points(BOX, 0) * 0.7
    first = blobs(BOX, points, sigma=2.0)
    second = blobs(box, points * (VOXEL_SIZE / size), sigma=2.0 * VOXEL_SIZE / size)
    one, other, voxel_size = on_one_grid(first[None], second[None], (VOXEL_SIZE, size))
    assert voxel_size == VOXEL_SIZE
    assert one.shape == other.shape
    assert one.shape[-1] * voxel_size >= max(BOX * VOXEL_SIZE, box * size) - 2 * size
    curve = fsc(one[0], other[0])
    assert float(curve[1 : one.shape[-1] // 3].min()) > 0.99
    # Densities are kept: a Gaussian's peak is the same on any grid.
    assert float(other.max() / one.max()) == pytest.approx(1, rel=0.05)


def test_maps_of_one_grid_stay() -> None:
    odd = torch.rand(1, 33, 33, 33)
    one, other, _ = on_one_grid(odd, odd, (3.0, 3.0))
    assert one is odd
    assert other is odd


def test_voxel_sizes_that_cannot_be_are_refused() -> None:
    cube = torch.zeros(1, 16, 16, 16)
    with pytest.raises(InputError, match="check the voxel sizes"):
        on_one_grid(cube, cube, (1.0, 10.0))


def test_each_map_of_a_set_finds_its_own() -> None:
    states = hinge(24, [0.0, 20.0, 40.0])
    order = [2, 0, 1]
    told: list[tuple[int, int]] = []
    found = match_sets(
        states,
        scrambled(states[order], seed=1),
        lambda done, total: told.append((done, total)),
    )
    assert told == [(done, 6) for done in range(7)]  # searches, then states
    assert [order[match.number] for match in found] == [0, 1, 2]
    assert all(match.fsc_area > 0.9 for match in found)
    assert all(math.isfinite(match.fsc_area) for match in found)
    for match, state in zip(found, states, strict=True):
        assert float(fsc_area(fsc(match.moved, state))) == match.fsc_area
