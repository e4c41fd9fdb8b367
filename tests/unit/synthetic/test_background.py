"""Patches of noise alone, and the contrast that a file tells or keeps."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from multicryogan.config import GroupConfig, LawConfig, SimulationConfig
from multicryogan.io import read_particles
from multicryogan.io.star import read_star
from multicryogan.synthetic import read_truth, simulate

GROUPS = (GroupConfig(), GroupConfig(box=40, pixel_size=4.0, noise_factor=2.0))
CONFIG = SimulationConfig(
    images=500,
    groups=GROUPS,
    law=LawConfig(maps=2),
    noise_falloff_angstrom=20.0,
    background_patches=300,
    contrast_spread=0.3,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("background") / "set"
    simulate(CONFIG, folder)
    return folder


def patches_of(folder: Path, group: int) -> np.ndarray:
    stack = read_particles(folder / "background.star")
    return stack.images(np.flatnonzero(stack.table["rlnOpticsGroup"] == group))


def test_there_are_as_many_patches_as_asked_for(folder: Path) -> None:
    stack = read_particles(folder / "background.star")
    assert len(stack) == 300
    assert stack.file_problems() == ()


def test_patches_have_the_noise_of_the_particles(folder: Path, tmp_path: Path) -> None:
    simulate(replace(CONFIG, snr_db=np.inf), tmp_path / "clean")
    truth = read_truth(folder)
    for group in (1, 2):
        rows = np.flatnonzero(truth.group.numpy() == group)
        noisy, clean = (
            read_particles(path / "particles.star").images(rows)
            for path in (folder, tmp_path / "clean")
        )
        patches, noise = patches_of(folder, group), noisy - clean
        assert patches.var() / noise.var() == pytest.approx(1, abs=0.03)
        # Neighbouring pixels of coloured noise are correlated, alike in both.
        found, expected = (correlation_of_neighbours(x) for x in (patches, noise))
        assert expected > 0.1
        assert found == pytest.approx(expected, abs=0.02)
        count = min(len(patches), len(noise))
        alike = np.corrcoef(patches[:count].ravel(), noise[:count].ravel())[0, 1]
        assert abs(alike) < 0.02


def correlation_of_neighbours(images: np.ndarray) -> float:
    left, right = images[:, :, :-1].ravel(), images[:, :, 1:].ravel()
    return float(np.corrcoef(left, right)[0, 1])


def test_patches_have_the_optics_of_their_micrographs(folder: Path) -> None:
    particles = read_star(folder / "particles.star")
    patches = read_star(folder / "background.star")
    of_particles, of_patches = (f.find("particles") for f in (particles, patches))
    assert of_particles is not None
    assert of_patches is not None
    shared = [name for name in of_particles if name != "rlnImageName"]
    known = {tuple(row) for row in of_particles[shared].to_numpy().tolist()}
    assert {tuple(row) for row in of_patches[shared].to_numpy().tolist()} <= known
    names = set(of_particles["rlnMicrographName"])
    assert set(of_patches["rlnMicrographName"]) == names
    optics = [file.find("optics") for file in (particles, patches)]
    assert optics[0] is not None
    assert optics[0].equals(optics[1])


def test_without_patches_nothing_is_written(tmp_path: Path) -> None:
    simulate(replace(CONFIG, images=20, background_patches=0), tmp_path / "set")
    assert list((tmp_path / "set").glob("background*")) == []


def test_more_patches_than_particles_are_spread_over_them(tmp_path: Path) -> None:
    config = replace(CONFIG, images=20, background_patches=50, groups=())
    simulate(config, tmp_path / "set")
    stack = read_particles(tmp_path / "set" / "background.star")
    assert len(stack) == 50
    assert len(set(stack.table["rlnDefocusU"])) == 20
    assert len(np.unique(stack.images(np.arange(50))[:, 0, 0])) == 50


def test_contrast_is_in_the_truth_and_not_in_the_file(folder: Path) -> None:
    truth = read_truth(folder)
    assert truth.scale.log().std().item() == pytest.approx(0.3, rel=0.1)
    table = read_particles(folder / "particles.star").table
    assert (table["rlnCtfScalefactor"] == 1).all()


def test_contrast_is_in_the_file_when_asked_for(tmp_path: Path) -> None:
    config = replace(CONFIG, images=20, contrast_in_star=True)
    simulate(config, tmp_path / "set")
    table = read_particles(tmp_path / "set" / "particles.star").table
    scale = read_truth(tmp_path / "set").scale
    np.testing.assert_allclose(table["rlnCtfScalefactor"], scale, rtol=1e-6)


def test_a_particle_without_spread_has_a_contrast_of_one(tmp_path: Path) -> None:
    simulate(replace(CONFIG, images=20, contrast_spread=0.0), tmp_path / "set")
    assert (read_truth(tmp_path / "set").scale == 1).all()
