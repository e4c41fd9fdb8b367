"""The electron wavelength."""

import pytest
import torch

from multicryogan.units import electron_wavelength_angstrom


@pytest.mark.parametrize(
    ("voltage_kv", "expected"), [(300.0, 0.01968762), (200.0, 0.02507937)]
)
def test_wavelength_has_the_textbook_value(voltage_kv: float, expected: float) -> None:
    voltage = torch.tensor(voltage_kv, dtype=torch.float64)
    wavelength = electron_wavelength_angstrom(voltage)
    assert wavelength.item() == pytest.approx(expected, rel=1e-5)


def test_wavelength_keeps_the_batch_shape() -> None:
    assert electron_wavelength_angstrom(torch.full((3, 2), 300.0)).shape == (3, 2)
