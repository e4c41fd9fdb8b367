"""Noise of simulated images that was measured."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from background_files import noisy_particles, write_noise
from multicryogan.data.background import open_background
from multicryogan.data.optics import optics_groups
from multicryogan.data.patches import (
    LEVELS,
    PatchNoise,
    check_levels,
    levels,
    settled,
    turned,
)
from multicryogan.data.preprocess import Preprocessing
from multicryogan.errors import InputError
from multicryogan.imaging import radial_power
from multicryogan.io import ParticleStack, read_particles
from multicryogan.rng import stream

BOX = 32
WORKING = Preprocessing(BOX, 1, 15.2, 1.0)
FEW_OF_A = {"a.mrc": (50, 1.0), "b.mrc": (150, 3.0)}
ALL = np.zeros(160, np.int64)  # particles, in one group


def patch_noise(folder: Path, power: Tensor | None = None) -> PatchNoise:
    stack = noisy_particles(folder)
    path = write_noise(folder / "ice.star", FEW_OF_A, power=power)
    return PatchNoise(open_background(stack, path), WORKING)


def test_noise_has_the_spectrum_of_the_patches(tmp_path: Path) -> None:
    power = torch.linspace(2.0, 0.5, BOX // 2 + 1)
    noise = patch_noise(tmp_path, power)
    of_a = noise.draw(torch.zeros(4_000, dtype=torch.long), 4_000, stream(0, "draw"))
    torch.testing.assert_close(
        radial_power(of_a)[1:], power[1:], rtol=0.15, atol=0
    )  # shell 1: 50 patches of 3 modes, 8 %


def test_noise_keeps_the_strength_of_its_micrograph(tmp_path: Path) -> None:
    noise = patch_noise(tmp_path)
    rows = torch.tensor([0, 130]).repeat_interleave(500)  # of a, of b
    a, b = noise.draw(rows, 1_000, stream(0, "draw")).split(500)
    assert a.var().item() == pytest.approx(1.0, rel=0.03)
    assert b.var().item() == pytest.approx(9.0, rel=0.03)
    assert a.mean().item() == pytest.approx(3.0, abs=0.02)


def test_without_optics_noise_is_that_of_any_particle(tmp_path: Path) -> None:
    drawn = patch_noise(tmp_path).draw(None, 4_000, stream(0, "draw"))
    assert drawn.var().item() == pytest.approx(0.75 * 1 + 0.25 * 9, rel=0.06)


def test_dark_patches_are_turned_white_with_the_particles(tmp_path: Path) -> None:
    white = patch_noise(tmp_path)
    dark = PatchNoise(white.background, Preprocessing(BOX, -1, 15.2, 1.0))
    drawn = [x.draw(None, 5, stream(0, "draw")) for x in (white, dark)]
    torch.testing.assert_close(drawn[0], -drawn[1])


@pytest.mark.parametrize("box", [6, 7])
def test_a_patch_is_turned_and_mirrored_in_eight_ways(box: int) -> None:
    image = torch.arange(box**2).float().reshape(1, box, box)
    every = turned(image.expand(8, -1, -1), torch.arange(8))
    assert len(torch.unique(every.flatten(1), dim=0)) == 8
    assert torch.equal(every[0], image[0])
    for one in every:
        assert torch.equal(one.flatten().sort().values, image.flatten())
        torch.testing.assert_close(radial_power(one), radial_power(image))


def test_all_turns_are_drawn(tmp_path: Path) -> None:
    noise = patch_noise(tmp_path)
    drawn = noise.draw(torch.full((4_000,), 5), 4_000, stream(0, "draw"))
    assert len(torch.unique(drawn.flatten(1), dim=0)) == 8 * 50


def test_only_patches_that_are_drawn_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise, read = patch_noise(tmp_path), []
    images = ParticleStack.images

    def counted(stack: ParticleStack, rows: Tensor) -> NDArray[np.float32]:
        read.append(len(rows))
        return images(stack, rows)

    monkeypatch.setattr(ParticleStack, "images", counted)
    noise.draw(torch.arange(16), 16, stream(0, "draw"))
    assert sum(read) == 16


def test_power_is_that_of_the_noise_as_it_is_drawn(tmp_path: Path) -> None:
    # Three quarters of the particles, but a quarter of the patches, are of a.
    power = patch_noise(tmp_path).power(ALL, 0)
    assert power.shape == (1, BOX // 2 + 1)
    assert power.mean().item() == pytest.approx(0.75 * 1 + 0.25 * 9, rel=0.05)


def test_the_power_of_each_group_is_its_own(tmp_path: Path) -> None:
    group = (np.arange(160) >= 120).astype(np.int64)
    power = patch_noise(tmp_path).power(group, 0).mean(1)
    torch.testing.assert_close(power, torch.tensor([1.0, 9.0]), rtol=0.05, atol=0)


def noisy_power(power: Tensor, count: int, name: str) -> Tensor:
    """Means of exponential draws, πk modes in each of `count` patches."""
    modes = (np.pi * torch.arange(len(power)) * count).clamp(min=1).round()
    draws = torch.randn(len(power), generator=stream(0, name))
    return power * (1 + draws / modes.sqrt())


def test_a_smooth_spectrum_gains_from_its_neighbours() -> None:
    curve = torch.exp(-1.5 * torch.linspace(0, 1, 33))
    errors = torch.zeros(2)
    for trial in range(30):
        measured = noisy_power(curve, 20, f"smooth/{trial}")
        both = torch.stack((measured, settled(measured, 20.0)))
        errors += ((both / curve - 1).square())[:, 1:-1].mean(1)
    assert errors[1] < 0.5 * errors[0]


def test_rings_stay_where_patches_are_many() -> None:
    x = torch.linspace(0, 1, 33)
    rings = torch.exp(-1.5 * x) * (1 + 0.3 * torch.sin(40 * x))
    measured = noisy_power(rings, 500, "rings")
    found = settled(measured, 500.0)[1:-1]
    torch.testing.assert_close(found, measured[1:-1], rtol=0.01, atol=0)


def test_levels_are_ratios_of_variances(tmp_path: Path) -> None:
    stack = noisy_particles(tmp_path)
    twice = {"a.mrc": (50, 1.2), "b.mrc": (50, 3.6)}
    path = write_noise(tmp_path / "ice.star", twice)
    (ratio,) = levels(stack, ALL, open_background(stack, path), 0.95)
    assert ratio == pytest.approx(1.44, rel=0.03)


@pytest.mark.parametrize("deviation", [0.5, 2.0])
def test_patches_of_another_scale_are_refused(tmp_path: Path, deviation: float) -> None:
    stack = noisy_particles(tmp_path)
    other = {"a.mrc": (50, deviation), "b.mrc": (50, 3 * deviation)}
    background = open_background(stack, write_noise(tmp_path / "ice.star", other))
    ratio = levels(stack, ALL, background, 0.95)
    with pytest.raises(InputError, match="normalise both alike"):
        check_levels(stack, ALL, ratio)
    check_levels(stack, ALL, np.sqrt(LEVELS[1]) + 0 * ratio)


def test_real_patches_are_as_strong_as_the_rims_beside_them(shared_data: Path) -> None:
    folder = shared_data / "betagal_101"
    stack = read_particles(folder / "particles_first101_128px.star")
    background = open_background(stack, folder / "background_first101_128px.star")
    group = optics_groups(stack)
    assert background.is_near.all()
    assert levels(stack, group, background, 0.95)[0] == pytest.approx(0.98, abs=0.03)
