"""Particles get their conformation and pose, and files get them too."""

from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation
from torch import Tensor

from multicryogan.cli.assign import assign as assign_command
from multicryogan.cli.assigned_files import (
    ExportOptions,
    plan_export,
    write_assignment,
)
from multicryogan.config import LawConfig, SimulationConfig, run_config
from multicryogan.errors import InputError
from multicryogan.evaluation.rigid import mirror, move
from multicryogan.imaging import project
from multicryogan.inference import (
    Assignment,
    assign,
    check_particles,
    generator_manifold,
    latent_grid,
)
from multicryogan.io import ParticleStack, read_particles, read_star
from multicryogan.likelihood import Manifold, PoseTree
from multicryogan.rng import stream
from multicryogan.rotations import (
    geodesic_distance_deg,
    random_rotations,
)
from multicryogan.synthetic import Truth, read_truth, simulate
from refinement_data import Known

BOX, IMAGES = 16, 120
TREE = PoseTree()
LEVEL = TREE.fine_level(BOX // 2 - 1)
CONFIG = run_config({"data": {"box": BOX}})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("assign") / "data"
    law = LawConfig(kind="discrete", weights=(0.5, 0.5))
    config = SimulationConfig(
        images=IMAGES, box=BOX, pixel_size=10.0, law=law, snr_db=0.0
    )
    simulate(config, folder)
    return folder


@pytest.fixture(scope="module")
def truth(data: Path) -> Truth:
    return read_truth(data)


@pytest.fixture(scope="module")
def stack(data: Path) -> ParticleStack:
    return read_particles(data / "particles.star")


@pytest.fixture(scope="module")
def model(truth: Truth) -> Tensor:
    """Both states as a generator might make them: the second turned, in the mirror."""
    turn = random_rotations((1,), stream(0, "turn"))
    second = move(mirror(truth.maps[1:]), turn, torch.zeros(1, 3))
    return torch.cat((truth.maps[:1], second))


@pytest.fixture(scope="module")
def found(model: Tensor, stack: ParticleStack) -> Assignment:
    return assign(conformations_of(model), CONFIG, stack, 1)


def conformations_of(model: Tensor) -> Manifold:
    return generator_manifold(Known(model), latent_grid(CONFIG, 2))


def test_particles_are_placed_where_they_are(found: Assignment, truth: Truth) -> None:
    right = found.placement.conformation == truth.state
    assert right.float().mean() > 0.97
    # The second state is laid on the first, whose frame stays.
    turn = geodesic_distance_deg(found.rotation, truth.rotation.float())
    # 36,864 poses lie 7.4 degrees apart.
    assert turn[truth.state == 0].median() < 5


def test_a_latent_is_the_mean_of_the_cells(found: Assignment) -> None:
    share = found.placement.conformation_weight
    expected = 0.25 * share[:, 0] + 0.75 * share[:, 1]
    torch.testing.assert_close(found.placement.latent[:, 0], expected)


def test_blocks_of_images_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
    found: Assignment,
    model: Tensor,
    stack: ParticleStack,
) -> None:
    monkeypatch.setattr("multicryogan.likelihood.expectation.BLOCK", 50 * BOX**2)
    monkeypatch.setattr("multicryogan.io.particles._READ", 7 * BOX**2)
    told: list[tuple[int, int]] = []
    again = assign(
        conformations_of(model),
        CONFIG,
        stack,
        1,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(0, IMAGES), (50, IMAGES), (100, IMAGES), (IMAGES, IMAGES)]
    torch.testing.assert_close(again.rotation, found.rotation)
    torch.testing.assert_close(
        again.placement.log_likelihood, found.placement.log_likelihood
    )


@pytest.fixture(scope="module")
def written(
    tmp_path_factory: pytest.TempPathFactory, found: Assignment, stack: ParticleStack
) -> Path:
    folder = tmp_path_factory.mktemp("written")
    export = plan_export(stack, 1, ExportOptions(), 0)
    write_assignment(found, export, 10.0, folder)
    return folder


def reprojected(
    volume: Tensor, angles: list[float], origin: list[float]
) -> np.ndarray[Any, Any]:
    """Sum a volume along z after turning it by RELION's angles, in real space.

    RELION's origin, in pixels, is the shift that centres the image.
    """
    half = BOX // 2
    z, y, x = np.meshgrid(*[np.arange(BOX) - half] * 3, indexing="ij")
    points = np.stack((x + origin[0], y + origin[1], z), axis=-1).reshape(-1, 3)
    # SciPy's ZYZ turns the image's frame into the volume's (docs/conventions.md).
    turned = Rotation.from_euler("ZYZ", angles, degrees=True).apply(points)
    places = turned[:, ::-1].T + half
    values = map_coordinates(volume.numpy(), places, order=3)
    return np.asarray(values.reshape(BOX, BOX, BOX).sum(0))


