"""The CTF and the wavelength against torch-ctf and the physical constants."""

import pytest
import torch
from scipy import constants

from multicryogan.fourier import frequency_grid
from multicryogan.imaging import CTFParams, ctf
from multicryogan.units import electron_wavelength_angstrom

torch_ctf = pytest.importorskip("torch_ctf", minversion="0.6.0")


@pytest.mark.parametrize("voltage_kv", [80.0, 200.0, 300.0])
def test_wavelength_agrees_with_special_relativity(voltage_kv: float) -> None:
    energy = voltage_kv * 1e3 * constants.e
    rest = constants.m_e * constants.c**2
    momentum = (energy * (energy + 2 * rest)) ** 0.5 / constants.c
    ours = electron_wavelength_angstrom(torch.tensor(voltage_kv, dtype=torch.float64))
    assert ours.item() == pytest.approx(1e10 * constants.h / momentum, rel=2e-5)


@pytest.mark.parametrize("phase_shift_deg", [0.0, 60.0])
@pytest.mark.parametrize("astigmatism_angle_deg", [0.0, 30.0, -75.0])
@pytest.mark.parametrize("box", [32, 33])
def test_ctf_agrees_with_torch_ctf(
    box: int, astigmatism_angle_deg: float, phase_shift_deg: float
) -> None:
    reference = torch_ctf.calculate_ctf_2d(
        defocus=torch.tensor(1.35),  # micrometres, mean of U and V
        astigmatism=torch.tensor(0.15),  # micrometres, half of U - V
        astigmatism_angle=torch.tensor(astigmatism_angle_deg),
        voltage=torch.tensor(300.0),
        spherical_aberration=torch.tensor(2.7),
        amplitude_contrast=torch.tensor(0.1),
        phase_shift=torch.tensor(phase_shift_deg),
        pixel_size=torch.tensor(1.5),
        image_shape=(box, box),
        rfft=True,
        fftshift=False,
    )
    values = (15_000, 12_000, astigmatism_angle_deg, phase_shift_deg, 300, 2.7, 0.1)
    optics = CTFParams(*(torch.tensor(float(v), dtype=torch.float64) for v in values))
    freqs = frequency_grid(box, 1.5, like=torch.zeros(1, dtype=torch.float64))
    torch.testing.assert_close(
        ctf(optics, freqs).float(), reference.float(), atol=2e-3, rtol=0
    )
