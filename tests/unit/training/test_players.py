"""The players with their optimisers and the average."""

import copy

import torch

from multicryogan.networks import Generator
from multicryogan.training.build import build_discriminator, build_generator
from multicryogan.training.players import Players
from training_data import tiny_config


def make_players(seed: int = 0, kind: str = "components") -> Players:
    config = tiny_config({"generator": {"kind": kind}, "train": {"seed": seed}})
    generator = build_generator(config, 16)
    return Players(config, generator, generator, "cpu")


def move(players: Players) -> None:
    """One update of both players by any gradient."""
    players.generator_optimizer.zero_grad()
    players.generator(torch.rand(2, 1)).square().mean().backward()
    players.generator_optimizer.step()
    players.discriminator_optimizer.zero_grad()
    players.discriminator(torch.ones(2, 16, 16)).square().mean().backward()
    players.discriminator_optimizer.step()
    players.average.update_parameters(players.generator)


def flat(generator: Generator) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in generator.parameters()])


def test_one_seed_builds_equal_players() -> None:
    first, again = make_players(), make_players()
    assert torch.equal(flat(first.generator), flat(again.generator))
    for a, b in zip(
        first.discriminator.parameters(), again.discriminator.parameters(), strict=True
    ):
        assert torch.equal(a, b)


def test_another_seed_builds_other_players() -> None:
    assert not torch.equal(
        flat(make_players().generator), flat(make_players(1).generator)
    )


def test_building_leaves_the_global_random_state_alone() -> None:
    state = torch.get_rng_state()
    config = tiny_config()
    build_generator(config, 16)
    build_discriminator(config, 16, "cpu")
    assert torch.equal(torch.get_rng_state(), state)


def test_voxels_and_weights_have_their_own_rates() -> None:
    groups = make_players().generator_optimizer.param_groups
    assert [group["lr"] for group in groups] == [1e-2, 1e-3]
    assert sum(len(group["params"]) for group in groups) == 8


def test_a_3d_network_has_weights_only() -> None:
    config = tiny_config({"generator": {"kind": "cnn"}})
    generator = build_generator(config, 16)
    players = Players(config, generator, generator, "cpu")
    assert [g["lr"] for g in players.generator_optimizer.param_groups] == [1e-3]


def test_rates_are_shares_of_their_start() -> None:
    players = make_players()
    players.set_rates(0.5)
    players.set_rates(0.1)
    assert players.generator_optimizer.param_groups[0]["lr"] == 1e-3
    assert players.discriminator_optimizer.param_groups[0]["lr"] == 5e-5


def test_the_average_follows_with_its_decay() -> None:
    players = make_players()
    before = flat(players.averaged)
    move(players)
    expected = 0.99 * before + 0.01 * flat(players.generator)
    torch.testing.assert_close(flat(players.averaged), expected)


def test_the_average_does_not_share_its_tensors() -> None:
    players = make_players()
    with torch.no_grad():
        players.generator.voxels()[0].zero_()
    assert players.averaged.voxels()[0].abs().max() > 0


def test_motion_is_held_in_the_average_too() -> None:
    players = make_players()
    players.hold_motion(True)
    volumes = players.averaged(torch.tensor([[0.0], [1.0]]))
    assert torch.equal(volumes[0], volumes[1])


def test_motion_opens_as_gently_late_as_at_the_first_update() -> None:
    # Adam's first step is one learning rate, however long the motion was held.
    steps = []
    for held in (0, 50):
        players = make_players()
        players.hold_motion(True)
        for _ in range(held):
            players.generator_optimizer.zero_grad()
            players.generator(torch.rand(2, 1)).square().mean().backward()
            players.generator_optimizer.step()
        players.hold_motion(False)
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


def test_the_culprit_is_the_first_tensor_that_is_not_finite() -> None:
    players = make_players()
    with torch.no_grad():
        players.discriminator.get_parameter("features.0.weight")[0] = torch.nan
    assert players.culprit() == "discriminator features.0.weight"


def test_a_bad_gradient_is_named_as_such() -> None:
    players = make_players()
    mean = players.generator.get_parameter("mean")
    mean.grad = torch.full_like(mean, torch.inf)
    assert players.culprit() == "gradient of generator mean"
