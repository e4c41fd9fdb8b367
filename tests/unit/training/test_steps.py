"""Each update moves its own player, in the game of its kind of discriminator."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from multicryogan.data.view import Views
from multicryogan.losses import relativistic_loss, wasserstein_loss
from multicryogan.networks import (
    Discriminator,
    PooledDiscriminator,
    TemplateDiscriminator,
)
from multicryogan.training.steps import discriminator_step, generator_step

BOX, COUNT = 8, 16
KINDS = ["templates", "pooled"]
GAMES = [("templates", relativistic_loss), ("pooled", wasserstein_loss)]
Loss = Callable[[Tensor, Tensor], Tensor]


def make_discriminator(kind: str) -> Discriminator:
    """A small one whose scores depend on the image."""
    torch.manual_seed(0)
    if kind == "pooled":
        return PooledDiscriminator(BOX, 4, 8)
    made = TemplateDiscriminator(BOX, 3, torch.float32)
    nn.init.normal_(made.values, std=0.3)
    return made


def make_generator() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, BOX * BOX), nn.Unflatten(1, (BOX, BOX)))


def views(images: Tensor) -> Views:
    return Views(images, torch.rand(len(images), BOX // 2))


def noise() -> Tensor:
    return torch.randn(COUNT, BOX, BOX)


def score(discriminator: Discriminator, shown: Views) -> Tensor:
    scores: Tensor = discriminator(shown.images, shown.transfer)
    return scores.detach()


def weights(module: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(module.parameters()).detach().clone()


def step_generator(
    discriminator: Discriminator, generator: nn.Module, real: Views, fake: Views
) -> dict[str, Tensor]:
    optimizer = torch.optim.Adam(generator.parameters(), lr=1e-2)
    return generator_step(discriminator, generator, optimizer, real, fake)


def step_discriminator(
    discriminator: Discriminator,
    real: Views,
    fake: Views,
    penalty_weight: float = 0.0,
    mix: Tensor | None = None,
) -> dict[str, Tensor]:
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=1e-3)
    mix = torch.rand(COUNT) if mix is None else mix
    return discriminator_step(discriminator, optimizer, real, fake, penalty_weight, mix)


@pytest.mark.parametrize(("kind", "loss"), GAMES)
def test_each_discriminator_plays_its_game(kind: str, loss: Loss) -> None:
    discriminator, real, fake = make_discriminator(kind), views(noise()), views(noise())
    scores = score(discriminator, real), score(discriminator, fake)
    told = step_discriminator(discriminator, real, fake)
    torch.testing.assert_close(told["discriminator_loss"], loss(*scores))


@pytest.mark.parametrize(("kind", "loss"), GAMES)
def test_each_plays_that_game_against_the_generator(kind: str, loss: Loss) -> None:
    discriminator, generator = make_discriminator(kind), make_generator()
    real, fake = views(noise()), views(generator(torch.randn(COUNT, 4)))
    scores = score(discriminator, fake), score(discriminator, real)
    told = step_generator(discriminator, generator, real, fake)
    torch.testing.assert_close(told["generator_loss"], loss(*scores))


@pytest.mark.parametrize("kind", KINDS)
def test_the_penalty_is_that_of_the_discriminator(kind: str) -> None:
    discriminator = make_discriminator(kind)
    real, fake, mix = views(noise()), views(noise()), torch.rand(COUNT)
    expected = discriminator.penalty(real.images, fake.images, fake.transfer, mix)
    told = step_discriminator(discriminator, real, fake, 0.1, mix)
    torch.testing.assert_close(told["penalty"], expected.detach())


@pytest.mark.parametrize("kind", KINDS)
def test_the_penalty_is_told_only_when_it_is_applied(kind: str) -> None:
    discriminator, shown = make_discriminator(kind), views(noise())
    assert "penalty" not in step_discriminator(discriminator, shown, shown, 0.0)
    assert "penalty" in step_discriminator(discriminator, shown, shown, 0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_penalty_lessens_itself(kind: str) -> None:
    # Equal images: without the penalty there would be nothing to learn.
    discriminator, shown, mix = (
        make_discriminator(kind),
        views(noise()),
        torch.rand(COUNT),
    )
    # Not Adam, which would make a whole step of a rounding error.
    optimizer = torch.optim.SGD(discriminator.parameters(), lr=0.05)
    told = [
        discriminator_step(discriminator, optimizer, shown, shown, 1.0, mix)["penalty"]
        for _ in range(2)
    ]
    assert told[1] < 0.99 * told[0]


@pytest.mark.parametrize("kind", KINDS)
def test_generator_step_freezes_the_discriminator(kind: str) -> None:
    discriminator, generator = make_discriminator(kind), make_generator()
    before = weights(generator), weights(discriminator)
    fake = views(generator(torch.randn(COUNT, 4)))
    step_generator(discriminator, generator, views(noise()), fake)
    assert not torch.equal(weights(generator), before[0])
    assert torch.equal(weights(discriminator), before[1])
    assert all(p.grad is None for p in discriminator.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_the_discriminator_can_learn_again_after_a_generator_step(kind: str) -> None:
    discriminator, generator = make_discriminator(kind), make_generator()
    fake = views(generator(torch.randn(COUNT, 4)))
    step_generator(discriminator, generator, views(noise()), fake)
    assert all(p.requires_grad for p in discriminator.parameters())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("penalty_weight", [0.0, 0.1])
def test_discriminator_step_leaves_the_generator_alone(
    kind: str, penalty_weight: float
) -> None:
    discriminator, generator = make_discriminator(kind), make_generator()
    before = weights(generator), weights(discriminator)
    fake = views(generator(torch.randn(COUNT, 4))).detached()
    step_discriminator(discriminator, views(noise()), fake, penalty_weight)
    assert torch.equal(weights(generator), before[0])
    assert not torch.equal(weights(discriminator), before[1])
    assert all(p.grad is None for p in generator.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_the_discriminator_learns_to_tell_real_from_fake(kind: str) -> None:
    discriminator = make_discriminator(kind)
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=1e-2)
    axis = (torch.arange(BOX) - BOX // 2).square() / 4
    particle = (-axis - axis[:, None]).exp()
    margin = math.nan
    for _ in range(60):
        real, fake = views(2 * particle + noise()), views(noise())
        real = Views(real.images, torch.ones(COUNT, BOX // 2))
        mix = torch.rand(COUNT)
        told = discriminator_step(discriminator, optimizer, real, fake, 0.01, mix)
        margin = float(told["margin"])
    assert margin > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_the_generator_raises_the_scores_of_its_images(kind: str) -> None:
    discriminator, generator = make_discriminator(kind), make_generator()
    latent, transfer = torch.randn(COUNT, 4), torch.rand(COUNT, BOX // 2)
    before = discriminator(generator(latent), transfer).mean()
    for _ in range(5):
        fake = Views(generator(latent), transfer)
        step_generator(discriminator, generator, views(noise()), fake)
    assert discriminator(generator(latent), transfer).mean() > before
