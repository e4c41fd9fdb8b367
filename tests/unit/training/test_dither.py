"""Clear images are given noise before the discriminator sees them."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from multicryogan.data.spectra import Spectra
from multicryogan.fourier import shell_weights
from multicryogan.imaging.noise import radial_power
from multicryogan.io import ParticleStack
from multicryogan.rng import Shard, stream
from multicryogan.training.stage import MOST_NATS, Stage, open_stage
from training_data import tiny_config

BOX = 16


def spectra(snr: tuple[float, ...]) -> Spectra:
    """Groups of coloured noise and this SNR in every mode."""
    rim = torch.linspace(3, 1, BOX // 2 + 1).expand(len(snr), -1)
    ratio = torch.tensor(snr)[:, None]
    return Spectra(rim, rim * (1 + ratio), torch.full((len(snr),), 1 / len(snr)))


def modes() -> float:
    """Modes |k| < D / 2 of an image, all of the full transform."""
    radius = torch.fft.fftfreq(BOX) * BOX
    inside = radius[:, None] ** 2 + radius**2 < (BOX / 2) ** 2
    assert shell_weights(BOX, like=radius).sum() == BOX**2
    return float(inside.sum())


def test_an_image_holds_half_of_its_summed_snr() -> None:
    found = spectra((0.1, 3.0)).clarity()
    torch.testing.assert_close(found, modes() * torch.tensor([0.05, 1.5]))


def test_dither_leaves_what_was_asked_for() -> None:
    clear = spectra((0.1, 3.0))
    power = clear.dither(40.0)
    assert not power[0].any()
    shown = clear.with_noise(power)
    assert float(shown.clarity()[1]) == pytest.approx(40.0)
    torch.testing.assert_close(shown.raw - shown.rim, clear.raw - clear.rim)
    ratio = power[1] / clear.rim[1]  # the colour of its own noise
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))


def make_stage(stack: ParticleStack, shard: Shard = Shard()) -> Stage:
    """A stage of white noise, whose images are taken as very clear."""
    stage = open_stage(tiny_config(), stack, 1, BOX, shard, "cpu")
    return replace(stage, dither=torch.full((1, BOX // 2 + 1), 9.0))


def images(count: int) -> Tensor:
    return torch.randn(count, BOX, BOX, generator=stream(0, "images"))


def test_images_are_shown_with_the_noise(stack: ParticleStack) -> None:
    """Ten times the power, so that the background of deviation one is new noise."""
    stage, raw = make_stage(stack), images(200)
    shown = stage.show(raw, None, "test", 0).images
    alone = replace(stage, dither=None).show(raw, None, "test", 0).images
    cosine = (shown * alone).sum() / (shown.norm() * alone.norm())
    assert float(cosine) == pytest.approx(math.sqrt(0.1), abs=0.02)
    power = radial_power(shown)[2:-1]
    torch.testing.assert_close(power, power.mean().expand(len(power)), rtol=0.1, atol=0)


def test_the_noise_differs_with_purpose_and_step_alone(stack: ParticleStack) -> None:
    stage, raw = make_stage(stack), images(4)
    once, again, later, other = (
        stage.show(raw, None, purpose, step).images
        for purpose, step in (("a", 0), ("a", 0), ("a", 1), ("b", 0))
    )
    assert torch.equal(once, again)
    assert (once - later).abs().mean() > 0.3
    assert (once - other).abs().mean() > 0.3


def test_processes_show_together_what_one_shows(stack: ParticleStack) -> None:
    raw = images(4)
    whole = make_stage(stack).show(raw, None, "a", 0).images
    parts = [
        make_stage(stack, Shard(rank, 2)).show(half, None, "a", 0).images
        for rank, half in enumerate(raw.split(2))
    ]
    torch.testing.assert_close(torch.cat(parts), whole)


def test_only_clear_stacks_are_given_noise(stack: ParticleStack) -> None:
    stage = open_stage(tiny_config(), stack, 1, BOX, Shard(), "cpu")
    is_clear = float(stage.spectra.clarity().max()) > MOST_NATS
    assert (stage.dither is not None) == is_clear
    assert float(stage.shown.clarity().max()) <= MOST_NATS * (1 + 1e-5)
