"""Power spectra of the particles."""

from pathlib import Path

import numpy as np
import pytest
import torch

from multicryogan.data.preprocess import Preprocessing, standardise
from multicryogan.data.spectra import Spectra, smooth, survey
from multicryogan.errors import InputError
from multicryogan.imaging import masked_radial_power, sample_noise
from multicryogan.io import ParticleStack, read_particles, write_stack
from multicryogan.rng import stream
from training_data import tiny_stack

BOX = 32
ALL = np.zeros(600, np.int64)  # in one group
PREPROCESSING = Preprocessing(BOX, 1, 14.0, 2.0)


def one_group(rim: torch.Tensor, raw: torch.Tensor) -> Spectra:
    return Spectra(rim[None], raw[None], torch.ones(1))


def coloured_power(box: int = BOX) -> torch.Tensor:
    return 2 * torch.exp(-1.5 * torch.linspace(0, 1, box // 2 + 1))


@pytest.fixture(scope="module")
def noise_stack(tmp_path_factory: pytest.TempPathFactory) -> ParticleStack:
    images = sample_noise((600, BOX, BOX), coloured_power(), stream(0, "noise"))
    path = tmp_path_factory.mktemp("noise") / "noise.mrcs"
    write_stack(path, 5 + images, 4.0)
    return read_particles(path)


@pytest.mark.parametrize("box", [16, 17, 64])
def test_smoothing_is_exact_for_a_log_cubic_spectrum(box: int) -> None:
    x = torch.linspace(0, 1, box // 2 + 1, dtype=torch.float64)
    power = torch.exp(0.3 - 2 * x + 1.5 * x**2 - 0.7 * x**3)
    torch.testing.assert_close(smooth(power), power, rtol=1e-6, atol=0)


def test_smoothing_does_not_look_at_the_first_and_last_shell() -> None:
    power = coloured_power().double()
    spoiled = power.clone()
    spoiled[0], spoiled[-1] = 0.0, 1e9
    torch.testing.assert_close(smooth(spoiled), power, rtol=1e-6, atol=0)


def test_smoothing_keeps_the_type_of_its_input() -> None:
    assert smooth(coloured_power()).dtype == torch.float32


def test_smoothing_an_empty_shell_stays_finite() -> None:
    power = coloured_power()
    power[5] = 0.0
    assert smooth(power).isfinite().all()


def test_the_rim_of_pure_noise_has_the_power_of_the_noise(
    noise_stack: ParticleStack,
) -> None:
    spectra = survey(noise_stack, ALL, PREPROCESSING, 0, "cpu")
    torch.testing.assert_close(
        spectra.rim[0, 2:-1], coloured_power()[2:-1], rtol=0.15, atol=0
    )


def test_whole_images_of_pure_noise_have_the_same_power(
    noise_stack: ParticleStack,
) -> None:
    spectra = survey(noise_stack, ALL, PREPROCESSING, 0, "cpu")
    torch.testing.assert_close(
        spectra.raw[0, 2:-1], coloured_power()[2:-1], rtol=0.1, atol=0
    )


def test_white_noise_is_one_number_for_all_shells(noise_stack: ParticleStack) -> None:
    spectra = survey(noise_stack, ALL, PREPROCESSING, 0, "cpu", is_white=True)
    assert len(spectra.rim.unique()) == 1


def test_pure_noise_has_no_signal(noise_stack: ParticleStack) -> None:
    assert survey(noise_stack, ALL, PREPROCESSING, 0, "cpu").snr() < 0.05


@pytest.mark.parametrize("value", [0.0, -3.5])
def test_masked_images_have_no_noise_to_measure(
    tmp_path: Path, noise_stack: ParticleStack, value: float
) -> None:
    images, offset = noise_stack.images(slice(0, 80)), np.arange(BOX) - BOX // 2
    images[:, np.hypot(offset[:, None], offset) > BOX / 2] = value
    write_stack(tmp_path / "masked.mrcs", images, 4.0)
    masked = read_particles(tmp_path / "masked.mrcs")
    with pytest.raises(InputError, match=r"64 of 64 images are masked .*again without"):
        survey(masked, ALL[:80], PREPROCESSING, 0, "cpu")


def test_snr_is_signal_over_noise_variance() -> None:
    rim, raw = torch.full((17,), 2.0), torch.full((17,), 3.0)
    assert one_group(rim, raw).snr() == pytest.approx(0.5)


def test_standardised_white_noise_has_a_pixel_variance_of_one_below_nyquist() -> None:
    """Modes with |k| < D / 2 carry all the variance of a pixel."""
    k = torch.fft.fftfreq(BOX, 1 / BOX)
    passed = int((k[:, None].square() + k.square() < BOX**2 / 4).sum())
    white = torch.full((BOX // 2 + 1,), 7.0)
    expected = torch.full_like(white, BOX**2 / passed)
    torch.testing.assert_close(one_group(white, white).standard_noise(), expected)


@pytest.mark.parametrize("rim", [torch.full((BOX // 2 + 1,), 4.0), coloured_power()])
def test_standardised_noise_has_the_power_that_is_said(rim: torch.Tensor) -> None:
    noise = 5 + sample_noise((2000, BOX, BOX), rim, stream(0, "noise"))
    axis = torch.arange(BOX) - BOX // 2
    untouched = (axis[:, None].square() + axis.square()).sqrt() < 14  # by the window
    images = standardise(noise, PREPROCESSING)
    measured = masked_radial_power(images, untouched.float())
    # Every image's mean is removed, and the low-pass softens the last shells.
    ratio = (measured / one_group(rim, rim).standard_noise())[2:-2]
    assert ratio.mean().item() == pytest.approx(1, abs=0.02)
    assert (ratio - 1).abs().max() < 0.05


def test_shell_snr_is_signal_over_noise_in_each_shell() -> None:
    rim, raw = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 5.0, 3.0])
    expected = torch.tensor([0.0, 1.5, -0.25])
    torch.testing.assert_close(one_group(rim, raw).shell_snr(), expected)


def test_shells_of_low_resolution_hold_the_signal(tmp_path: Path) -> None:
    stack = tiny_stack(tmp_path)
    group = stack.optics_group
    snr = survey(stack, group, PREPROCESSING, 0, "cpu").shell_snr()
    assert snr[2:5].mean() > 0.3
    assert snr[13:15].abs().max() < 0.1


def test_a_survey_repeats(noise_stack: ParticleStack) -> None:
    first, again = (survey(noise_stack, ALL, PREPROCESSING, 1, "cpu") for _ in range(2))
    assert torch.equal(first.raw, again.raw)
