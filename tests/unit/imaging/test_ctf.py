"""Facts about the CTF, one per test."""

import math

import pytest
import torch
from torch import Tensor

from multicryogan.fourier import frequency_grid
from multicryogan.imaging import CTFParams, ctf
from multicryogan.imaging.ctf import ring_ctf
from multicryogan.units import electron_wavelength_angstrom

FLOAT = torch.float64


def make_optics(**overrides: float) -> CTFParams:
    values = {
        "defocus_u_angstrom": 15_000.0,
        "defocus_v_angstrom": 12_000.0,
        "defocus_angle_deg": 30.0,
        "phase_shift_deg": 0.0,
        "voltage_kv": 300.0,
        "cs_mm": 2.7,
        "amplitude_contrast": 0.1,
    }
    merged = values | overrides
    return CTFParams(**{k: torch.tensor([v], dtype=FLOAT) for k, v in merged.items()})


def along(azimuth_deg: float) -> Tensor:
    """(1, 50, 2) frequencies (ky, kx) on a ray, up to 0.3 1/Å."""
    k = torch.linspace(0, 0.3, 50, dtype=FLOAT)
    azimuth = math.radians(azimuth_deg)
    return torch.stack((k * math.sin(azimuth), k * math.cos(azimuth)), dim=-1)[None]


def test_ctf_is_plus_w_at_zero_frequency() -> None:
    assert ctf(make_optics(), along(0))[0, 0, 0].item() == pytest.approx(0.1)


def test_first_rise_of_an_underfocused_image_is_positive() -> None:
    assert ctf(make_optics(), along(0))[0, 0, 2] > 0.1


def test_ctf_is_the_sine_of_the_phase() -> None:
    optics = make_optics(defocus_v_angstrom=15_000.0)
    wavelength = electron_wavelength_angstrom(torch.tensor(300.0, dtype=FLOAT))
    s = along(0)[..., 1]
    gamma = (
        -math.pi * wavelength * 15_000 * s**2
        + math.pi / 2 * 2.7e7 * wavelength**3 * s**4
        - math.asin(0.1)
    )
    torch.testing.assert_close(ctf(optics, along(0))[0], -gamma.sin())


def test_defocus_u_lies_along_the_defocus_angle() -> None:
    only_u = make_optics(defocus_v_angstrom=15_000.0)
    torch.testing.assert_close(ctf(make_optics(), along(30)), ctf(only_u, along(30)))


def test_defocus_v_lies_across_the_defocus_angle() -> None:
    only_v = make_optics(defocus_u_angstrom=12_000.0)
    torch.testing.assert_close(ctf(make_optics(), along(120)), ctf(only_v, along(120)))


def test_exchanging_u_and_v_turns_the_astigmatism_by_90_degrees() -> None:
    exchanged = make_optics(
        defocus_u_angstrom=12_000.0,
        defocus_v_angstrom=15_000.0,
        defocus_angle_deg=120.0,
    )
    freqs = frequency_grid(16, 2.0, like=torch.zeros(1, dtype=FLOAT))
    torch.testing.assert_close(ctf(exchanged, freqs), ctf(make_optics(), freqs))


def test_phase_plate_of_90_degrees_gives_a_cosine() -> None:
    plate = make_optics(phase_shift_deg=90.0, amplitude_contrast=0.0)
    assert ctf(plate, along(0))[0, 0, 0].item() == pytest.approx(1.0)


def test_bfactor_is_a_gaussian_envelope() -> None:
    ratio = ctf(make_optics(bfactor_angstrom2=80.0), along(0)) / ctf(
        make_optics(), along(0)
    )
    torch.testing.assert_close(ratio[0, 0], torch.exp(-20 * along(0)[0, :, 1] ** 2))


def test_scale_multiplies() -> None:
    scaled = ctf(make_optics(scale=0.7), along(0))
    torch.testing.assert_close(scaled, 0.7 * ctf(make_optics(), along(0)))


def test_batch_shape_comes_first() -> None:
    optics = make_optics().select(torch.zeros(6, dtype=torch.int64)).reshape(2, 3)
    assert ctf(optics, torch.zeros(5, 4, 2, dtype=FLOAT)).shape == (2, 3, 5, 4)


def test_gradient_reaches_the_defocus() -> None:
    optics = make_optics()
    optics.defocus_u_angstrom.requires_grad_()
    freqs = frequency_grid(8, 1.5, like=torch.zeros(1, dtype=FLOAT))
    ctf(optics, freqs).sum().backward()
    gradient = optics.defocus_u_angstrom.grad
    assert gradient is not None
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("box", [32, 33])
def test_rings_are_whole_fourier_pixels_of_the_image(box: int) -> None:
    optics = make_optics(defocus_v_angstrom=15_000.0)
    freqs = frequency_grid(box, 2.0, like=torch.zeros(1, dtype=FLOAT))
    along_x = ctf(optics, freqs)[:, 0, 1:]
    torch.testing.assert_close(ring_ctf(optics, box // 2, box * 2.0), along_x)


def test_rings_are_at_the_mean_defocus() -> None:
    mean = make_optics(defocus_u_angstrom=13_500.0, defocus_v_angstrom=13_500.0)
    torch.testing.assert_close(
        ring_ctf(make_optics(), 16, 64.0), ring_ctf(mean, 16, 64.0)
    )


def test_rings_keep_bfactor_and_scale() -> None:
    ring = torch.arange(1, 17, dtype=FLOAT) / 64
    ratio = ring_ctf(make_optics(bfactor_angstrom2=80.0, scale=0.7), 16, 64.0)
    ratio = ratio / ring_ctf(make_optics(), 16, 64.0)
    torch.testing.assert_close(ratio[0], 0.7 * torch.exp(-20 * ring**2))


@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_rings_come_after_the_batch(shape: tuple[int, ...]) -> None:
    optics = make_optics().select(torch.zeros(math.prod(shape), dtype=torch.int64))
    assert ring_ctf(optics.reshape(*shape), 5, 64.0).shape == (*shape, 5)
