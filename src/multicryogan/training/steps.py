"""One update of each player: the two inner blocks of Algorithm 2."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from multicryogan.losses import (
    gradient_penalty,
    relativistic_loss,
    wasserstein_loss,
    zero_centred_penalty,
)
from multicryogan.training.distributed import average_gradients

Game = Literal["relativistic", "wasserstein"]
LOSSES = {"relativistic": relativistic_loss, "wasserstein": wasserstein_loss}


def discriminator_step(
    discriminator: nn.Module,
    optimizer: Optimizer,
    real: Tensor,
    fake: Tensor,
    game: Game,
    penalty_weight: float,
    mix: Tensor,
) -> dict[str, Tensor]:
    """Ascend the discriminator once.

    Args:
        discriminator: Maps (B, D, D) images to (B,) scores.
        optimizer: Of the discriminator's weights.
        real: (B, D, D) images from the data set.
        fake: (B, D, D) simulated images, detached.
        game: Which objective and penalty.
        penalty_weight: Of the penalty in this step; 0 leaves it out.
        mix: (B,) positions of the Wasserstein penalty between real and fake.

    Returns:
        Scalars by name.
    """
    optimizer.zero_grad(set_to_none=True)
    scores = discriminator(torch.cat((real, fake)))
    real_score, fake_score = scores.chunk(2)
    loss = LOSSES[game](real_score, fake_score)
    metrics = {
        "discriminator_loss": loss.detach(),
        "margin": (real_score.mean() - fake_score.mean()).detach(),
    }
    if penalty_weight > 0:
        if game == "relativistic":
            penalty = zero_centred_penalty(discriminator, real, fake)
        else:
            penalty = gradient_penalty(discriminator, real, fake, mix)
        loss = loss + penalty_weight * penalty
        metrics["penalty"] = penalty.detach()
    torch.autograd.backward(loss)
    average_gradients(discriminator.parameters())
    optimizer.step()
    return metrics


def generator_step(
    discriminator: nn.Module,
    generator: nn.Module,
    optimizer: Optimizer,
    real: Tensor,
    fake: Tensor,
    game: Game,
) -> dict[str, Tensor]:
    """Descend the generator once, through the imaging model and a frozen discriminator.

    Args:
        discriminator: Maps (B, D, D) images to (B,) scores.
        generator: Whose parameters `optimizer` holds.
        optimizer: Of the generator.
        real: (B, D, D) images from the data set, the partners of the fake ones.
        fake: (B, D, D) simulated images, with their graph.
        game: Which objective.

    Returns:
        Scalars by name.
    """
    optimizer.zero_grad(set_to_none=True)
    discriminator.requires_grad_(False)
    with torch.no_grad():
        real_score = discriminator(real)
    loss = LOSSES[game](discriminator(fake), real_score)
    torch.autograd.backward(loss)
    discriminator.requires_grad_(True)
    average_gradients(generator.parameters())
    optimizer.step()
    return {"generator_loss": loss.detach()}
