"""Euler angles and distances against scipy."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from multicryogan.rotations import (
    euler_to_matrix,
    geodesic_distance_deg,
    matrix_to_euler,
)


@pytest.fixture
def angles_deg() -> np.ndarray:
    """(500, 3) rot, tilt, psi over their whole range."""
    return np.random.default_rng(0).uniform((-180, 0, -180), (180, 180, 180), (500, 3))


def scipy_matrix(angles_deg: np.ndarray) -> torch.Tensor:
    rotation = Rotation.from_euler("ZYZ", angles_deg, degrees=True).inv()
    return torch.from_numpy(rotation.as_matrix())


def test_matrix_is_the_inverse_of_scipys_zyz(angles_deg: np.ndarray) -> None:
    ours = euler_to_matrix(*torch.from_numpy(angles_deg).unbind(1))
    torch.testing.assert_close(ours, scipy_matrix(angles_deg))


def test_angles_of_scipys_matrices_come_back(angles_deg: np.ndarray) -> None:
    ours = torch.stack(matrix_to_euler(scipy_matrix(angles_deg)), dim=1)
    torch.testing.assert_close(ours, torch.from_numpy(angles_deg))


def test_distance_is_scipys_magnitude(angles_deg: np.ndarray) -> None:
    first = Rotation.from_euler("ZYZ", angles_deg[:250], degrees=True)
    second = Rotation.from_euler("ZYZ", angles_deg[250:], degrees=True)
    expected = np.rad2deg((first.inv() * second).magnitude())
    ours = geodesic_distance_deg(
        torch.from_numpy(first.as_matrix()), torch.from_numpy(second.as_matrix())
    )
    torch.testing.assert_close(ours, torch.from_numpy(expected))
