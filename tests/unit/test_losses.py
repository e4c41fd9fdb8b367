"""Losses and penalties against scores and slopes that are known."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from multicryogan.losses import (
    Discriminator,
    gradient_penalty,
    relativistic_loss,
    wasserstein_loss,
)
from multicryogan.rng import stream


def images(name: str, box: int, count: int = 4) -> Tensor:
    return torch.randn(count, box, box, generator=stream(0, name))


def linear(box: int, slope: float) -> Discriminator:
    """A discriminator whose gradient has the same norm everywhere."""
    direction = images("direction", box, 1)
    direction = slope * direction / direction.norm()
    return lambda x: (x * direction).sum(dim=(1, 2))


@pytest.mark.parametrize("box", [16, 33])
@pytest.mark.parametrize(("slope", "expected"), [(1.0, 0.0), (3.0, 4.0), (0.0, 1.0)])
def test_gradient_penalty_is_the_squared_excess_slope(
    box: int, slope: float, expected: float
) -> None:
    penalty = gradient_penalty(
        linear(box, slope), images("real", box), images("fake", box), torch.rand(4)
    )
    assert penalty.item() == pytest.approx(expected, rel=1e-4, abs=1e-9)


@pytest.mark.parametrize(("mix", "norm"), [(0.0, 2.0), (1.0, 6.0), (0.25, 3.0)])
def test_gradient_penalty_looks_between_fake_and_real(mix: float, norm: float) -> None:
    # The slope of |x|² / 2 is x itself; |fake| = 2, |real| = 6 along one direction.
    direction = images("direction", 16, 1) / images("direction", 16, 1).norm()
    penalty = gradient_penalty(
        lambda x: 0.5 * x.square().sum(dim=(1, 2)),
        6 * direction,
        2 * direction,
        torch.tensor([mix]),
    )
    assert penalty.item() == pytest.approx((norm - 1) ** 2, rel=1e-4)


def test_the_penalty_can_be_differentiated_in_the_weights() -> None:
    weight = torch.tensor(3.0, requires_grad=True)
    flat = linear(16, 1.0)
    real, fake = images("real", 16), images("fake", 16)
    penalty = gradient_penalty(lambda x: weight * flat(x), real, fake, torch.rand(4))
    (slope,) = torch.autograd.grad(penalty, weight)
    assert slope.item() == pytest.approx(2 * (3 - 1), rel=1e-4)  # d/dw of (w - 1)²


def test_relativistic_loss_of_equal_scores_is_log_2() -> None:
    scores = images("scores", 4)[:, 0, 0]
    loss = relativistic_loss(scores, scores)
    assert loss.item() == pytest.approx(math.log(2), rel=1e-6)


def test_relativistic_loss_compares_partners() -> None:
    better, worse = torch.tensor([1.0, -2.0]), torch.tensor([0.0, 1.0])
    expected = (math.log1p(math.exp(-1)) + math.log1p(math.exp(3))) / 2
    assert relativistic_loss(better, worse).item() == pytest.approx(expected)


def test_relativistic_loss_of_far_scores_stays_finite() -> None:
    loss = relativistic_loss(torch.tensor([-1e4]), torch.tensor([1e4]))
    assert loss.item() == pytest.approx(2e4)


def test_wasserstein_loss_is_the_difference_of_means() -> None:
    loss = wasserstein_loss(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0]))
    assert loss.item() == pytest.approx(0.5 - 2.0)


@pytest.mark.parametrize("loss", [relativistic_loss, wasserstein_loss])
def test_descending_a_loss_raises_the_better_side(
    loss: Callable[[Tensor, Tensor], Tensor],
) -> None:
    better, worse = torch.zeros(2, 3, requires_grad=True)
    raise_better, raise_worse = torch.autograd.grad(
        loss(better, worse), (better, worse)
    )
    assert (raise_better < 0).all()
    assert (raise_worse > 0).all()
