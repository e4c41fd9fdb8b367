"""The players with their optimisers and the average."""

import copy

import pytest
import torch
from torch import nn

from multicryogan.networks import PooledDiscriminator, TemplateDiscriminator
from multicryogan.training.build import build_discriminator, build_generator
from multicryogan.training.players import Players
from training_data import tiny_config


def make_players(seed: int = 0, kind: str = "components") -> Players:
    config = tiny_config({"generator": {"kind": kind}, "train": {"seed": seed}})
    generator = build_generator(config, 16)
    discriminator = build_discriminator(config, 16, "cpu")
    return Players(config, generator, generator, discriminator, "cpu")


def move(players: Players) -> None:
    """One update of both players by any gradient."""
    players.generator_optimizer.zero_grad()
    players.generator(torch.rand(2, 1)).square().mean().backward()
    players.generator_optimizer.step()
    players.discriminator_optimizer.zero_grad()
    images = torch.rand(2, 16, 16)
    players.discriminator(images, torch.ones(2, 8))[0].backward()
    players.discriminator_optimizer.step()
    players.average.update_parameters(players.generator)


def flat(module: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def pooled_weights(seed: int) -> torch.Tensor:
    changes = {"discriminator": {"kind": "pooled"}, "train": {"seed": seed}}
    return flat(build_discriminator(tiny_config(changes), 16, "cpu"))


def test_one_seed_builds_equal_players() -> None:
    assert torch.equal(flat(make_players().generator), flat(make_players().generator))
    assert torch.equal(pooled_weights(0), pooled_weights(0))


def test_another_seed_builds_other_players() -> None:
    assert not torch.equal(
        flat(make_players().generator), flat(make_players(1).generator)
    )
    assert not torch.equal(pooled_weights(0), pooled_weights(1))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("templates", TemplateDiscriminator), ("pooled", PooledDiscriminator)],
)
def test_the_config_names_the_kind_of_discriminator(kind: str, expected: type) -> None:
    config = tiny_config({"discriminator": {"kind": kind}})
    assert type(build_discriminator(config, 16, "cpu")) is expected


def test_both_banks_have_as_many_templates_as_asked_for() -> None:
    made = build_discriminator(tiny_config(), 16, "cpu")
    assert isinstance(made, TemplateDiscriminator)
    assert made.share.shape == (2, tiny_config().discriminator.templates)


def test_building_leaves_the_global_random_state_alone() -> None:
    state = torch.get_rng_state()
    config = tiny_config()
    build_generator(config, 16)
    build_discriminator(config, 16, "cpu")
    assert torch.equal(torch.get_rng_state(), state)


def test_voxels_and_weights_have_their_own_rates() -> None:
    train, groups = tiny_config().train, make_players().generator_optimizer.param_groups
    rates = [train.generator_rate, train.network_rate]
    assert [group["lr"] for group in groups] == rates
    # A mean, two components; the warp, three layers.
    assert [len(group["params"]) for group in groups] == [3, 7]


def test_a_3d_network_has_weights_only() -> None:
    config = tiny_config({"generator": {"kind": "cnn"}})
    generator = build_generator(config, 16)
    discriminator = build_discriminator(config, 16, "cpu")
    players = Players(config, generator, generator, discriminator, "cpu")
    rates = [group["lr"] for group in players.generator_optimizer.param_groups]
    assert rates == [config.train.network_rate]


def test_rates_are_shares_of_their_start() -> None:
    players, train = make_players(), tiny_config().train
    players.set_rates(0.5)
    players.set_rates(0.1)
    assert [
        players.generator_optimizer.param_groups[0]["lr"],
        players.discriminator_optimizer.param_groups[0]["lr"],
    ] == [0.1 * train.generator_rate, 0.1 * train.discriminator_rate]


def test_the_average_follows_with_its_decay() -> None:
    players = make_players()
    before = flat(players.averaged)
    move(players)
    decay = tiny_config().train.average_decay
    expected = decay * before + (1 - decay) * flat(players.generator)
    torch.testing.assert_close(flat(players.averaged), expected)


def test_the_average_does_not_share_its_tensors() -> None:
    players = make_players()
    with torch.no_grad():
        players.generator.voxels()[0].zero_()
    assert players.averaged.voxels()[0].abs().max() > 0


@pytest.mark.parametrize("name", ["generator", "averaged"])
def test_without_motion_all_volumes_of_both_generators_are_alike(name: str) -> None:
    players = make_players()
    players.open_motion(0)
    volumes = getattr(players, name)(torch.tensor([[0.0], [1.0]]))
    assert torch.equal(volumes[0], volumes[1])


@pytest.mark.parametrize("name", ["generator", "averaged"])
def test_motion_opens_in_both_generators(name: str) -> None:
    players = make_players()
    players.open_motion(0)
    players.open_motion(1)
    volumes = getattr(players, name)(torch.tensor([[0.0], [1.0]]))
    assert not torch.allclose(volumes[0], volumes[1])


@pytest.mark.parametrize("name", ["generator", "averaged", "discriminator"])
def test_the_band_opens_in_every_player(name: str) -> None:
    players = make_players()
    whole = getattr(players, name).band.clone()
    players.open_band(3.0)
    narrow = getattr(players, name).band.clone()
    players.open_band(16.0)
    assert narrow.sum() < whole.sum()
    assert torch.equal(getattr(players, name).band, whole)


def test_motion_opens_as_gently_late_as_at_the_first_update() -> None:
    # Adam's first step is one learning rate, however long the motion was held.
    steps = []
    for held in (0, 50):
        players = make_players()
        players.open_motion(0)
        for _ in range(held):
            players.generator_optimizer.zero_grad()
            players.generator(torch.rand(2, 1)).square().mean().backward()
            players.generator_optimizer.step()
        players.open_motion(2)
        components = players.generator.voxels()[1]
        before = components.detach().clone()
        players.generator_optimizer.zero_grad()
        players.generator(torch.tensor([[0.9]])).square().mean().backward()
        players.generator_optimizer.step()
        steps.append(float((components.detach() - before).abs().max()))
    assert steps[1] < 1.5 * steps[0]


def test_restored_players_go_on_exactly() -> None:
    players, other = make_players(), make_players(seed=5)
    move(players)
    other.restore(copy.deepcopy(players.state()))  # as a file would
    torch.manual_seed(0)
    move(players)
    torch.manual_seed(0)
    move(other)
    assert torch.equal(flat(players.generator), flat(other.generator))
    assert torch.equal(flat(players.averaged), flat(other.averaged))
    assert torch.equal(flat(players.discriminator), flat(other.discriminator))


def test_a_restored_discriminator_sees_in_the_same_units() -> None:
    players, other = make_players(), make_players()
    adapted = players.discriminator
    assert isinstance(adapted, TemplateDiscriminator)
    adapted.adapt(torch.linspace(2.0, 0.5, 9), torch.linspace(1.0, 0.01, 9))
    move(players)
    other.restore(copy.deepcopy(players.state()))
    shown = torch.rand(4, 16, 16), torch.rand(4, 8)
    assert torch.equal(players.discriminator(*shown), other.discriminator(*shown))


def test_the_culprit_is_the_first_tensor_that_is_not_finite() -> None:
    players = make_players()
    with torch.no_grad():
        players.discriminator.get_parameter("values")[0] = torch.nan
    assert players.culprit() == "discriminator values"


def test_a_bad_gradient_is_named_as_such() -> None:
    players = make_players()
    mean = players.generator.get_parameter("mean")
    mean.grad = torch.full_like(mean, torch.inf)
    assert players.culprit() == "gradient of generator mean"
