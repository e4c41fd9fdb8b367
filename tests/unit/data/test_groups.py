"""Optics groups of several boxes, pixel sizes and noise levels behind one table."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from multicryogan.data.gains import group_gains, with_gains
from multicryogan.data.optics import group_names, optics_groups
from multicryogan.data.preprocess import Preprocessing, read_working
from multicryogan.data.sampler import ImageSampler
from multicryogan.data.spectra import Spectra, survey
from multicryogan.data.view import View
from multicryogan.fourier import fourier_resize, resampling_matrix
from multicryogan.imaging import radial_power, sample_noise
from multicryogan.io import ParticleStack, read_particles, write_stack, write_star
from multicryogan.rng import stream
from particle_files import ball_images, write_particles
from particle_files import optics_groups as optics_table

BOX = 16
# (box, Å per pixel): fields of view of 128, 128 and 130 Å
GRIDS = ((32, 4.0), (40, 3.2), (52, 2.5))
NOISE = (1.0, 1.5, 0.7)  # standard deviation in each group
EACH = 300
WIDTH, PLACE = 14.0, (20.0, -12.0)  # of a Gaussian, (x, y) in Å
PREPROCESSING = Preprocessing(BOX, 1, 7.0, 1.0)


def gaussian(box: int, pixel_size: float) -> Tensor:
    """(D, D) of amplitude 1, at PLACE."""
    axis = pixel_size * (torch.arange(box, dtype=torch.float64) - box // 2)
    x, y = ((-0.5 * ((axis - at) / WIDTH).square()).exp() for at in PLACE)
    return (y[:, None] * x).float()


def write_groups(folder: Path, images: list[Tensor]) -> ParticleStack:
    """Write one stack a group, rows of the groups in turn."""
    names = []
    for number, (stack, (_, size)) in enumerate(zip(images, GRIDS, strict=True)):
        write_stack(folder / f"g{number}.mrcs", stack, size)
        names.append([f"{i + 1:06d}@g{number}.mrcs" for i in range(len(stack))])
    rows = [name for row in zip(*names, strict=True) for name in row]
    group = np.tile([1, 2, 3], len(images[0]))
    particles = pd.DataFrame(
        {
            "rlnImageName": rows,
            "rlnOpticsGroup": group,
            "rlnDefocusU": 10_000.0,
            "rlnDefocusV": 10_000.0,
        }
    )
    optics = pd.DataFrame(
        {
            "rlnOpticsGroup": [1, 2, 3],
            "rlnVoltage": 300.0,
            "rlnSphericalAberration": 2.7,
            "rlnAmplitudeContrast": 0.1,
            "rlnImagePixelSize": [size for _, size in GRIDS],
            "rlnImageSize": [box for box, _ in GRIDS],
        }
    )
    write_star(folder / "particles.star", particles, optics)
    return read_particles(folder / "particles.star")


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> ParticleStack:
    """White noise of another strength per working mode in each group."""
    images = []
    for number, ((box, size), sigma) in enumerate(zip(GRIDS, NOISE, strict=True)):
        # Finer pixels need stronger noise for the same power at the working box.
        finer = 4.0 / size
        power = torch.full((box // 2 + 1,), (finer * sigma) ** 2)
        draws = stream(number, "test/groups")
        images.append(sample_noise((EACH, box, box), power, draws))
    return write_groups(tmp_path_factory.mktemp("groups"), images)


def test_groups_are_numbered_and_named_as_in_the_file(tmp_path: Path) -> None:
    groups = optics_table(rlnOpticsGroup=[4, 2])
    path = write_particles(tmp_path, ball_images(3), groups, rlnOpticsGroup=[4, 2, 4])
    stack = read_particles(path)
    assert optics_groups(stack).tolist() == [1, 0, 1]
    assert group_names(stack) == ["2", "4"]


def test_groups_of_one_name_are_told_by_their_boxes(tmp_path: Path) -> None:
    write_stack(tmp_path / "larger.mrcs", ball_images(1, 40), 4.0)
    names = ["000001@particles.mrcs", "000001@larger.mrcs"]
    path = write_particles(tmp_path, ball_images(2), rlnImageName=names)
    assert group_names(read_particles(path)) == ["1 (32 pixels)", "1 (40 pixels)"]


@pytest.mark.parametrize(("box", "new"), [(32, 16), (33, 16), (40, 17), (33, 21)])
def test_the_matrix_is_the_fourier_crop(box: int, new: int) -> None:
    image = torch.randn(box, box, generator=stream(0, "test/image"))
    matrix = resampling_matrix(box, new)
    torch.testing.assert_close(
        matrix @ image @ matrix.T, fourier_resize(image, new), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("ratio", [1.0, 130 / 128, 1.3])
@pytest.mark.parametrize("box", [52, 53])
def test_a_constant_stays_the_same_constant(box: int, ratio: float) -> None:
    matrix = resampling_matrix(box, 16, ratio)
    torch.testing.assert_close(matrix.sum(1), torch.ones(16), rtol=0, atol=1e-5)


@pytest.mark.parametrize("group", range(len(GRIDS)))
def test_a_gaussian_keeps_its_place_and_amplitude_in_every_group(
    tmp_path: Path, group: int
) -> None:
    images = [gaussian(*grid).expand(3, -1, -1) for grid in GRIDS]
    stack = write_groups(tmp_path, images)
    found = read_working(stack, torch.tensor([group]), PREPROCESSING, "cpu")[0]
    torch.testing.assert_close(found, gaussian(BOX, 8.0), rtol=0, atol=5e-3)


def test_the_field_of_view_is_the_smallest(noisy: ParticleStack) -> None:
    assert noisy.field_angstrom == 128.0
    assert noisy.least_box == 32
    assert [grid.box for grid in noisy.grids] == [32, 40, 52]


def test_rows_know_their_group(noisy: ParticleStack) -> None:
    assert noisy.optics_group[:6].tolist() == [0, 1, 2, 0, 1, 2]


def test_pixel_sizes_that_differ_by_rounding_are_one_grid(tmp_path: Path) -> None:
    write_stack(tmp_path / "a.mrcs", torch.ones(2, 8, 8), 4.0)
    table = pd.DataFrame(
        {
            "rlnImageName": ["1@a.mrcs", "2@a.mrcs"],
            "rlnOpticsGroup": [1, 2],
            "rlnImagePixelSize": [4.0, 4.001],
        }
    )
    write_star(tmp_path / "p.star", table, None)
    assert len(read_particles(tmp_path / "p.star").grids) == 1


def test_every_group_has_its_own_noise(noisy: ParticleStack) -> None:
    spectra = survey(noisy, noisy.optics_group, PREPROCESSING, 0, "cpu")
    # A crop from 32 to 16 pixels leaves a quarter of the variance of white noise.
    expected = 0.25 * torch.tensor(NOISE).square()
    torch.testing.assert_close(
        spectra.rim[:, 2:-1].mean(1), expected, rtol=0.05, atol=0
    )
    torch.testing.assert_close(
        spectra.raw[:, 2:-1].mean(1), expected, rtol=0.05, atol=0
    )
    torch.testing.assert_close(spectra.share, torch.full((3,), 1 / 3))


def test_small_groups_keep_their_level_and_lean_to_the_common_shape(
    noisy: ParticleStack,
) -> None:
    spectra = survey(noisy, noisy.optics_group, PREPROCESSING, 0, "cpu", most=60)
    expected = 0.25 * torch.tensor(NOISE).square()
    torch.testing.assert_close(spectra.rim[:, 2:-1].mean(1), expected, rtol=0.1, atol=0)
    shape = spectra.rim / spectra.rim[:, 2:-1].mean(1, keepdim=True)
    assert (shape[0] / shape[1])[2:-1].sub(1).abs().max() < 0.1


@pytest.mark.parametrize(("box", "ratio"), [(52, 130 / 128), (40, 1.1), (33, 1.3)])
def test_noise_is_as_strong_at_new_edges_as_within(box: int, ratio: float) -> None:
    """Rows of the matrix have one square sum: the share of modes that they keep."""
    matrix = resampling_matrix(box, BOX, ratio).double()
    kept = 2 * (math.ceil(BOX * ratio / 2) - 1) + 1
    expected = torch.full((BOX,), kept / box, dtype=torch.float64)
    torch.testing.assert_close(matrix.square().sum(1), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("ratio", [1.0, 130 / 128, 1.3])
def test_waves_below_the_new_nyquist_frequency_are_sampled(ratio: float) -> None:
    box = 52
    step = box / (ratio * BOX)
    place = torch.arange(box, dtype=torch.float64) - box // 2
    new_place = step * (torch.arange(BOX, dtype=torch.float64) - BOX // 2)
    matrix = resampling_matrix(box, BOX, ratio).double()
    for order in range(math.ceil(BOX * ratio / 2)):
        wave, sampled = (
            (2 * math.pi * order * x / box + 0.3).cos() for x in (place, new_place)
        )
        torch.testing.assert_close(matrix @ wave, sampled, rtol=0, atol=1e-5)


def test_all_groups_are_shown_with_the_same_noise(noisy: ParticleStack) -> None:
    group = torch.from_numpy(noisy.optics_group)
    optics = noisy.ctf_params()
    assert optics is not None
    optics = replace(optics, group=group)
    spectra = survey(noisy, noisy.optics_group, PREPROCESSING, 0, "cpu")
    sampler = ImageSampler(noisy, PREPROCESSING, 0, optics)
    view = View(PREPROCESSING, 8.0, True, spectra.equaliser())
    images, some = sampler.take(torch.arange(len(noisy)))
    shown = view(images, some)
    power = torch.stack([radial_power(shown.images[group == g]) for g in range(3)])
    torch.testing.assert_close(
        power[:, 2:-1].mean(1), power[:1, 2:-1].mean(1).expand(3), rtol=0.05, atol=0
    )


def test_the_gain_of_a_group_is_the_root_of_its_power() -> None:
    """Power beyond the noise is a² c² S, whatever the noise and the CTFs."""
    ring = torch.arange(1.0, BOX // 2 + 1)
    squared = torch.stack(((0.3 * ring).cos() ** 2, (0.2 * ring).sin() ** 2))
    signal, gain = 5 * torch.exp(-ring / 3), torch.tensor([1.2, 0.6])
    rim = torch.tensor([[1.0], [2.0]]).expand(2, BOX // 2 + 1)
    raw = rim.clone()
    raw[:, 1:] += gain.square()[:, None] * squared * signal
    share = torch.tensor([0.25, 0.75])
    found = group_gains(Spectra(rim, raw, share), squared, 10**9).float()
    mean = (share @ gain.square()).sqrt()
    torch.testing.assert_close(found, gain / mean, rtol=1e-4, atol=0)


def test_few_particles_lean_to_a_gain_of_one() -> None:
    rim = torch.ones(2, BOX // 2 + 1)
    raw = rim * torch.tensor([[2.0], [9.0]])
    spectra = Spectra(rim, raw, torch.tensor([0.999, 0.001]))
    found = group_gains(spectra, torch.ones(2, BOX // 2), 10_000)
    assert 1 < found[1] < 1.5
    assert found[0] == pytest.approx(1, abs=0.01)


def test_gains_multiply_the_scale_of_the_particles(noisy: ParticleStack) -> None:
    optics = noisy.ctf_params()
    assert optics is not None
    optics = replace(optics, group=torch.from_numpy(noisy.optics_group))
    spectra = survey(noisy, noisy.optics_group, PREPROCESSING, 0, "cpu")
    once = with_gains(optics, spectra, 128.0).scale
    doubled = replace(optics, scale=torch.full((len(noisy),), 2.0))
    twice = with_gains(doubled, spectra, 128.0).scale
    assert once is not None
    assert twice is not None
    torch.testing.assert_close(twice, 2 * once)
    assert torch.equal(once[:3], once[3:6])  # rows of three groups in turn
    assert len(once.unique()) == 3
