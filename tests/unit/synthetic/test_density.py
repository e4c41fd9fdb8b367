"""Densities of atoms against a direct sum of Gaussians."""

import math

import numpy as np
import pytest
import torch

from multicryogan.synthetic.density import (
    atom_density,
    blur_b_angstrom2,
    blur_sigma_angstrom,
)

ELEMENTS = np.array(["C", "N", "O", "S"])
POSITIONS = np.array(
    [[3.0, -4.0, 1.7], [-20.2, 10.1, 5.5], [0.0, 0.0, 0.0], [11.0, 12.0, -21.0]]
)


def direct_sum(
    positions: np.ndarray, box: int, voxel_size: float, resolution: float
) -> np.ndarray:
    """Sum a_i (4π/(b_i+B))^1.5 exp(-4π² r²/(b_i+B)) on voxels, axes (z, y, x)."""
    import gemmi

    axis = (np.arange(box) - box // 2) * voxel_size
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    total = np.zeros((box, box, box))
    for element, (px, py, pz) in zip(ELEMENTS, positions, strict=False):
        r2 = (x - px) ** 2 + (y - py) ** 2 + (z - pz) ** 2
        coefficients = gemmi.Element(element).c4322.get_coefs()
        for a, b in zip(coefficients[:5], coefficients[5:], strict=True):
            width = b + blur_b_angstrom2(resolution)
            peak = a * (4 * math.pi / width) ** 1.5
            total += peak * np.exp(-4 * math.pi**2 * r2 / width)
    return total


@pytest.mark.parametrize("box", [24, 25])
def test_density_is_the_sum_of_gaussians(box: int) -> None:
    density = atom_density(ELEMENTS, POSITIONS, box, 3.0, 8.0)
    expected = direct_sum(POSITIONS, box, 3.0, 8.0)
    np.testing.assert_allclose(density.numpy(), expected, atol=2e-3 * expected.max())


def test_axes_are_z_y_x_with_the_centre_on_voxel_half_box() -> None:
    density = atom_density(ELEMENTS[:1], np.array([[6.0, -3.0, 9.0]]), 16, 3.0, 8.0)
    peak = np.unravel_index(int(density.argmax()), density.shape)
    assert peak == (8 + 3, 8 - 1, 8 + 2)


def test_integral_is_the_scattering_at_zero_angle() -> None:
    import gemmi

    density = atom_density(ELEMENTS[:1], POSITIONS[:1], 32, 2.5, 10.0)
    scattering = sum(gemmi.Element("C").c4322.get_coefs()[:5])
    assert density.sum().item() * 2.5**3 == pytest.approx(scattering, rel=2e-3)


def test_blur_falls_to_one_over_e_at_the_resolution() -> None:
    s = 1 / 7.5
    assert math.exp(-blur_b_angstrom2(7.5) * s**2 / 4) == pytest.approx(1 / math.e)


def test_blur_sigma_matches_its_b_factor() -> None:
    expected = math.sqrt(blur_b_angstrom2(7.5) / (8 * math.pi**2))
    assert blur_sigma_angstrom(7.5) == pytest.approx(expected)


def test_density_is_float32() -> None:
    assert atom_density(ELEMENTS, POSITIONS, 16, 5.0, 8.0).dtype == torch.float32
