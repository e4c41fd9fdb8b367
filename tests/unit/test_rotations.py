"""Euler angles, uniform draws, the even grid and distances."""

import math

import pytest
import torch
from torch import Tensor

from multicryogan.errors import InputError
from multicryogan.rng import stream
from multicryogan.rotations import (
    euler_to_matrix,
    geodesic_distance_deg,
    matrix_to_euler,
    point_group,
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


# Point groups


GROUPS = ["C1", "C2", "C3", "C7", "D1", "D2", "D5", "T", "O", "I"]


def fold_of(name: str, axis: tuple[float, float, float]) -> int:
    """How many rotations of a group leave an axis in its place."""
    direction = torch.tensor(axis, dtype=torch.float64)
    moved = point_group(name) @ direction
    return int(((moved - direction).norm(dim=1) < 1e-6).sum())


@pytest.mark.parametrize(
    ("name", "order"),
    [("C1", 1), ("C7", 7), ("D1", 2), ("D5", 10), ("T", 12), ("O", 24), ("I", 60)],
)
def test_point_groups_have_their_order(name: str, order: int) -> None:
    assert point_group(name).shape == (order, 3, 3)


@pytest.mark.parametrize("name", GROUPS)
def test_point_groups_hold_their_products_and_inverses(name: str) -> None:
    group = point_group(name)
    assert is_rotation(group)
    assert torch.equal(group[0], torch.eye(3).double())
    products = (group[:, None] @ group).flatten(0, 1)
    for found in (products, group.mT):
        distance = (found[:, None] - group).abs().amax((2, 3))
        assert distance.amin(1).max() < 1e-12
    apart = (group[:, None] - group).abs().amax((2, 3)) + torch.eye(len(group))
    assert apart.min() > 0.1


X, Y, Z, DIAGONAL = (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)


@pytest.mark.parametrize(
    ("name", "axis", "fold"),
    [
        ("C7", Z, 7),
        ("D3", Z, 3),
        ("D3", X, 2),
        ("D3", Y, 1),
        ("D4", Z, 4),
        ("D4", X, 2),
        ("T", Z, 3),
        ("T", (0.0, 0.816496581, 0.577350269), 2),
        ("T", (0.0, -0.816496581, 0.577350269), 1),
        ("O", X, 4),
        ("O", Y, 4),
        ("O", Z, 4),
        ("O", DIAGONAL, 3),
        ("I", X, 2),
        ("I", Y, 2),
        ("I", Z, 2),
        ("I", (0.525731112, 0.0, 0.850650808), 5),
        ("I", (0.850650808, 0.0, 0.525731112), 1),
        ("I", (0.0, 0.356822090, 0.934172359), 3),
    ],
)
def test_point_groups_have_the_axes_of_relion(
    name: str, axis: tuple[float, float, float], fold: int
) -> None:
    assert fold_of(name, axis) == fold


@pytest.mark.parametrize(
    "name", ["", "c3", "C0", "C", "D", "I1", "T2", "C3 ", "P4", "D100"]
)
def test_an_unknown_point_group_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(InputError, match="C1 to C99, D1 to D99, T, O, or I"):
        point_group(name)
