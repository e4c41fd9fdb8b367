"""From a molecule's config to centred atoms that move."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from multicryogan.config import MoleculeConfig, MotionConfig, SimulationConfig
from multicryogan.errors import InputError
from multicryogan.synthetic.conformations import Frames, motion_ball
from multicryogan.synthetic.groups import Geometry, optics_groups
from multicryogan.synthetic.molecule import check_extent, load_conformations
from multicryogan.tables import build, read_toml

CONFIGS = Path(__file__).parents[3] / "configs"
HSP90_CONFIGS = sorted(
    file.stem for file in CONFIGS.glob("*.toml") if "monoA_snip" in file.read_text()
)
PAIR = [
    ("CA", "C", "A", 1, (0.0, 0.0, 0.0)),
    ("CB", "C", "A", 1, (0.0, 0.0, 4.0)),
    ("CA", "C", "B", 9, (0.0, 30.0, 0.0)),
]
MOVE_B = MotionConfig(chains=("B",), range_deg=(0.0, 90.0))


Landscape = Callable[..., np.ndarray]
PdbWriter = Callable[..., Path]


def superposed_rmsd(a: np.ndarray, b: np.ndarray) -> float:
    """Root mean square distance of (A, 3) positions after the best rigid motion."""
    a, b = a - a.mean(0), b - b.mean(0)
    u, _, vt = np.linalg.svd(a.T @ b)
    u[:, -1] *= np.sign(np.linalg.det(u @ vt))
    return float(np.sqrt(((a @ u @ vt - b) ** 2).sum(1).mean()))


@pytest.fixture(scope="module")
def landscape(shared_data: Path) -> Landscape:
    """CA positions of Hsp90 as a function of (beta, phi) in degrees."""
    values = read_toml(CONFIGS / "landscape.toml")
    config = build(SimulationConfig, values).molecule
    conformations = load_conformations(config, shared_data / "hsp90")
    from multicryogan.synthetic.structure import read_structures

    atoms = read_structures(config.structures, shared_data / "hsp90")
    is_ca = atoms.names == "CA"
    return lambda *angles: conformations.positions(np.array(angles))[is_ca]


def test_hsp90_recipe_gives_the_reference_frames(
    landscape: Landscape, shared_data: Path
) -> None:
    path = shared_data / "hsp90" / "reference_frames_ca.npz"
    reference = np.load(path)["models"].transpose(0, 2, 1).astype(float)
    worst = max(
        superposed_rmsd(landscape(beta, 2.0), frame)
        for beta, frame in enumerate(reference, start=1)
    )
    assert worst < 0.001


@pytest.mark.parametrize(
    ("beta", "rmsd"), [(5, 2.88), (10, 5.75), (15, 8.59), (20, 11.40)]
)
def test_hsp90_opens_by_the_known_rmsd(
    landscape: Landscape, beta: float, rmsd: float
) -> None:
    found = superposed_rmsd(landscape(0.0, 0.0), landscape(beta, 0.0))
    assert found == pytest.approx(rmsd, abs=0.01)


def test_hsp90_twist_commutes_with_opening(landscape: Landscape) -> None:
    moved_by_twist = landscape(10.0, 30.0) - landscape(10.0, 0.0)
    np.testing.assert_allclose(
        moved_by_twist, landscape(0.0, 30.0) - landscape(0.0, 0.0), atol=1e-9
    )


def test_frames_of_ca_atoms_give_a_ca_model(shared_data: Path) -> None:
    config = MoleculeConfig(
        structures=("monoA_snip.pdb", "monoB_snip.pdb"),
        frames="reference_frames_ca.npz",
    )
    frames = load_conformations(config, shared_data / "hsp90")
    assert isinstance(frames, Frames)
    assert frames.frames.shape == (20, 1207, 3)


@pytest.mark.parametrize("name", HSP90_CONFIGS)
def test_hsp90_configs_fit_their_box(name: str, shared_data: Path) -> None:
    config = build(SimulationConfig, read_toml(CONFIGS / f"{name}.toml"))
    conformations = load_conformations(config.molecule, shared_data / "hsp90")
    for group in optics_groups(config):
        check_extent(conformations, group.geometry)
    assert motion_ball(conformations)[1] < 72


def test_whole_motion_is_centred(write_pdb: PdbWriter) -> None:
    path = write_pdb("pair.pdb", PAIR)
    config = MoleculeConfig(structures=(str(path),), motions=(MOVE_B,))
    centre, _ = motion_ball(load_conformations(config, Path()))
    assert np.abs(centre).max() < 0.1


def test_multi_model_pdb_gives_frames(write_pdb: PdbWriter) -> None:
    moved = [(*atom[:4], (5.0, *atom[4][1:])) for atom in PAIR]
    path = write_pdb("models.pdb", PAIR, moved)
    frames = load_conformations(MoleculeConfig(frames=str(path)), Path())
    assert isinstance(frames, Frames)
    move = frames.frames[1] - frames.frames[0]
    np.testing.assert_allclose(move, np.tile([5.0, 0, 0], (3, 1)))


@pytest.mark.parametrize("is_transposed", [False, True])
def test_npz_frames_may_have_the_axes_either_way(
    write_pdb: PdbWriter, tmp_path: Path, is_transposed: bool
) -> None:
    path = write_pdb("pair.pdb", [*PAIR, ("C", "C", "B", 9, (0.0, 0.0, 9.0))])
    frames = np.arange(24.0).reshape(2, 4, 3)
    stored = frames.transpose(0, 2, 1) if is_transposed else frames
    np.savez(tmp_path / "frames.npz", coordinates=stored)
    config = MoleculeConfig(structures=(str(path),), frames="frames.npz")
    loaded = load_conformations(config, tmp_path)
    assert isinstance(loaded, Frames)
    move = loaded.frames[1] - loaded.frames[0]
    np.testing.assert_allclose(move, frames[1] - frames[0])


@pytest.mark.parametrize(
    ("motion", "message"),
    [
        (MotionConfig(chains=("Q",)), "selects no atoms.*chains A, B"),
        (MotionConfig(chains=("A",), residues=(50, 60)), "selects no atoms"),
        (MotionConfig(), "selects all atoms"),
        (replace(MOVE_B, axis=(0.0, 0.0, 0.0)), "axis of length zero"),
    ],
)
def test_unusable_motion_is_refused(
    write_pdb: PdbWriter, motion: MotionConfig, message: str
) -> None:
    path = write_pdb("pair.pdb", PAIR)
    config = MoleculeConfig(structures=(str(path),), motions=(motion,))
    with pytest.raises(InputError, match=message):
        load_conformations(config, Path())


def test_three_motions_are_refused(write_pdb: PdbWriter) -> None:
    path = write_pdb("pair.pdb", PAIR)
    config = MoleculeConfig(structures=(str(path),), motions=(MOVE_B,) * 3)
    with pytest.raises(InputError, match="3 motions; at most 2"):
        load_conformations(config, Path())


def test_frames_and_motions_together_are_refused() -> None:
    config = MoleculeConfig(frames="a.npz", motions=(MOVE_B,))
    with pytest.raises(InputError, match="keep one"):
        load_conformations(config, Path())


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros((2, 7, 3))}, "has 7 atoms; the structure has 3, 2 of them CA"),
        ({"a": np.zeros((1, 3, 3))}, "holds one frame"),
        ({"a": np.zeros((2, 3))}, "expected one array"),
        ({"a": np.zeros((2, 3, 3)), "b": np.zeros(3)}, "expected one array"),
        ({"a": np.full((2, 3, 3), np.nan)}, "not finite"),
        ({"a": np.array([None, "x"])}, "cannot read"),
    ],
)
def test_unusable_npz_frames_are_refused(
    write_pdb: PdbWriter, tmp_path: Path, arrays: dict, message: str
) -> None:
    path = write_pdb("pair.pdb", PAIR)
    np.savez(tmp_path / "frames.npz", **arrays)
    config = MoleculeConfig(structures=(str(path),), frames="frames.npz")
    with pytest.raises(InputError, match=message):
        load_conformations(config, tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.txt", "expected .npz"),
        ("a.npz", "cannot read .*No such file"),
        ("a.pdb", "no struct"),
    ],
)
def test_absent_frames_are_refused(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        load_conformations(MoleculeConfig(frames=name), tmp_path)


def test_damaged_npz_frames_are_refused(write_pdb: PdbWriter, tmp_path: Path) -> None:
    path = write_pdb("pair.pdb", PAIR)
    np.savez(tmp_path / "frames.npz", a=np.zeros((2, 3, 3)))
    data = (tmp_path / "frames.npz").read_bytes()
    (tmp_path / "frames.npz").write_bytes(data[: len(data) // 2])
    config = MoleculeConfig(structures=(str(path),), frames="frames.npz")
    with pytest.raises(InputError, match="it is damaged"):
        load_conformations(config, tmp_path)


def test_models_of_different_atoms_are_refused(write_pdb: PdbWriter) -> None:
    path = write_pdb("models.pdb", PAIR, PAIR[:2])
    with pytest.raises(InputError, match="same atoms"):
        load_conformations(MoleculeConfig(frames=str(path)), Path())


def test_too_small_a_box_is_refused_with_one_that_fits() -> None:
    conformations = load_conformations(MoleculeConfig(), Path())
    with pytest.raises(InputError, match="use box = 30 or larger pixels"):
        check_extent(conformations, Geometry(16, 5.0, 7.5))
    check_extent(conformations, Geometry(30, 5.0, 7.5))
