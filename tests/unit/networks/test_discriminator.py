"""Scores of both discriminators."""

import pytest
import torch
from torch import nn

from multicryogan.losses import zero_centred_penalty
from multicryogan.networks import pooled_discriminator, strided_discriminator
from multicryogan.rng import stream
from multicryogan.training.build import seeded

KINDS = [strided_discriminator, pooled_discriminator]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("box", [16, 18, 32, 34, 48, 64])
def test_one_score_per_image_at_every_even_box(kind: type[nn.Module], box: int) -> None:
    torch.manual_seed(0)
    scores = kind(box, 4, 8)(torch.randn(3, box, box))
    assert scores.shape == (3,)
    assert scores.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_a_batch_do_not_see_each_other(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    discriminator, images = kind(32, 4, 8), torch.randn(3, 32, 32)
    torch.testing.assert_close(
        discriminator(images)[1:2], discriminator(images[1:2]), atol=1e-6, rtol=1e-5
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("box", [16, 32])
def test_every_weight_gets_a_gradient(kind: type[nn.Module], box: int) -> None:
    torch.manual_seed(0)
    discriminator = kind(box, 4, 8)
    discriminator(torch.randn(8, box, box)).square().sum().backward()
    for name, parameter in discriminator.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_channels_double_twice_at_most() -> None:
    layers = strided_discriminator(64, 4, 8).features
    widths = [layer.out_channels for layer in layers if isinstance(layer, nn.Conv2d)]
    assert widths == [4, 8, 16, 16]


def test_the_pooled_discriminator_doubles_its_channels_with_each_halving() -> None:
    layers = pooled_discriminator(32, 4, 8).features
    widths = [layer.out_channels for layer in layers if isinstance(layer, nn.Conv2d)]
    assert widths == [4, 8, 16]


def test_short_precision_changes_scores_and_penalty_little() -> None:
    """Convolutions in bfloat16 keep three digits, also through a double backward."""
    images = torch.randn((64, 16, 16), generator=stream(0, "images"))
    results = []
    for precision in (torch.float32, torch.bfloat16):
        with seeded(0, "weights"):
            made = strided_discriminator(16, 8, 16, precision)
        penalty = zero_centred_penalty(made, images, images)
        torch.autograd.backward(penalty)
        slope = made.features[0].weight.grad
        assert slope is not None
        results.append((made(images).detach(), penalty.detach(), slope))
    (score, penalty, slope), (short_score, short_penalty, short_slope) = results
    assert short_score.dtype == torch.float32
    assert (short_score - score).norm() < 0.02 * score.norm()
    assert (short_penalty / penalty - 1).abs() < 0.02
    assert (short_slope - slope).norm() < 0.05 * slope.norm()
