"""One update of each player: the two inner blocks of Algorithm 2."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from multicryogan.data.view import Views
from multicryogan.networks import Discriminator
from multicryogan.training.distributed import average, average_gradients


def discriminator_step(
    discriminator: Discriminator,
    optimizer: Optimizer,
    real: Views,
    fake: Views,
    penalty_weight: float,
    mix: Tensor,
) -> dict[str, Tensor]:
    """Ascend the discriminator once.

    Args:
        discriminator: Its kind has the loss and the penalty of the game.
        optimizer: Of the discriminator's weights.
        real: B images from the data set.
        fake: B simulated images, detached.
        penalty_weight: Of the penalty; 0 leaves it out.
        mix: (B,) random positions between fake (0) and real (1), for the penalty.

    Returns:
        Scalars by name.
    """
    optimizer.zero_grad(set_to_none=True)
    both = real.followed_by(fake)
    scores = discriminator(both.images, both.transfer)
    real_score, fake_score = scores.chunk(2)
    loss = discriminator.loss(real_score, fake_score)
    metrics = {
        "discriminator_loss": loss.detach(),
        "margin": (real_score.mean() - fake_score.mean()).detach(),
    }
    if penalty_weight > 0:
        penalty = discriminator.penalty(real.images, fake.images, fake.transfer, mix)
        loss = loss + penalty_weight * penalty
        metrics["penalty"] = penalty.detach()
    torch.autograd.backward(loss)
    average_gradients(discriminator.parameters())
    optimizer.step()
    return metrics


def generator_step(
    discriminator: Discriminator,
    generator: nn.Module,
    optimizer: Optimizer,
    real: Views,
    fake: Views,
) -> dict[str, Tensor]:
    """Descend the generator once, through the imaging model and a frozen discriminator.

    Args:
        discriminator: Its kind has the loss of the game.
        generator: Whose parameters `optimizer` holds.
        optimizer: Of the generator.
        real: B images from the data set, the partners of the fake ones.
        fake: B simulated images, with their graph.

    Returns:
        Scalars by name.
    """
    optimizer.zero_grad(set_to_none=True)
    discriminator.requires_grad_(False)
    with torch.no_grad():
        real_score = discriminator(real.images, real.transfer)
    fake_score = discriminator(fake.images, fake.transfer)
    loss = discriminator.loss(fake_score, real_score)
    torch.autograd.backward(loss)
    discriminator.requires_grad_(True)
    average_gradients(generator.parameters())
    optimizer.step()
    return {"generator_loss": loss.detach()}


def motion_size(volumes: Tensor) -> Tensor:
    """Deviation over (V, D, D, D) volumes along the latent, as a share of the mean."""
    mean = average(volumes.mean(0))
    variance = average((volumes - mean).square().mean())
    return (variance / mean.square().mean()).sqrt()
