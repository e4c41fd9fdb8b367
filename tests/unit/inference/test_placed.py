"""Folders of assign whose arrays are damaged or belong to other particles."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multicryogan.errors import InputError
from multicryogan.inference import read_placed, read_series
from multicryogan.inference.placed import read_best

PARTICLES, COUNT = 30, 3


def arrays() -> dict[str, np.ndarray]:
    return {
        "conformation_latents": np.zeros((COUNT, 1), np.float32),
        "conformation_prior": np.ones(COUNT),
        "conformation_weight": np.ones((PARTICLES, COUNT)),
        "conformation": np.zeros(PARTICLES, np.int64),
        "latent": np.zeros((PARTICLES, 1)),
        "latent_spread": np.zeros((PARTICLES, 1)),
        "rotation": np.zeros((PARTICLES, 3, 3)),
        "shift_angstrom": np.zeros((PARTICLES, 2)),
        "log_likelihood": np.zeros(PARTICLES),
    }


@pytest.mark.parametrize("read", [read_placed, read_best, read_series])
def test_a_damaged_archive_gets_one_line_with_the_cure(
    tmp_path: Path, read: Callable[[Path], Any]
) -> None:
    path = tmp_path / "latents.npz"
    np.savez(path, **arrays())
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"latents\.npz: it is damaged .*assign again"):
        read(tmp_path)


@pytest.mark.parametrize("read", [read_placed, read_best])
def test_a_folder_without_one_is_none_of_assign(
    tmp_path: Path, read: Callable[[Path], Any]
) -> None:
    with pytest.raises(InputError, match="give a folder made by assign"):
        read(tmp_path)


@pytest.mark.parametrize("read", [read_placed, read_best])
def test_arrays_of_other_particles_are_refused(
    tmp_path: Path, read: Callable[[Path], Any]
) -> None:
    fewer = {"conformation": np.zeros(PARTICLES - 1, np.int64)}
    np.savez(tmp_path / "latents.npz", **{**arrays(), **fewer})
    with pytest.raises(InputError, match="does not fit the other arrays"):
        read(tmp_path)


def test_what_is_told_of_each_particle_comes_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "latents.npz", **arrays())
    found = read_best(tmp_path)
    assert found["rotation"].shape == (PARTICLES, 3, 3)
    assert found["conformation"].dtype == np.int64