def test_exported_angles_reproject_to_the_images_of_the_model(
    written: Path, found: Assignment, model: Tensor
) -> None:
    table = read_star(written / "particles_assigned.star").find("particles")
    assert table is not None
    assert set(table["rlnClassNumber"][:20]) == {1, 2}
    for row in range(20):
        name = f"class_{int(table['rlnClassNumber'][row]):03d}.mrc"
        volume = torch.from_numpy(mrcfile.read(written / name).copy())
        names = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
        angles = [float(table[name][row]) for name in names]
        origin = [float(table[f"rlnOrigin{axis}Angst"][row]) / 10.0 for axis in "XY"]
        # The model's image: its own volume, before any was laid on another.
        own = model[int(found.placement.conformation[row])]
        pose = TREE.rotations(found.placement.pose[row : row + 1], LEVEL)[0]
        image = project(own[None], pose[None, None])[0, 0]
        other = reprojected(volume, angles, origin)
        assert np.corrcoef(image.flatten(), other.flatten())[0, 1] > 0.99


def test_all_other_columns_survive(written: Path, data: Path) -> None:
    before = read_star(data / "particles.star")
    after = read_star(written / "particles_assigned.star")
    old, new = before.find("particles"), after.find("particles")
    assert old is not None
    assert new is not None
    pd.testing.assert_frame_equal(new[old.columns], old)
    optics = [star.find("optics") for star in (before, after)]
    pd.testing.assert_frame_equal(optics[0], optics[1])


def test_what_was_written_reads_as_poses(
    written: Path, found: Assignment, data: Path
) -> None:
    again = read_particles(written / "particles_assigned.star", datadir=data)
    rotations = again.rotations()
    assert rotations is not None
    torch.testing.assert_close(rotations, found.rotation, atol=1e-4, rtol=0)
    shifts = again.shifts_angstrom()
    assert shifts is not None
    torch.testing.assert_close(shifts, found.shift_angstrom, atol=1e-4, rtol=0)


def test_both_tables_hold_every_particle(written: Path, found: Assignment) -> None:
    table = pd.read_csv(written / "latents.csv")
    assert table["particle"].tolist() == list(range(1, IMAGES + 1))
    arrays = np.load(written / "latents.npz", allow_pickle=False)
    assert arrays["conformation_weight"].shape == (IMAGES, 2)
    expected = found.placement.latent[:, 0].numpy()
    np.testing.assert_allclose(table["latent_0"], expected, rtol=1e-5)
    np.testing.assert_array_equal(arrays["latent"][:, 0], expected)


def test_too_many_conformations_are_refused() -> None:
    config = run_config({"latent": {"kind": "uniform", "dimensions": 2}})
    assert latent_grid(config, 20).shape == (400, 2)
    with pytest.raises(InputError, match="make 441; give fewer"):
        latent_grid(config, 21)


@pytest.mark.parametrize(("box", "voxel_size"), [(BOX, 9.0), (20, 8.0)])
def test_particles_of_another_field_or_fewer_pixels_are_refused(
    stack: ParticleStack, box: int, voxel_size: float
) -> None:
    check_particles(stack, BOX, 10.0)
    with pytest.raises(InputError, match="give the particles that the run"):
        check_particles(stack, box, voxel_size)


def test_the_command_writes_all_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, truth: Truth, data: Path
) -> None:
    snapshot = (Known(truth.maps), CONFIG, 10.0)
    monkeypatch.setattr("multicryogan.training.load_snapshot", lambda run: snapshot)
    status = assign_command(
        tmp_path,
        data / "particles.star",
        output=tmp_path / "out",
        conformations=2,
        device="cpu",
        threads=1,
        asked=ExportOptions("0:0.5", cryodrgn=True),
    )
    assert status == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    tables = {"particles_assigned.star", "latents.csv", "latents.npz"}
    tables |= {"particles_selected.star", "poses.npz", "ctf.npz", "z.npz"}
    tables |= {"poses.pkl", "ctf.pkl", "z.pkl"}
    tables |= {"populations.csv", "findings.json", "leakage.json", "about.json"}
    assert names == tables | {"class_001.mrc", "class_002.mrc"}
