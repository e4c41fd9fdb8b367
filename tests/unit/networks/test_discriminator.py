"""Scores of the paper's discriminator."""

import pytest
import torch
from torch import Tensor, nn

from multicryogan.losses import gradient_penalty
from multicryogan.networks import PooledDiscriminator, fast_precision
from multicryogan.rng import stream


def made(
    box: int = 16,
    channels: int = 4,
    hidden: int = 8,
    precision: torch.dtype = torch.float32,
) -> PooledDiscriminator:
    torch.manual_seed(0)
    return PooledDiscriminator(box, channels, hidden, precision)


def noise(count: int, box: int = 16) -> Tensor:
    return torch.randn(count, box, box, generator=stream(0, "images"))


def ones(count: int, box: int = 16) -> Tensor:
    return torch.ones(count, box // 2)


@pytest.mark.parametrize("box", [16, 18, 32, 34, 48, 64])
def test_one_score_per_image_at_every_even_box(box: int) -> None:
    scores = made(box)(noise(3, box), ones(3, box))
    assert scores.shape == (3,)
    assert scores.isfinite().all()


def test_images_of_a_batch_do_not_see_each_other() -> None:
    discriminator, images = made(32), noise(3, 32)
    torch.testing.assert_close(
        discriminator(images, ones(3, 32))[1:2],
        discriminator(images[1:2], ones(1, 32)),
        atol=1e-6,
        rtol=1e-5,
    )


def test_the_ctf_does_not_change_the_score() -> None:
    discriminator, images = made(), noise(3)
    score = discriminator(images, ones(3))
    assert torch.equal(discriminator(images, -0.3 * ones(3)), score)


def test_opening_the_band_does_not_change_the_score() -> None:
    discriminator, images = made(), noise(3)
    score = discriminator(images, ones(3))
    discriminator.open_band(2.0)
    assert torch.equal(discriminator(images, ones(3)), score)


@pytest.mark.parametrize("box", [16, 32])
def test_every_weight_gets_a_gradient(box: int) -> None:
    discriminator = made(box)
    discriminator(noise(8, box), ones(8, box)).square().sum().backward()
    for name, parameter in discriminator.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_channels_double_with_each_halving_of_the_box() -> None:
    layers = made(32).features
    widths = [layer.out_channels for layer in layers if isinstance(layer, nn.Conv2d)]
    assert widths == [4, 8, 16]


def test_short_precision_changes_scores_and_penalty_little() -> None:
    """Convolutions in bfloat16 keep three digits, also through a double backward."""
    images, results = noise(64), []
    for precision in (torch.float32, torch.bfloat16):
        discriminator = made(16, 8, 16, precision)
        penalty = gradient_penalty(
            lambda x, d=discriminator: d(x, ones(64)), images, images, torch.ones(64)
        )
        torch.autograd.backward(penalty)
        slope = discriminator.features[0].weight.grad
        assert slope is not None
        score = discriminator(images, ones(64)).detach()
        results.append((score, penalty.detach(), slope))
    (score, penalty, slope), (short_score, short_penalty, short_slope) = results
    assert short_score.dtype == torch.float32
    assert (short_score - score).norm() < 0.02 * score.norm()
    assert (short_penalty / penalty - 1).abs() < 0.02
    assert (short_slope - slope).norm() < 0.05 * slope.norm()


def test_the_fast_precision_is_one_that_can_be_computed_in() -> None:
    assert fast_precision("cpu") in (torch.bfloat16, torch.float32)


def test_the_penalty_of_the_pooled_discriminator_asks_for_unit_slope() -> None:
    discriminator, transfer = made(), ones(4)
    real, fake = noise(8).chunk(2)
    mix = torch.linspace(0, 1, 4)
    expected = gradient_penalty(lambda x: discriminator(x, transfer), real, fake, mix)
    found = discriminator.penalty(real, fake, transfer, mix)
    torch.testing.assert_close(found, expected)
