"""Known atoms in recovered maps."""

from pathlib import Path

import numpy as np
import pytest
import torch

from atomic_models import models_in
from multicryogan.cli.atoms import read_known, write_atoms
from multicryogan.cli.volumes import volumes
from multicryogan.config import LawConfig, RunConfig, SimulationConfig
from multicryogan.errors import InputError
from multicryogan.evaluation.rigid import mirror, move
from multicryogan.rng import stream
from multicryogan.rotations import random_rotations
from multicryogan.synthetic import models_path, read_truth, simulate

BOX, VOXEL_SIZE = 24, 7.0
ORDER = (2, 0, 1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    law = LawConfig(kind="uniform", maps=3)
    folder = tmp_path_factory.mktemp("data") / "set"
    simulate(
        SimulationConfig(images=2, box=BOX, pixel_size=VOXEL_SIZE, law=law), folder
    )
    return folder


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_atoms_go_where_their_map_went(
    data: Path, tmp_path: Path, is_mirrored: bool
) -> None:
    maps = read_truth(data).maps[list(ORDER)]
    rotation = random_rotations((3,), stream(3, "pose"))
    shift = torch.tensor([[1.0, -2.0, 0.5], [0.0, 1.0, 1.0], [-1.0, 0.0, 2.0]])
    seen = mirror(maps) if is_mirrored else maps
    moved = move(seen, rotation, shift)
    known = read_known(data, moved, VOXEL_SIZE, tmp_path)
    write_atoms(moved, known, tmp_path)
    placed = models_in(tmp_path / "atoms.cif")
    true = models_in(models_path(data))
    centre = BOX // 2 * VOXEL_SIZE
    hand = np.diag([1.0, 1.0, -1.0 if is_mirrored else 1.0])
    for n, state in enumerate(ORDER):
        turn = rotation[n].numpy() @ hand
        expected = (true[state] - centre) @ turn.T + centre
        expected = expected + VOXEL_SIZE * shift[n].numpy()
        away = np.linalg.norm(placed[n] - expected, axis=1)
        assert away.max() < 0.6 * VOXEL_SIZE


class Known:
    """A generator that knows three maps."""

    def __init__(self, maps: torch.Tensor) -> None:
        self.box, self.maps = maps.shape[-1], maps

    def __call__(self, latent: torch.Tensor) -> torch.Tensor:
        """Make one volume per latent (V, 1)."""
        return self.maps[(2 * latent[:, 0]).round().long()]


def test_volumes_puts_them_beside_the_maps(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = (Known(mirror(read_truth(data).maps)), RunConfig(), VOXEL_SIZE)
    monkeypatch.setattr("multicryogan.training.load_snapshot", lambda run: found)
    assert volumes(tmp_path / "run", output=tmp_path / "maps", count=3, truth=data) == 0
    assert len(models_in(tmp_path / "maps" / "atoms.cif")) == 3
    assert "coordset slider" in (tmp_path / "maps" / "atoms.cxc").read_text()
    assert "atoms, which were mirrored" in capsys.readouterr().out


def test_a_truth_that_is_refused_leaves_earlier_maps(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = (Known(read_truth(data).maps), RunConfig(), VOXEL_SIZE)
    monkeypatch.setattr("multicryogan.training.load_snapshot", lambda run: found)
    out = tmp_path / "maps"
    assert volumes(tmp_path / "run", output=out, count=5) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(InputError, match=r"models\.cif is missing"):
        volumes(tmp_path / "run", output=out, count=3, truth=tmp_path)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_table_without_models_and_other_data_get_one_line(
    data: Path, tmp_path: Path
) -> None:
    maps = read_truth(data).maps
    with pytest.raises(InputError, match=r"span 240\.0 Å"):
        read_known(data, maps, 10.0, tmp_path)
    (tmp_path / "truth").mkdir()
    with pytest.raises(InputError, match=r"models\.cif is missing: .* leave --truth"):
        read_known(tmp_path, maps, VOXEL_SIZE, tmp_path)
