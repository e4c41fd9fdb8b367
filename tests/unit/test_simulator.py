"""Algorithm 1: the images, their noise, and their independence of the team."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from multicryogan.imaging import form_images, radial_power
from multicryogan.priors import ImagingPrior, LatentPrior
from multicryogan.rng import Shard
from multicryogan.simulator import SimulatedBatch, Simulator
from training_data import tiny_optics

VOXEL_SIZE = 5.0


def make_simulator(seed: int = 0) -> Simulator:
    imaging = ImagingPrior(tiny_optics(20), 4.0, seed)
    return Simulator(LatentPrior("segment", 1), imaging, VOXEL_SIZE, seed)


def stretched_ball(latent: Tensor, box: int = 16) -> Tensor:
    """(V, D, D, D) a Gaussian that grows with the latent."""
    axis = torch.arange(box) - box // 2
    square = axis.square() / 8.0
    radius = square[:, None, None] + square[:, None] + square
    return torch.exp(-radius) * (1 + latent[:, :, None, None])


def white(box: int = 16, variance: float = 0.25) -> Tensor:
    return torch.full((1, box // 2 + 1), variance)


def sample(
    simulator: Simulator, purpose: str = "train", step: int = 0
) -> SimulatedBatch:
    return simulator.sample(stretched_ball, white(), (4, 3), step, purpose=purpose)


def noise_differs(a: SimulatedBatch, b: SimulatedBatch) -> bool:
    """Whether noise differs by more than the rounding of what was subtracted."""
    difference = (a.noisy - a.clean) - (b.noisy - b.clean)
    return bool(difference.abs().max() > 0.1)


def test_clean_images_are_those_of_the_forward_model() -> None:
    batch = sample(make_simulator())
    torch.testing.assert_close(batch.volume, stretched_ball(batch.latent))
    expected = form_images(batch.volume, batch.params, VOXEL_SIZE)
    torch.testing.assert_close(batch.clean, expected)


@pytest.mark.parametrize("box", [16, 17])
def test_noise_has_the_power_asked_for_in_every_shell(box: int) -> None:
    power = torch.linspace(1.0, 0.2, box // 2 + 1)
    batch = make_simulator().sample(
        lambda latent: stretched_ball(latent, box), power[None], (20, 100), 0
    )
    measured = radial_power((batch.noisy - batch.clean).flatten(0, 1))
    torch.testing.assert_close(measured, power, rtol=0.06, atol=0)


def test_noise_of_different_volumes_is_independent() -> None:
    batch = make_simulator().sample(stretched_ball, white(), (2, 40), 0)
    noise = (batch.noisy - batch.clean).flatten(1)
    assert torch.corrcoef(noise)[0, 1].abs() < 0.03


@pytest.mark.parametrize("world", [2, 4])
def test_shards_together_are_the_batch_of_one_process(world: int) -> None:
    simulator = make_simulator()
    whole = sample(simulator)
    parts = [
        sample(replace(simulator, shard=Shard(rank, world))) for rank in range(world)
    ]
    torch.testing.assert_close(torch.cat([p.latent for p in parts]), whole.latent)
    torch.testing.assert_close(torch.cat([p.noisy for p in parts]), whole.noisy)
    rotations = torch.cat([p.params.rotation for p in parts])
    torch.testing.assert_close(rotations, whole.params.rotation)


def test_the_same_step_repeats_bit_for_bit() -> None:
    assert torch.equal(sample(make_simulator()).noisy, sample(make_simulator()).noisy)


@pytest.mark.parametrize("other", [{"purpose": "preview"}, {"step": 1}])
def test_purpose_and_step_separate_all_draws(other: dict[str, str | int]) -> None:
    ours = sample(make_simulator())
    theirs = sample(make_simulator(), **other)  # type: ignore[arg-type]
    assert not torch.equal(ours.latent, theirs.latent)
    assert not torch.equal(ours.params.rotation, theirs.params.rotation)
    assert noise_differs(ours, theirs)


def test_another_seed_gives_other_draws() -> None:
    assert not torch.equal(
        sample(make_simulator(0)).latent, sample(make_simulator(1)).latent
    )


def test_clean_images_hold_no_mode_beyond_the_highest_shell() -> None:
    batch = make_simulator().sample(stretched_ball, white(), (2, 3), 0, max_shell=4)
    power = radial_power(batch.clean.flatten(0, 1))
    assert power[6:].max() < 1e-10 * power.max()
    assert power[4] > 1e-4 * power.max()


def test_images_carry_the_gradient_of_the_volumes() -> None:
    strength = torch.tensor(2.0, requires_grad=True)
    batch = make_simulator().sample(
        lambda latent: strength * stretched_ball(latent), white(), (2, 2), 0
    )
    (slope,) = torch.autograd.grad(batch.noisy.sum(), strength)
    assert slope.item() == pytest.approx(batch.clean.sum().item() / 2, rel=1e-3)


class NoiseOfRows:
    """Noise whose deviation is the number of the particle, and one more."""

    def draw(
        self, row: Tensor | None, count: int, generator: torch.Generator
    ) -> Tensor:
        """Draw white noise."""
        assert row is not None
        white = torch.randn(count, 16, 16, generator=generator)
        return (row + 1)[:, None, None] * white


def with_patches(seed: int = 0) -> Simulator:
    return replace(make_simulator(seed), patches=NoiseOfRows())


def test_patches_come_with_the_optics_of_the_same_particle() -> None:
    batch = with_patches().sample(stretched_ball, white(), (10, 20), 0)
    optics, row = batch.params.ctf, batch.params.row
    assert optics is not None
    assert row is not None
    known = tiny_optics(20).defocus_u_angstrom
    torch.testing.assert_close(optics.defocus_u_angstrom, known[row])
    deviation = (batch.noisy - batch.clean).std(dim=(-2, -1))
    torch.testing.assert_close(deviation, (row + 1).float(), rtol=0.2, atol=0)


def test_patches_leave_all_other_draws_as_they_were() -> None:
    torch.testing.assert_close(
        sample(with_patches()).clean, sample(make_simulator()).clean
    )


@pytest.mark.parametrize("world", [2, 4])
def test_shards_draw_the_patches_of_one_process(world: int) -> None:
    whole = sample(with_patches())
    parts = [
        sample(replace(with_patches(), shard=Shard(rank, world)))
        for rank in range(world)
    ]
    torch.testing.assert_close(torch.cat([p.noisy for p in parts]), whole.noisy)
    noise = (whole.noisy - whole.clean).flatten(1)
    assert torch.corrcoef(noise)[0, 1].abs() < 0.2


def test_patches_of_each_step_are_new() -> None:
    a, b = (sample(with_patches(), step=step) for step in (0, 1))
    patches = []
    for batch in (a, b):
        assert batch.params.row is not None
        strength = (batch.params.row + 1)[..., None, None]
        patches.append((batch.noisy - batch.clean) / strength)
    assert (patches[0] - patches[1]).abs().max() > 0.1
