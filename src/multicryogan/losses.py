"""Objectives of the two players and the penalties of the discriminator."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Discriminator = Callable[[Tensor], Tensor]


def relativistic_loss(better: Tensor, worse: Tensor) -> Tensor:
    """Ask each score of one side to exceed its partner's on the other.

    `E log(1 + exp(worse - better))`, the relativistic pairing loss (Jolicoeur-
    Martineau 2018). The discriminator is given (real, fake), the generator
    (fake, real).

    Args:
        better: (B,) scores that should be higher.
        worse: (B,) scores that should be lower.

    Returns:
        Scalar, log 2 where the scores are equal.
    """
    return functional.softplus(worse - better).mean()


def wasserstein_loss(better: Tensor, worse: Tensor) -> Tensor:
    """Ask one side's mean score to exceed the other's (equation 5).

    Args:
        better: (B,) scores that should be higher.
        worse: (B,) scores that should be lower.

    Returns:
        Scalar `E[worse] - E[better]`.
    """
    return worse.mean() - better.mean()


def gradient_penalty(
    discriminator: Discriminator, real: Tensor, fake: Tensor, mix: Tensor
) -> Tensor:
    """Measure how far the discriminator's slope is from one, per image (WGAN-GP).

    Args:
        discriminator: Maps (B, D, D) images to (B,) scores.
        real: (B, D, D) images from the data set.
        fake: (B, D, D) simulated images, detached.
        mix: (B,) position on the line from fake (0) to real (1).

    Returns:
        Scalar, mean over images of (slope - 1)².
    """
    between = torch.lerp(fake, real, mix[:, None, None]).requires_grad_(True)
    # One norm per image. A norm over the channel axis alone bounds each pixel
    # instead, and the Lipschitz constant then grows with the box size.
    steepness = _slope(discriminator, between).flatten(1).norm(dim=1)
    penalty: Tensor = (steepness - 1).square().mean()
    return penalty


def _slope(discriminator: Discriminator, images: Tensor) -> Tensor:
    """Gradient of each image's own score, (B, D, D), differentiable again."""
    (slope,) = torch.autograd.grad(
        discriminator(images).sum(), images, create_graph=True
    )
    return slope
