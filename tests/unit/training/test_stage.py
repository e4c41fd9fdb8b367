"""The data at one box, and the simulator that must match it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from background_files import write_noise
from multicryogan.config import RefineConfig
from multicryogan.data.patches import PatchNoise
from multicryogan.errors import InputError
from multicryogan.imaging import radial_power, sample_noise
from multicryogan.imaging.ctf import ring_ctf
from multicryogan.inference.refine import open_work
from multicryogan.io import ParticleStack, read_particles, write_stack
from multicryogan.rng import Shard, stream
from multicryogan.training.build import build_generator
from multicryogan.training.stage import (
    MARGIN_SHELLS,
    Stage,
    open_stage,
    starting_scale,
)
from training_data import PIXEL_SIZE, tiny_config, write_particles


def make_stage(
    stack: ParticleStack,
    box: int = 32,
    shard: Shard = Shard(),
    changes: dict[str, Any] | None = None,
) -> Stage:
    return open_stage(tiny_config(changes), stack, 1, box, shard, "cpu")


def bare_stack(folder: Path) -> ParticleStack:
    """64 images of white noise, optics unknown."""
    path = folder / "noise.mrcs"
    noise = sample_noise((64, 32, 32), torch.ones(17), stream(0, "noise"))
    write_stack(path, noise, PIXEL_SIZE)
    return read_particles(path)


@pytest.mark.parametrize(("box", "pixel_size"), [(32, 5.0), (16, 10.0)])
def test_the_field_of_view_stays_at_every_box(
    stack: ParticleStack, box: int, pixel_size: float
) -> None:
    stage = make_stage(stack, box)
    assert stage.pixel_size == pytest.approx(pixel_size)
    assert stage.simulator.voxel_size == pytest.approx(pixel_size)
    assert stage.real(0).images.shape == (4, box, box)


@pytest.mark.parametrize("shard", [Shard(), Shard(1, 2)])
def test_the_images_of_the_next_step_are_expected(
    stack: ParticleStack, monkeypatch: pytest.MonkeyPatch, shard: Shard
) -> None:
    stage = make_stage(stack, 32, shard)
    read_images = ParticleStack.images
    expected: list[list[int]] = []
    read: list[list[int]] = []

    def expect(stack: ParticleStack, rows: Tensor) -> None:
        expected.append(torch.as_tensor(rows).tolist())

    def images(stack: ParticleStack, rows: Tensor) -> NDArray[np.float32]:
        read.append(torch.as_tensor(rows).tolist())
        return read_images(stack, rows)

    monkeypatch.setattr(ParticleStack, "expect", expect)
    monkeypatch.setattr(ParticleStack, "images", images)
    for step in range(3):
        stage.real(step)
    assert expected[:2] == read[1:]
    assert len(read[0]) == 4 // shard.world


def test_background_and_window_cover_the_same_share_of_every_box(
    stack: ParticleStack,
) -> None:
    coarse, fine = (make_stage(stack, box).view.preprocessing for box in (16, 32))
    assert coarse.background_radius_px == pytest.approx(fine.background_radius_px / 2)
    assert coarse.window_edge_px == pytest.approx(fine.window_edge_px / 2)


def test_simulated_images_start_as_strong_as_the_signal(tmp_path: Path) -> None:
    stage = make_stage(read_particles(write_particles(tmp_path, count=1_000)))
    generator = build_generator(tiny_config(), 32)
    generator.scale.fill_(starting_scale(stage, generator))
    made, _ = stage.simulate(generator, 32.0, 0, batch=(16, 16))
    ours = made.clean.flatten(0, 1).var(dim=(1, 2)).mean()
    # The true signal: four Gaussians of sigma 1.5 behind a CTF, noise of 0.09.
    raw, _ = stage.sampler.batch(512, 0)
    theirs = raw.var(dim=(1, 2)).mean() - 0.09
    assert ours.item() == pytest.approx(theirs.item(), rel=0.35)


def test_a_start_is_never_without_signal(tmp_path: Path) -> None:
    stage = make_stage(bare_stack(tmp_path))
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
    assert len(stage.real(0).images) == 2
    assert len(stage.alone().real(0).images) == 4


def test_simulated_noise_looks_like_the_real_rim(stack: ParticleStack) -> None:
    stage = make_stage(stack)
    generator = build_generator(tiny_config(), 32)
    with torch.no_grad():
        generator.scale.zero_()
    made, _ = stage.simulate(generator, 32.0, 0, batch=(16, 16))
    power = radial_power(made.noisy.flatten(0, 1))[1:16]
    torch.testing.assert_close(power, stage.spectra.rim[0, 1:16], rtol=0.15, atol=0)


def test_stages_of_one_seed_are_equal(stack: ParticleStack) -> None:
    first, again = make_stage(stack), make_stage(stack)
    assert torch.equal(first.spectra.rim, again.spectra.rim)
    assert torch.equal(first.real(5).images, again.real(5).images)
    assert replace(first.sampler) == first.sampler


@pytest.mark.parametrize("box", [16, 32])
def test_simulated_images_are_shown_with_their_ctf(
    stack: ParticleStack, box: int
) -> None:
    stage = make_stage(stack, box)
    made, shown = stage.simulate(build_generator(tiny_config(), box), 16.0, 3)
    assert made.params.ctf is not None
    # The field of view is 160 Å at every box.
    expected = ring_ctf(made.params.ctf.reshape(-1), box // 2, 160.0)
    torch.testing.assert_close(shown.transfer, expected)


def test_real_images_are_shown_with_their_ctf(stack: ParticleStack) -> None:
    stage = make_stage(stack)
    _, optics = stage.sampler.batch(4, 3)
    assert optics is not None
    torch.testing.assert_close(stage.real(3).transfer, ring_ctf(optics, 16, 160.0))


def test_images_are_shown_without_a_ctf_when_the_defocus_is_drawn(
    stack: ParticleStack,
) -> None:
    # That of each real image is not known then; one of both alone would tell them.
    stage = make_stage(stack, changes={"imaging": {"defocus_um": [1.0, 2.0]}})
    made, shown = stage.simulate(build_generator(tiny_config(), 32), 16.0, 0)
    assert made.params.ctf is not None
    assert not stage.view.shows_ctf
    assert torch.equal(shown.transfer, torch.ones(4, 16))
    assert torch.equal(stage.real(0).transfer, torch.ones(4, 16))


def test_unknown_optics_are_shown_as_a_ctf_of_one(tmp_path: Path) -> None:
    stage = make_stage(bare_stack(tmp_path))
    _, shown = stage.simulate(build_generator(tiny_config(), 32), 16.0, 0)
    assert torch.equal(shown.transfer, torch.ones(4, 16))
    assert torch.equal(stage.real(0).transfer, torch.ones(4, 16))


def test_images_are_simulated_a_margin_beyond_the_low_pass(
    stack: ParticleStack,
) -> None:
    made, _ = make_stage(stack).simulate(build_generator(tiny_config(), 32), 4.0, 0)
    power = radial_power(made.clean.detach().flatten(0, 1))
    assert power[4 + MARGIN_SHELLS + 2 :].max() < 1e-8 * power.max()
    assert power[4 + MARGIN_SHELLS - 1] > 1e-8 * power.max()


def patched(folder: Path, box: int = 32, shard: Shard = Shard()) -> Stage:
    """Tiny particles, noise variance 0.09, with patches of variance 0.16."""
    path = write_noise(folder / "ice.star", {"a": (200, 0.4)}, pixel_size=PIXEL_SIZE)
    stack = read_particles(write_particles(folder))
    return make_stage(stack, box, shard, {"imaging": {"background": str(path)}})


@pytest.mark.parametrize("box", [16, 32])
def test_with_patches_the_noise_is_theirs(tmp_path: Path, box: int) -> None:
    stage = patched(tmp_path, box)
    generator = build_generator(tiny_config(), box)
    made, _ = stage.simulate(generator, box / 2, 0, batch=(4, 64))
    noise = (made.noisy - made.clean).detach().flatten(0, 1)
    assert noise.mean().item() == pytest.approx(3.0, abs=0.02)  # the grey level of ice
    power = radial_power(noise - noise.mean((1, 2), keepdim=True))
    expected = 0.16 * (box / 32) ** 2  # white noise of 32 pixels, cropped
    assert power[2:-1].mean().item() == pytest.approx(expected, rel=0.05)
    assert stage.spectra.rim.shape == (1, box // 2 + 1)
    assert stage.spectra.rim.mean().item() == pytest.approx(expected, rel=0.05)


def test_the_likelihood_takes_the_power_of_patches(tmp_path: Path) -> None:
    config, stage = tiny_config(), patched(tmp_path)
    work = open_work(stage, build_generator(config, 32), config, RefineConfig())
    assert work.law(15).noise_power.mean().item() == pytest.approx(0.16, rel=0.05)


def test_teams_draw_the_same_patches(tmp_path: Path) -> None:
    generator = build_generator(tiny_config(), 32)
    whole, *parts = (
        patched(tmp_path, shard=shard).simulate(generator, 16.0, 0)[0].noisy
        for shard in (Shard(), Shard(0, 2), Shard(1, 2))
    )
    torch.testing.assert_close(torch.cat(parts), whole)


def test_a_start_reads_no_patches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = patched(tmp_path)
    monkeypatch.setattr(PatchNoise, "draw", None)
    assert starting_scale(stage, build_generator(tiny_config(), 32)) > 0


def test_shifts_that_lead_out_of_the_images_are_refused(tmp_path: Path) -> None:
    stack = bare_stack(tmp_path)
    most = stack.field_angstrom / 5
    make_stage(stack, changes={"imaging": {"shift_sigma_angstrom": 0.99 * most}})
    with pytest.raises(InputError, match=f"give at most {most:.0f}"):
        make_stage(stack, changes={"imaging": {"shift_sigma_angstrom": 1.01 * most}})
