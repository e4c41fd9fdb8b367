"""Circular harmonics against closed forms of Gaussians."""

import math

import numpy as np
import pytest
import torch
from scipy.special import jv
from torch import Tensor

from multicryogan.networks.harmonics import circular_harmonics
from multicryogan.rng import stream

BOXES = [32, 33]
SIGMA = 1.5  # pixels
RADIUS, ANGLE = 5.2, 0.7  # where the Gaussian stands


def gaussian(box: int, radius: float = RADIUS, angle: float = ANGLE) -> Tensor:
    """(D, D) Gaussian of height one, its angle from +x to +y about the centre."""
    axis = torch.arange(box, dtype=torch.float64) - box // 2
    x = axis - radius * math.cos(angle)
    y = axis[:, None] - radius * math.sin(angle)
    return torch.exp(-(x.square() + y.square()) / (2 * SIGMA**2))


def pair(box: int, turn: float = 0.0) -> Tensor:
    """(D, D) a positive and a negative Gaussian: their sum is zero."""
    return gaussian(box, angle=ANGLE + turn) - gaussian(box, 3.1, 2.9 + turn)


def analysed(image: Tensor, rings: int = 16, orders: int = 25) -> Tensor:
    """(K, M) circular harmonics of an image."""
    matrix = circular_harmonics(image.shape[-1], rings, orders)
    return matrix.to(torch.complex128) @ image.flatten().to(torch.complex128)


@pytest.mark.parametrize("box", BOXES)
def test_harmonics_of_a_gaussian_are_bessel_functions(box: int) -> None:
    k, m = np.arange(1, 17)[:, None], np.arange(25)
    area = 2 * math.pi * k / box**2 * np.where(m == 0, 1, 2)
    envelope = np.exp(-2 * (math.pi * SIGMA * k / box) ** 2)
    transform = 2 * math.pi * SIGMA**2 * envelope * (-1j) ** m
    bessel = jv(m, 2 * math.pi * k * RADIUS / box)
    expected = np.sqrt(area) * transform * bessel * np.exp(-1j * m * ANGLE)
    torch.testing.assert_close(
        analysed(gaussian(box)), torch.from_numpy(expected), atol=5e-5, rtol=0
    )


@pytest.mark.parametrize("box", BOXES)
def test_the_squares_sum_to_the_squared_image(box: int) -> None:
    image = pair(box)
    power = analysed(image).abs().square().sum().item()
    assert power == pytest.approx(image.square().sum().item(), rel=2e-3)


@pytest.mark.parametrize("box", BOXES)
def test_real_parts_of_products_sum_to_the_inner_product(box: int) -> None:
    first, second = pair(box), pair(box, 0.4)
    product = (analysed(first).conj() * analysed(second)).sum().real.item()
    assert product == pytest.approx((first * second).sum().item(), rel=2e-3)


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("turn", [0.3, math.pi / 2, 4.0])
def test_a_turn_multiplies_order_m_by_a_phase(box: int, turn: float) -> None:
    phase = torch.exp(-1j * turn * torch.arange(25, dtype=torch.float64))
    torch.testing.assert_close(
        analysed(pair(box, turn)), analysed(pair(box)) * phase, atol=5e-5, rtol=0
    )


@pytest.mark.parametrize("box", BOXES)
def test_exchanging_left_and_right_conjugates(box: int) -> None:
    mirrored = gaussian(box, angle=math.pi - ANGLE)
    torch.testing.assert_close(
        analysed(mirrored), analysed(gaussian(box)).conj(), atol=5e-5, rtol=0
    )


@pytest.mark.parametrize("box", BOXES)
def test_white_noise_has_a_mean_square_of_about_one(box: int) -> None:
    axis = torch.arange(box) - box // 2
    disc = (axis[:, None].square() + axis.square()).sqrt() < box / 2
    noise = disc * torch.randn(2000, box, box, generator=stream(0, "noise"))
    found = noise.flatten(1).cfloat() @ circular_harmonics(box, 16, 25).flatten(0, 1).T
    found = found.view(-1, 16, 25)
    k, m = torch.arange(1.0, 17)[:, None], torch.arange(25.0)
    share = (1 - (m / (math.pi * k)).square()).clamp(min=0).sqrt()
    reaches = m < 0.7 * math.pi * k
    has_phase = reaches & (m > 0)
    for part, of in ((found.real, reaches), (found.imag, has_phase)):
        ratio = (part.square().mean(0) / share)[of]
        assert ratio.mean().item() == pytest.approx(1, abs=0.03)
        assert (ratio - 1).abs().max() < 0.5


def test_white_noise_beyond_the_reach_of_the_disc_gives_nothing() -> None:
    matrix = circular_harmonics(32, 16, 25).view(16, 25, 32, 32)
    axis = torch.arange(32) - 16
    disc = (axis[:, None].square() + axis.square()).sqrt() < 8
    power = (matrix.abs().square() * disc).sum((-2, -1))
    assert power[1, 10:].max() < 1e-3  # m > 2 pi k r / D = pi
    assert power[1, 2] > 0.1


def test_order_zero_of_an_image_is_real() -> None:
    assert analysed(pair(33))[:, 0].imag.abs().max() < 1e-6
