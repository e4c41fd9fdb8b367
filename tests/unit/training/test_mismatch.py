"""Whether real images can be told from images of the true volumes."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from multicryogan.config import RunConfig
from multicryogan.data.sampler import ImageSampler
from multicryogan.errors import InputError
from multicryogan.fourier import fourier_resize
from multicryogan.imaging import CTFParams, radial_power
from multicryogan.io import ParticleStack, read_particles
from multicryogan.networks import Discriminator
from multicryogan.rng import Shard, stream
from multicryogan.training import mismatch
from multicryogan.training.mismatch import (
    Area,
    Mismatch,
    area_by_power,
    area_under_curve,
    compare,
    compare_powers,
    measure_mismatch,
    true_generator,
)
from multicryogan.training.stage import Stage, open_stage
from training_data import POINTS_PX, SIGMA_PX, tiny_config, write_particles

IMAGES, BOX = 16_000, 16
ONE = torch.ones(1)
NOISE = torch.full((BOX // 2 + 1,), 0.09 / 4)  # white at 32 pixels, values kept
SETTINGS = tiny_config(
    {
        "discriminator": {"templates": 32},
        "train": {"volumes_per_batch": 8, "poses_per_volume": 16},
    }
)


def molecule() -> Tensor:
    """(32, 32, 32) density whose projections are the images of `training_data`."""
    axis = torch.arange(32) - 16
    volume = torch.zeros((32,) * 3)
    for x, y, z in POINTS_PX:
        sides = [(-((axis - at) ** 2) / (2 * SIGMA_PX**2)).exp() for at in (z, y, x)]
        volume += torch.einsum("i,j,k->ijk", *sides)
    return volume / (SIGMA_PX * math.sqrt(2 * math.pi))


@pytest.fixture(scope="module")
def particles(tmp_path_factory: pytest.TempPathFactory) -> ParticleStack:
    return read_particles(write_particles(tmp_path_factory.mktemp("many"), IMAGES))


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> ParticleStack:
    return read_particles(write_particles(tmp_path_factory.mktemp("few"), 512))


@pytest.fixture(scope="module")
def stage(particles: ParticleStack) -> Stage:
    return open_stage(SETTINGS, particles, 1, BOX, Shard(), "cpu", math.inf)


def found(
    monkeypatch: pytest.MonkeyPatch,
    stage: Stage,
    volume: Tensor,
    power: Tensor,
    updates: int,
) -> Mismatch:
    """Compare under a noise of this power."""
    monkeypatch.setattr(mismatch, "UPDATES", updates)
    own = replace(stage, spectra=replace(stage.spectra, rim=power[None]))
    return compare(SETTINGS, own, true_generator(volume[None], ONE, BOX))


def test_the_truth_cannot_be_told_apart(
    monkeypatch: pytest.MonkeyPatch, particles: ParticleStack
) -> None:
    monkeypatch.setattr(mismatch, "UPDATES", 60)
    result = measure_mismatch(SETTINGS, particles, 1, molecule()[None], ONE, BOX)
    assert not result.by_network.is_clear
    assert result.by_network.error < 0.01
    assert result.problem is None


def test_noise_5_percent_too_strong_in_some_shells_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, stage: Stage
) -> None:
    power = NOISE.clone()
    power[5:8] *= 1.05
    result = found(monkeypatch, stage, molecule(), power, 4)
    assert result.by_power.is_clear
    power_there = stage.spectra.raw[0, 5:8]
    expected = power_there / (power_there + 0.05 * NOISE[5:8])
    torch.testing.assert_close(
        (result.scale * result.ratio[5:8]).float(), expected, rtol=0.01, atol=0
    )
    assert 7 in result.odd_shells()


def test_a_wrong_molecule_is_told_apart_by_the_network(
    monkeypatch: pytest.MonkeyPatch, stage: Stage
) -> None:
    wrong = 0.5 * (molecule().roll(6, 0) + molecule().roll(-6, 0))
    result = found(monkeypatch, stage, wrong, NOISE, 60)
    assert result.by_network.value > 0.6
    assert result.by_network.is_clear


def test_what_is_known_by_heart_does_not_count(
    monkeypatch: pytest.MonkeyPatch, few: ParticleStack
) -> None:
    """256 images are learned; the other 256 look like the simulated ones."""
    monkeypatch.setattr(mismatch, "UPDATES", 100)
    result = measure_mismatch(SETTINGS, few, 1, molecule()[None], ONE, BOX)
    assert not result.by_network.is_clear


def test_no_image_is_seen_before_it_is_scored(
    monkeypatch: pytest.MonkeyPatch, few: ParticleStack
) -> None:
    """Rows read once scoring has begun are not among those of the training."""
    monkeypatch.setattr(mismatch, "UPDATES", 3)
    phases: list[set[int]] = [set()]
    take = ImageSampler.take

    def collect(self: ImageSampler, rows: Tensor) -> tuple[Tensor, CTFParams | None]:
        phases[-1].update(rows.tolist())
        return take(self, rows)

    def train(
        config: RunConfig, stage: Stage, generator: mismatch.Generator, rows: Tensor
    ) -> Discriminator:
        phases.append(set())
        trained = train_before(config, stage, generator, rows)
        phases.append(set())
        return trained

    train_before = mismatch._train
    monkeypatch.setattr(ImageSampler, "take", collect)
    monkeypatch.setattr(mismatch, "_train", train)
    measure_mismatch(SETTINGS, few, 1, molecule()[None], ONE, BOX)
    _, trained, scored = phases
    assert len(trained) > 100
    assert len(scored) == 256
    assert not trained & scored


def test_a_comparison_repeats_exactly(
    monkeypatch: pytest.MonkeyPatch, few: ParticleStack
) -> None:
    monkeypatch.setattr(mismatch, "UPDATES", 4)
    first, again = (
        measure_mismatch(SETTINGS, few, 1, molecule()[None], ONE, BOX) for _ in range(2)
    )
    assert first.by_network == again.by_network
    assert torch.equal(first.ratio, again.ratio)


def test_true_maps_make_images_as_strong_as_the_real_ones(stage: Stage) -> None:
    generator = true_generator(molecule()[None], ONE, BOX)
    sampled = stage.simulator.sample(generator, 0 * NOISE, (4, 512), 0)
    ours = radial_power(sampled.clean.flatten(0, 1))[1:4]
    theirs = stage.spectra.raw[0, 1:4] - NOISE[1:4]
    torch.testing.assert_close(ours, theirs, rtol=0.04, atol=0)


def test_projections_of_resized_maps_are_resized_projections() -> None:
    made = true_generator(molecule()[None], ONE, BOX)(torch.zeros(1, 1))
    along_z = made[0].sum(0)
    expected = fourier_resize(molecule().sum(0), BOX)
    torch.testing.assert_close(along_z, expected, rtol=0, atol=1e-5)


def test_maps_are_drawn_by_their_weights() -> None:
    maps = torch.arange(3.0)[:, None, None, None].expand(3, 4, 4, 4)
    generate = true_generator(maps, torch.tensor([0.5, 0.0, 1.5]), 4)
    latent = torch.linspace(0, 0.999, 1000)[:, None]
    drawn = generate(latent)[:, 0, 0, 0]
    assert [(drawn == k).sum().item() for k in range(3)] == [250, 0, 750]


def test_too_few_particles_are_refused(stack: ParticleStack) -> None:
    with pytest.raises(InputError, match="96 particles, too few"):
        measure_mismatch(SETTINGS, stack, 1, molecule()[None], ONE, BOX)


def test_area_under_the_curve_counts_pairs() -> None:
    """Of six pairs high wins three, ties one."""
    area = area_under_curve(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 2.5]))
    assert area.value == pytest.approx((0 + 0.5 + 2) / 6)


def test_area_of_two_normal_laws() -> None:
    """Phi(d / sqrt 2) at a distance d, error 1 / sqrt(6 N) at none."""
    draws = torch.randn((2, 20_000), generator=stream(0, "test/scores"))
    apart = area_under_curve(draws[0] + 1, draws[1])
    assert apart.value == pytest.approx(0.5 * (1 + math.erf(0.5)), abs=0.008)
    assert area_under_curve(draws[0], draws[1]).error == pytest.approx(
        (6 * 20_000) ** -0.5, rel=0.01
    )


def test_area_by_power_is_that_of_the_best_linear_rule() -> None:
    """Two shells of unit spread and one far off: d is the distance over the spread."""
    draws = torch.randn((2, 20_000, 3), generator=stream(0, "test/powers"))
    real = draws[0] + torch.tensor([0.3, -0.4, 0.0])
    area = area_by_power(real, draws[1])
    assert area.value == pytest.approx(0.5 * (1 + math.erf(0.25)), abs=0.008)


def test_areas_by_power_scatter_as_their_error_says() -> None:
    """The two halves score alike: their mean is as uncertain as one of them."""
    draws = torch.randn((2, 100, 200, 4), generator=stream(0, "test/scatter"))
    areas = [area_by_power(a, b) for a, b in zip(*draws, strict=True)]
    scatter = torch.tensor([area.value for area in areas]).std().item()
    assert scatter == pytest.approx(areas[0].error, rel=0.2)


def test_powers_are_compared_apart_from_their_strength() -> None:
    fake = torch.ones(10, 6)
    real = fake * torch.tensor([1.0, 2.0, 2.0, 2.2, 2.0, 1.0])
    scale, ratio, error = compare_powers(real, fake)
    assert scale == pytest.approx((2 * (1 + 2 + 4) + 2.2 * 3) / 10)
    assert (ratio[3] / ratio[2]).item() == pytest.approx(1.1)
    assert (error == 0).all()


def test_the_error_of_a_ratio_covers_both_sides() -> None:
    """Powers of unit mean and deviation 1 (a single mode): sqrt(2 / N)."""
    draws = torch.rand((2, 10_000, 4), generator=stream(0, "test/ratio"))
    real, fake = -draws.log()
    _, _, error = compare_powers(real, fake)
    torch.testing.assert_close(
        error, torch.full_like(error, (2 / 10_000) ** 0.5), rtol=0.05, atol=0
    )


def mismatch_of(ratio: float, error: float, area: float = 0.5) -> Mismatch:
    """At a box of 8, shell 2 differs."""
    ratios = torch.ones(5)
    ratios[2] = ratio
    areas = Area(area, 0.01), Area(0.5, 0.01)
    return Mismatch(8, 5.0, *areas, 1.0, ratios, torch.full((5,), error))


@pytest.mark.parametrize(
    ("ratio", "shells"), [(1.02, [2]), (0.98, [2]), (1.01, []), (0.99, [])]
)
def test_a_shell_is_odd_beyond_three_errors(ratio: float, shells: list[int]) -> None:
    assert mismatch_of(ratio, 0.005).odd_shells() == shells


def test_a_problem_names_areas_and_shells() -> None:
    problem = mismatch_of(1.02, 0.005, 0.6).problem
    assert problem is not None
    assert "can be told" in problem
    assert "0.600 +- 0.010" in problem
    assert "2 (+2.0%)" in problem


def test_what_cannot_be_told_apart_is_no_problem() -> None:
    """A shell off by a percent is seen in the mean of many images alone."""
    assert mismatch_of(1.02, 0.005, 0.52).problem is None


def test_the_table_has_a_line_for_each_shell() -> None:
    lines = mismatch_of(1.02, 0.005).table()
    assert lines[-2].split() == ["2", "20.0", "+2.00%", "0.50%"]
