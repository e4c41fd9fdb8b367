"""Noise: its power where it is drawn and where it is measured."""

import pytest
import torch
from torch import Tensor

from multicryogan.fourier import shell_index
from multicryogan.imaging import masked_radial_power, radial_power, sample_noise
from multicryogan.imaging.noise import unbiased_masked_power
from multicryogan.rng import stream


def falling_power(box: int) -> Tensor:
    return 1 + 4 / (1 + torch.arange(box // 2 + 1.0))


def rim(box: int) -> Tensor:
    axis = torch.arange(box) - box // 2
    return (axis[:, None] ** 2 + axis**2 >= (box // 2 - 1) ** 2).float()


@pytest.mark.parametrize("box", [32, 33])
def test_white_noise_of_variance_4_has_power_4_in_every_shell(box: int) -> None:
    white = 2 * torch.randn(2000, box, box, generator=stream(0, "noise"))
    expected = torch.full((box // 2 + 1,), 4.0)
    torch.testing.assert_close(radial_power(white), expected, rtol=0.08, atol=0)


@pytest.mark.parametrize("box", [32, 33])
def test_flat_power_gives_pixels_of_that_variance(box: int) -> None:
    power = torch.full((box // 2 + 1,), 4.0)
    noise = sample_noise((500, box, box), power, stream(0, "noise"))
    assert noise.var().item() == pytest.approx(4, rel=0.02)


@pytest.mark.parametrize("box", [32, 33])
def test_drawn_noise_has_the_power_asked_for(box: int) -> None:
    power = falling_power(box)
    noise = sample_noise((2000, box, box), power, stream(0, "noise"))
    torch.testing.assert_close(radial_power(noise), power, rtol=0.08, atol=0)


@pytest.mark.parametrize("box", [16, 17])
def test_corners_get_the_power_of_the_last_shell(box: int) -> None:
    power = torch.ones(box // 2 + 1)
    power[-1] = 9
    noise = sample_noise((3000, box, box), power, stream(0, "noise"))
    modes = torch.fft.rfft2(noise, norm="ortho").abs().square().mean(0)
    corner = modes[shell_index(box, like=noise) > box // 2]
    assert corner.mean().item() == pytest.approx(9, rel=0.05)


def test_noise_repeats_with_the_stream() -> None:
    draws = [sample_noise((2, 8, 8), torch.ones(5), stream(0, "noise")) for _ in "ab"]
    assert torch.equal(*draws)


def test_noise_takes_the_dtype_of_the_power() -> None:
    power = torch.ones(5, dtype=torch.float64)
    assert sample_noise((2, 8, 8), power, stream(0, "noise")).dtype == torch.float64


@pytest.mark.parametrize("box", [32, 33])
def test_masked_power_of_all_pixels_is_the_power(box: int) -> None:
    power = falling_power(box)
    noise = sample_noise((1000, box, box), power, stream(0, "noise"))
    measured = masked_radial_power(noise, torch.ones(box, box))
    # Shell 0 is the mean of each image, which is removed.
    torch.testing.assert_close(measured[2:], power[2:], rtol=0.1, atol=0)


@pytest.mark.parametrize("box", [32, 33])
def test_power_from_the_rim_does_not_see_the_particle(box: int) -> None:
    power = falling_power(box)
    noise = sample_noise((2500, box, box), power, stream(0, "noise"))
    particle = 100 * (1 - rim(box))
    measured = masked_radial_power(noise + particle, rim(box))
    torch.testing.assert_close(measured[3:], power[3:], rtol=0.15, atol=0)


def test_masked_power_does_not_see_the_grey_level() -> None:
    noise = torch.randn(20, 16, 16, generator=stream(0, "noise"), dtype=torch.float64)
    level = torch.arange(20.0)[:, None, None]
    torch.testing.assert_close(
        masked_radial_power(noise + level, rim(16)),
        masked_radial_power(noise, rim(16)),
    )


def test_unbiased_power_of_few_images_may_be_negative_and_is_right_on_average() -> None:
    noise = torch.randn(600, 16, 16, generator=stream(0, "noise"))
    few = torch.stack([unbiased_masked_power(part, rim(16)) for part in noise.split(2)])
    assert (few < 0).any()
    whole = unbiased_masked_power(noise, rim(16))
    torch.testing.assert_close(few.mean(0), whole)
    assert (masked_radial_power(noise[:2], rim(16)) >= 0).all()
