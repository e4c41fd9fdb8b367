"""Poses, optics and latents reach cryoDRGN in its own conventions."""

import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest
import torch

from multicryogan.io import (
    CryodrgnTables,
    OpticsOverride,
    cryodrgn_tables,
    read_particles,
    write_cryodrgn,
)


def tables(count: int = 5) -> CryodrgnTables:
    values = np.random.default_rng(1).normal(size=(count, 25)).astype(np.float32)
    return CryodrgnTables(
        rotation=values[:, :9].reshape(count, 3, 3),
        translation=values[:, 9:11],
        latent=values[:, 11:14],
        ctf=values[:, 14:23],
    )


@pytest.mark.parametrize(
    ("name", "box", "golden_poses", "golden_ctf"),
    [
        (
            "FinalRefinement-OriginalParticles-PfCRT.star",
            300,
            "pose.star.npz",
            "ctf1.npz",
        ),
        ("cryosparc_P12_J24_001_particles.cs", 180, "pose.cs.npz", "ctf2.npz"),
    ],
)
def test_tables_equal_those_of_cryodrgns_own_parsers(
    shared_data: Path, name: str, box: int, golden_poses: str, golden_ctf: str
) -> None:
    folder = shared_data / "star_dialects"
    weight = 0.1 if name.endswith(".star") else None
    stack = read_particles(
        folder / name, optics=OpticsOverride(amplitude_contrast=weight)
    )
    rotation, shift = stack.rotations(), stack.shifts_angstrom()
    found = cryodrgn_tables(
        rotation,
        shift,
        torch.zeros(len(stack), 1),
        np.full(len(stack), box),
        stack.pixel_sizes,
        stack.ctf_params(),
    )
    poses = np.load(folder / "golden" / golden_poses)
    np.testing.assert_allclose(found.rotation, poses["rot"], atol=1e-5)
    np.testing.assert_allclose(found.translation, poses["trans"], atol=1e-6)
    expected = np.load(folder / "golden" / golden_ctf)["arr"]
    np.testing.assert_allclose(found.ctf, expected, rtol=1e-6, atol=1e-6)


def test_numpy_files_hold_what_was_given(tmp_path: Path) -> None:
    given = tables()
    write_cryodrgn(tmp_path, given)
    names = {"poses.npz", "ctf.npz", "z.npz"}
    assert {path.name for path in tmp_path.iterdir()} == names
    poses, z, ctf = (
        np.load(tmp_path / f"{name}.npz", allow_pickle=False)
        for name in ("poses", "z", "ctf")
    )
    np.testing.assert_array_equal(poses["rotation"], given.rotation)
    np.testing.assert_array_equal(poses["translation"], given.translation)
    np.testing.assert_array_equal(z["z"], given.latent)
    np.testing.assert_array_equal(ctf["ctf"], given.ctf)


def test_pickles_hold_a_tuple_of_poses_and_plain_arrays(tmp_path: Path) -> None:
    given = tables()
    write_cryodrgn(tmp_path, given, has_pickles=True)
    poses, z, ctf = (
        pickle.loads((tmp_path / f"{name}.pkl").read_bytes())
        for name in ("poses", "z", "ctf")
    )
    assert isinstance(poses, tuple)
    pairs = zip(
        (*poses, z, ctf),
        (given.rotation, given.translation, given.latent, given.ctf),
        strict=True,
    )
    for found, expected in pairs:
        assert (type(found), found.dtype) == (np.ndarray, np.float32)
        assert found.flags.writeable
        np.testing.assert_array_equal(found, expected)


def test_a_pickle_names_nothing_but_the_array(tmp_path: Path) -> None:
    write_cryodrgn(tmp_path, tables(), has_pickles=True)
    for path in tmp_path.glob("*.pkl"):
        opcodes = list(pickletools.genops(path.read_bytes()))
        named = {str(value) for code, value, _ in opcodes if "GLOBAL" in code.name}
        assert named == {"numpy ndarray"}


def test_without_optics_there_is_no_ctf(tmp_path: Path) -> None:
    found = cryodrgn_tables(
        torch.eye(3).expand(2, 3, 3),
        torch.zeros(2, 2),
        torch.zeros(2, 1),
        np.full(2, 8),
        np.ones(2),
        None,
    )
    write_cryodrgn(tmp_path, found, has_pickles=True)
    names = {"poses.npz", "poses.pkl", "z.npz", "z.pkl"}
    assert {path.name for path in tmp_path.iterdir()} == names
