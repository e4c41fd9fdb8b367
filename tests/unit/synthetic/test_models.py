"""Atomic models of the true conformations, in the frame of the maps."""

import dataclasses
import resource
from pathlib import Path

import gemmi
import numpy as np
import pytest
import torch

from atomic_models import models_in
from multicryogan.config import (
    DomainConfig,
    LawConfig,
    MoleculeConfig,
    MotionConfig,
    SimulationConfig,
)
from multicryogan.errors import InputError
from multicryogan.synthetic import (
    models_path,
    place_models,
    read_truth,
    simulate,
)

BOX, PIXEL_SIZE = 16, 10.0
HELD = SimulationConfig(images=4, box=BOX, pixel_size=PIXEL_SIZE)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = dataclasses.replace(HELD, law=LawConfig(kind="uniform", maps=3))
    folder = tmp_path_factory.mktemp("data") / "set"
    simulate(config, folder)
    return folder


def centre_of(density: torch.Tensor) -> np.ndarray:
    """Centre of mass of a map in Å from its corner, (x, y, z)."""
    axis = torch.arange(BOX) * PIXEL_SIZE
    total = density.sum()
    planes = (density.sum((0, 1)), density.sum((0, 2)), density.sum((1, 2)))
    return np.array([float((plane @ axis) / total) for plane in planes])


def test_models_stand_in_the_maps(data: Path) -> None:
    maps = read_truth(data).maps
    models = models_in(models_path(data))
    assert len(models) == len(maps) == 3
    for density, positions in zip(maps, models, strict=True):
        # All atoms weigh much the same: C, N and O.
        assert positions.mean(0) == pytest.approx(centre_of(density), abs=1.0)
    assert np.abs(models[0] - models[2]).max() > 20  # it moves


def test_atoms_keep_their_names(data: Path) -> None:
    structure = gemmi.read_structure(str(models_path(data)))
    chain = structure[0][0]
    assert [atom.name for atom in chain[0]] == ["N", "CA", "C", "O", "CB"]
    assert {residue.name for residue in chain} == {"ALA"}
    assert [model.num for model in structure] == [1, 2, 3]


def test_a_model_lacks_the_domain_that_its_particles_lack(tmp_path: Path) -> None:
    demo = MoleculeConfig()
    half = dataclasses.replace(demo, domain=DomainConfig(chains=("B",), share=0.5))
    config = dataclasses.replace(HELD, molecule=half, law=LawConfig(maps=2))
    simulate(config, tmp_path / "set")
    counts = [len(model) for model in models_in(models_path(tmp_path / "set"))]
    assert counts[0] == counts[2] < counts[1] == counts[3]


def test_a_table_of_many_states_has_no_models(tmp_path: Path) -> None:
    np.save(tmp_path / "law.npy", np.ones((8, 8)))
    moves = [MotionConfig(chains=(chain,), axis=(0, 0, 1)) for chain in "AB"]
    config = dataclasses.replace(
        HELD,
        molecule=MoleculeConfig(motions=tuple(moves)),
        law=LawConfig(kind="table", table=str(tmp_path / "law.npy")),
    )
    simulate(config, tmp_path / "set")
    assert not models_path(tmp_path / "set").exists()


def test_models_are_placed_by_rotation_and_offset(data: Path, tmp_path: Path) -> None:
    known = models_in(models_path(data))
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    mirror = np.diag([1.0, 1, -1])
    place_models(
        models_path(data),
        np.array([2, 0]),
        np.stack((quarter, mirror)),
        np.array([[1.0, 2, 3], [0, 0, 100]]),
        tmp_path / "placed.cif",
    )
    first, second = models_in(tmp_path / "placed.cif")
    expected = known[2] @ quarter.T + [1, 2, 3]
    np.testing.assert_allclose(first, expected, atol=2e-3)
    np.testing.assert_allclose(second, known[0] @ mirror + [0, 0, 100], atol=2e-3)


def test_too_few_models_are_refused(data: Path, tmp_path: Path) -> None:
    one = np.eye(3)[None]
    with pytest.raises(
        InputError, match=r"holds 3 models, fewer than .* simulate again"
    ):
        place_models(
            models_path(data), np.array([3]), one, np.zeros((1, 3)), tmp_path / "x.cif"
        )
    assert not (tmp_path / "x.cif").exists()


def test_models_for_which_there_is_no_room_are_an_error(
    data: Path, tmp_path: Path
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(InputError, match=r"cannot write .*x\.cif: File too large"):
            place_models(
                models_path(data),
                np.array([0]),
                np.eye(3)[None],
                np.zeros((1, 3)),
                tmp_path / "x.cif",
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
