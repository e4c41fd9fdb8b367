"""Euler angles, uniform draws, the even grid and distances."""

import math

import pytest
import torch
from torch import Tensor

from multicryogan.rng import stream
from multicryogan.rotations import (
    euler_to_matrix,
    geodesic_distance_deg,
    matrix_to_euler,
    random_rotations,
    super_fibonacci,
)


def degrees(*values: float) -> tuple[Tensor, ...]:
    return tuple(torch.tensor(value, dtype=torch.float64) for value in values)


def is_rotation(matrix: Tensor) -> bool:
    identity = torch.eye(3, dtype=matrix.dtype).expand_as(matrix)
    is_orthogonal = torch.allclose(matrix @ matrix.mT, identity, atol=1e-5)
    return is_orthogonal and bool((torch.linalg.det(matrix) > 0).all())


def test_rot_turns_the_image_axes_backwards() -> None:
    # rot = 90: the volume's +y lies along the image's +x.
    turned = euler_to_matrix(*degrees(90, 0, 0)) @ torch.tensor([0.0, 1, 0]).double()
    torch.testing.assert_close(turned, torch.tensor([1.0, 0, 0]).double())


def test_tilt_and_rot_give_the_viewing_direction() -> None:
    view = euler_to_matrix(*degrees(30, 60, 77))[2]
    expected = torch.tensor(
        [
            math.cos(math.pi / 6) * math.sin(math.pi / 3),
            math.sin(math.pi / 6) * math.sin(math.pi / 3),
            math.cos(math.pi / 3),
        ]
    ).double()
    torch.testing.assert_close(view, expected, atol=1e-7, rtol=0)


def test_psi_is_applied_last() -> None:
    without, with_psi = (euler_to_matrix(*degrees(30, 60, p)) for p in (0, 25))
    only_psi = euler_to_matrix(*degrees(0, 0, 25))
    torch.testing.assert_close(with_psi, only_psi @ without)


def test_angles_come_back_from_the_matrix() -> None:
    angles = torch.tensor(
        [[10.0, 20, 30], [-170, 90, 45], [100, 179, -120], [0, 1, 0]]
    ).double()
    read = torch.stack(matrix_to_euler(euler_to_matrix(*angles.unbind(-1))), dim=-1)
    torch.testing.assert_close(read, angles)


@pytest.mark.parametrize("tilt", [0.0, 180.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_at_the_poles_angles_describe_the_same_rotation(
    tilt: float, dtype: torch.dtype
) -> None:
    matrix = euler_to_matrix(*(a.to(dtype) for a in degrees(40, tilt, 65)))
    again = euler_to_matrix(*matrix_to_euler(matrix))
    torch.testing.assert_close(again, matrix, atol=1e-5, rtol=0)


def test_random_rotations_are_rotations() -> None:
    rotation = random_rotations((4, 5), stream(0, "pose"))
    assert rotation.shape == (4, 5, 3, 3)
    assert is_rotation(rotation)


def test_random_rotations_repeat_with_the_stream() -> None:
    a, b = (random_rotations((7,), stream(0, "pose")) for _ in range(2))
    assert torch.equal(a, b)


def test_random_rotations_have_the_angles_of_the_uniform_law() -> None:
    rotation = random_rotations((20_000,), stream(0, "pose"))
    angle = geodesic_distance_deg(rotation, torch.eye(3))
    # Density (1 - cos a) / pi on 0 .. pi: mean pi / 2 + 2 / pi.
    expected = math.degrees(math.pi / 2 + 2 / math.pi)
    assert angle.mean().item() == pytest.approx(expected, abs=0.8)


def test_random_rotations_have_no_preferred_direction() -> None:
    rotation = random_rotations((20_000,), stream(0, "pose"))
    assert rotation.mean(0).abs().max() < 0.02


def test_the_even_grid_is_made_of_rotations() -> None:
    grid = super_fibonacci(500)
    assert grid.shape == (500, 3, 3)
    assert is_rotation(grid)


def test_the_even_grid_leaves_no_gap() -> None:
    probes = random_rotations((300,), stream(0, "probe"))
    distance = geodesic_distance_deg(probes[:, None], super_fibonacci(2000))
    # 2000 balls of equal volume that filled SO(3) would have a radius of 12 degrees.
    assert distance.amin(1).max() < 20


def test_the_even_grid_has_no_near_duplicates() -> None:
    grid = super_fibonacci(500)
    distance = geodesic_distance_deg(grid[:, None], grid) + 360 * torch.eye(500)
    assert distance.min() > 10


@pytest.mark.parametrize("angle", [1e-4, 1.0, 90.0, 179.9])
def test_distance_is_the_angle_between_rotations(angle: float) -> None:
    first = euler_to_matrix(*degrees(20, 30, 40))
    second = euler_to_matrix(*degrees(20, 30, 40 + angle))
    distance = geodesic_distance_deg(first, second)
    assert distance.item() == pytest.approx(angle, rel=1e-6)


def test_distance_broadcasts() -> None:
    rotation = random_rotations((4, 3), stream(0, "pose"))
    assert geodesic_distance_deg(rotation, torch.eye(3)).shape == (4, 3)
