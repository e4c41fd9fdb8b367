"""The data at one box, and the simulator that must match it."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from multicryogan.data.preprocess import standardise
from multicryogan.imaging import CTFParams, radial_power, sample_noise
from multicryogan.io import (
    ParticleStack,
    read_particles,
    read_star,
    write_stack,
    write_star,
)
from multicryogan.rng import Shard, stream
from multicryogan.training.build import build_generator
from multicryogan.training.stage import (
    NoiseCalibration,
    Stage,
    astigmatic_phase,
    open_stage,
    starting_scale,
)
from training_data import PIXEL_SIZE, tiny_config, write_particles


def make_stage(stack: ParticleStack, box: int = 32, shard: Shard = Shard()) -> Stage:
    return open_stage(tiny_config(), stack, 1, box, shard, "cpu")


def calibration(start: float = 1.0) -> NoiseCalibration:
    rim = torch.full((17,), 2.0)
    return NoiseCalibration(start * rim, rim, torch.ones(17))


@pytest.mark.parametrize(("fake", "sense"), [(0.9, 1), (1.1, -1)])
def test_calibration_moves_towards_agreement(fake: float, sense: int) -> None:
    noise = calibration(0.95)
    before = noise.power.clone()
    noise.follow(torch.full((17,), fake))
    assert (sense * (noise.power - before) > 0).all()


def test_calibration_rests_at_agreement() -> None:
    noise = calibration(0.95)
    before = noise.power.clone()
    noise.follow(torch.ones(17))
    torch.testing.assert_close(noise.power, before)


@pytest.mark.parametrize(("fake", "bound"), [(1e-20, 1.02), (1e20, 0.9)])
def test_calibration_respects_its_bounds(fake: float, bound: float) -> None:
    noise = calibration()
    for _ in range(100):
        noise.follow(torch.full((17,), fake))
    torch.testing.assert_close(noise.power, torch.full((17,), 2.0 * bound))


def test_calibration_steers_each_shell_by_itself() -> None:
    noise, fake = calibration(0.95), torch.ones(17)
    fake[5] = 0.8
    before = noise.power.clone()
    noise.follow(fake)
    assert (noise.power != before).nonzero().flatten().tolist() == [5]


def test_calibration_leaves_the_measured_spectrum_alone() -> None:
    noise = calibration()
    noise.follow(torch.full((17,), 1.5))
    torch.testing.assert_close(noise.rim_power, torch.full((17,), 2.0))


def test_calibration_finds_the_noise_that_makes_the_power_agree() -> None:
    stack_power = torch.linspace(2.0, 1.0, 17)

    def fake_power(power: Tensor) -> Tensor:
        return 1.3 * power  # any law that rises with the noise

    noise = NoiseCalibration(stack_power, stack_power, 1.3 * 0.95 * stack_power)
    for _ in range(100):
        noise.follow(fake_power(noise.power))
    torch.testing.assert_close(noise.power, 0.95 * stack_power, rtol=1e-3, atol=0)


@pytest.mark.parametrize(("box", "pixel_size"), [(32, 5.0), (16, 10.0)])
def test_the_field_of_view_stays_at_every_box(
    stack: ParticleStack, box: int, pixel_size: float
) -> None:
    stage = make_stage(stack, box)
    assert stage.pixel_size == pytest.approx(pixel_size)
    assert stage.simulator.voxel_size == pytest.approx(pixel_size)
    assert stage.real(0).shape == (4, box, box)


def test_background_and_window_cover_the_same_share_of_every_box(
    stack: ParticleStack,
) -> None:
    coarse, fine = (make_stage(stack, box).preprocessing for box in (16, 32))
    assert coarse.background_radius_px == pytest.approx(fine.background_radius_px / 2)
    assert coarse.window_edge_px == pytest.approx(fine.window_edge_px / 2)


def test_round_optics_are_augmented(stack: ParticleStack) -> None:
    assert make_stage(stack).sampler.is_symmetric


def test_astigmatic_optics_are_not_augmented(tmp_path: Path) -> None:
    path = write_particles(tmp_path, count=8)
    star = read_star(path)
    particles, optics = star.find("particles"), star.find("optics")
    assert particles is not None
    particles["rlnDefocusV"] = particles["rlnDefocusU"] - 500
    write_star(path, particles, optics)
    assert not make_stage(read_particles(path)).sampler.is_symmetric


def test_simulated_images_start_as_strong_as_the_signal(tmp_path: Path) -> None:
    stage = make_stage(read_particles(write_particles(tmp_path, count=1_000)))
    generator = build_generator(tiny_config(), 32)
    generator.scale.fill_(starting_scale(stage, generator))
    batch = stage.simulate(generator, stage.view(32.0), 0, batch=(16, 16))
    ours = batch.clean.flatten(0, 1).var(dim=(1, 2)).mean()
    # The true signal: four Gaussians of sigma 1.5 behind a CTF, noise of 0.09.
    raw = stage.sampler.batch(512, 0)
    theirs = raw.var(dim=(1, 2)).mean() - 0.09
    assert ours.item() == pytest.approx(theirs.item(), rel=0.35)


def test_a_start_is_never_without_signal(tmp_path: Path) -> None:
    path = tmp_path / "noise.mrcs"
    noise = sample_noise((64, 32, 32), torch.ones(17), stream(0, "noise"))
    write_stack(path, noise, PIXEL_SIZE)
    stage = make_stage(read_particles(path))
    assert starting_scale(stage, build_generator(tiny_config(), 32)) > 0


def test_the_starting_scale_is_the_same_for_every_team(stack: ParticleStack) -> None:
    alone, member = make_stage(stack), make_stage(stack, shard=Shard(1, 2))
    scales = [
        starting_scale(stage, build_generator(tiny_config(), 32))
        for stage in (alone, member)
    ]
    assert scales[0] == scales[1]


def test_a_stage_alone_draws_whole_batches(stack: ParticleStack) -> None:
    stage = make_stage(stack, shard=Shard(1, 2))
    assert stage.real(0).shape[0] == 2
    assert stage.alone().real(0).shape[0] == 4


def test_simulated_noise_looks_like_the_real_rim(stack: ParticleStack) -> None:
    stage = make_stage(stack)
    generator = build_generator(tiny_config(), 32)
    with torch.no_grad():
        generator.scale.zero_()
    raw = stage.simulate(generator, stage.view(32.0), 0, batch=(16, 16)).noisy
    power = radial_power(standardise(raw.flatten(0, 1), stage.preprocessing))
    rim_like = stage.spectra.standard[11:15]  # shells that the signal leaves empty
    torch.testing.assert_close(power[11:15], rim_like, rtol=0.15, atol=0)


def test_stages_of_one_seed_are_equal(stack: ParticleStack) -> None:
    first, again = make_stage(stack), make_stage(stack)
    assert torch.equal(first.spectra.rim, again.spectra.rim)
    assert torch.equal(first.real(5), again.real(5))
    assert replace(first.sampler) == first.sampler


def test_astigmatic_phase_at_nyquist() -> None:
    """Phase pi lambda |U - V| / 2 s^2: 300 kV, 1000 Å, s = 1 / 10 Å."""
    one = torch.ones(3)
    optics = CTFParams(
        11_000 * one, 10_000 * one, 0 * one, 0 * one, 300 * one, 2.7 * one, 0.1 * one
    )
    expected = math.pi * 0.01968762 * 1_000 / 2 / 100
    assert astigmatic_phase(optics, 5.0) == pytest.approx(expected, rel=1e-5)
