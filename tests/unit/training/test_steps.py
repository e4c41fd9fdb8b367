"""Each update moves its own player and leaves the other alone."""

import math
from typing import Literal

import pytest
import torch
from torch import nn

from multicryogan.training.steps import discriminator_step, generator_step

GAMES: list[Literal["relativistic", "wasserstein"]] = ["relativistic", "wasserstein"]


def make_players() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(4, 64), nn.Unflatten(1, (8, 8)))
    discriminator = nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 32),
        nn.LeakyReLU(0.1),
        nn.Linear(32, 1),
        nn.Flatten(0),
    )
    return generator, discriminator


def weights(module: nn.Module) -> torch.Tensor:
    return nn.utils.parameters_to_vector(module.parameters()).detach().clone()


def step_generator(
    generator: nn.Module, discriminator: nn.Module, game: str, rate: float = 1e-3
) -> dict[str, torch.Tensor]:
    return generator_step(
        discriminator,
        generator,
        torch.optim.Adam(generator.parameters(), lr=rate),
        torch.randn(16, 8, 8),
        generator(torch.randn(16, 4)),
        game,  # type: ignore[arg-type]
    )


def step_discriminator(
    generator: nn.Module, discriminator: nn.Module, game: str, penalty_weight: float
) -> dict[str, torch.Tensor]:
    return discriminator_step(
        discriminator,
        torch.optim.Adam(discriminator.parameters(), lr=1e-3),
        torch.randn(16, 8, 8),
        generator(torch.randn(16, 4)).detach(),
        game,  # type: ignore[arg-type]
        penalty_weight,
        torch.rand(16),
    )


@pytest.mark.parametrize("game", GAMES)
def test_generator_step_freezes_the_discriminator(game: str) -> None:
    generator, discriminator = make_players()
    before = weights(generator), weights(discriminator)
    step_generator(generator, discriminator, game)
    assert not torch.equal(weights(generator), before[0])
    assert torch.equal(weights(discriminator), before[1])
    assert all(p.grad is None for p in discriminator.parameters())


@pytest.mark.parametrize("game", GAMES)
def test_the_discriminator_can_learn_again_after_a_generator_step(game: str) -> None:
    generator, discriminator = make_players()
    step_generator(generator, discriminator, game)
    assert all(p.requires_grad for p in discriminator.parameters())


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("penalty_weight", [0.0, 0.1])
def test_discriminator_step_leaves_the_generator_alone(
    game: str, penalty_weight: float
) -> None:
    generator, discriminator = make_players()
    before = weights(generator), weights(discriminator)
    step_discriminator(generator, discriminator, game, penalty_weight)
    assert torch.equal(weights(generator), before[0])
    assert not torch.equal(weights(discriminator), before[1])
    assert all(p.grad is None for p in generator.parameters())


@pytest.mark.parametrize("game", GAMES)
def test_the_penalty_is_told_only_when_it_is_applied(game: str) -> None:
    generator, discriminator = make_players()
    assert "penalty" not in step_discriminator(generator, discriminator, game, 0.0)
    assert "penalty" in step_discriminator(generator, discriminator, game, 0.1)


@pytest.mark.parametrize("game", GAMES)
def test_a_heavy_penalty_changes_where_the_discriminator_goes(game: str) -> None:
    moved = []
    for penalty_weight in (0.0, 100.0):
        generator, discriminator = make_players()
        step_discriminator(generator, discriminator, game, penalty_weight)
        moved.append(weights(discriminator))
    assert not torch.equal(*moved)


@pytest.mark.parametrize("game", GAMES)
def test_the_discriminator_learns_to_tell_real_from_fake(game: str) -> None:
    _, discriminator = make_players()
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=1e-2)
    margin = math.nan
    for _ in range(30):
        real, fake = 1 + torch.randn(16, 8, 8), torch.randn(16, 8, 8)
        metrics = discriminator_step(
            discriminator,
            optimizer,
            real,
            fake,
            game,
            0.01,
            torch.rand(16),  # type: ignore[arg-type]
        )
        margin = float(metrics["margin"])
    assert margin > 0.5


@pytest.mark.parametrize("game", GAMES)
def test_the_generator_raises_the_scores_of_its_images(game: str) -> None:
    generator, discriminator = make_players()
    latent = torch.randn(64, 4)
    before = discriminator(generator(latent)).mean()
    for _ in range(5):
        step_generator(generator, discriminator, game, rate=1e-2)
    assert discriminator(generator(latent)).mean() > before
