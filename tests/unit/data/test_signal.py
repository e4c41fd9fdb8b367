"""Facts about signal over noise and the images that a map needs."""

from pathlib import Path

import pytest
import torch

from multicryogan.data.preprocess import Preprocessing
from multicryogan.data.signal import Band, Power, measure_power
from multicryogan.fourier import shell_mean
from multicryogan.imaging.projection import slice_modes
from multicryogan.imaging.slicing import Slicer
from multicryogan.io import read_particles
from multicryogan.rng import stream
from multicryogan.rotations import random_rotations
from particle_files import ball_images, write_particles

BOX = 32
PREPROCESSING = Preprocessing(BOX, 1, 0.95 * BOX / 2, 2.0)


def flat_power(snr: float) -> Power:
    """Noise of power 2 and a signal of `snr` in every shell of four blocks."""
    rim = torch.full((4, BOX // 2 + 1), 2.0)
    return Power(rim, rim * (1 + snr))


def test_a_band_tells_the_signal_over_the_noise() -> None:
    band = flat_power(0.25).band(6, 10)
    assert band.snr == pytest.approx(0.25)
    assert band.is_measured


def test_a_band_lies_at_the_mean_shell_of_its_modes() -> None:
    assert flat_power(0.1).band(3, 5).shell == pytest.approx((9 + 16 + 25) / 12)


def test_bands_lie_at_half_of_nyquist_and_before_it() -> None:
    half, last = flat_power(0.1).bands()
    assert 7.5 < half.shell < 8.5
    assert 13.5 < last.shell < 15


def test_views_pass_n_over_2k_times_through_a_voxel() -> None:
    views = 500
    slicer = Slicer(slice_modes(BOX, None, like=torch.zeros(0)))
    rotation = random_rotations((views,), stream(0, "test"))
    total = torch.zeros(BOX * BOX * (BOX // 2 + 1), 1)
    ones = torch.ones(views, len(slicer.modes.frequency), 1)
    slicer.insert_nearest(ones, rotation, total)
    counts = shell_mean(total.view(BOX, BOX, -1), BOX, 3)
    shells = torch.arange(5, 15)
    expected = views / (2 * shells)
    torch.testing.assert_close(counts[shells], expected, rtol=0.06, atol=0)


def test_the_images_needed_bring_signal_and_noise_level() -> None:
    band = Band(shell=8.0, snr=0.05, error=0.001)
    # N / 2k modes of signal-to-noise 0.05 in each voxel.
    assert band.images_needed / (2 * 8.0) * 0.05 == pytest.approx(1)


def test_where_no_signal_is_measured_the_need_is_a_lower_bound() -> None:
    band = Band(shell=8.0, snr=0.02, error=0.01)
    assert not band.is_measured
    assert band.images_needed == pytest.approx(2 * 8.0 / 0.05)
    assert band.images_needed < 2 * 8.0 / 0.02


def test_pure_noise_has_no_signal(tmp_path: Path) -> None:
    noise = torch.randn((1_000, BOX, BOX), generator=stream(0, "test")).numpy()
    stack = read_particles(write_particles(tmp_path, noise))
    power = measure_power(stack, PREPROCESSING, 1_000)
    for band in power.bands():
        assert not band.is_measured
        assert abs(band.snr) < 0.1


def test_the_signal_of_images_is_that_of_their_clean_part(tmp_path: Path) -> None:
    stack = read_particles(write_particles(tmp_path, ball_images(1_000)))
    power = measure_power(stack, PREPROCESSING, 1_000)
    offset = torch.arange(BOX) - BOX // 2
    ball = torch.exp(-(offset[:, None] ** 2 + offset**2) / (2 * (BOX / 8) ** 2))
    clean = torch.fft.rfft2(ball, norm="ortho").abs().square()
    expected = shell_mean(clean, BOX)[1:3] @ torch.tensor([1.0, 2.0]) / 3  # noise is 1
    band = power.band(1, 2)
    assert band.snr == pytest.approx(float(expected), rel=0.15)


def test_blocks_together_are_all_images(tmp_path: Path) -> None:
    stack = read_particles(write_particles(tmp_path, ball_images(64)))
    power = measure_power(stack, PREPROCESSING, 64)
    images = torch.from_numpy(stack.images(slice(None)))
    whole = torch.fft.rfft2(images, norm="ortho").abs().square().mean(0)
    assert len(power.raw) == 16
    torch.testing.assert_close(power.raw.mean(0), shell_mean(whole, BOX))
