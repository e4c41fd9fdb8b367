"""Synthetic data sets as folders."""

import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from multicryogan.config import (
    GroupConfig,
    LawConfig,
    MoleculeConfig,
    MotionConfig,
    OpticsConfig,
    SimulationConfig,
)
from multicryogan.errors import InputError
from multicryogan.io import read_particles
from multicryogan.synthetic import Truth, read_truth, simulate

PdbWriter = Callable[..., Path]
CONFIG = SimulationConfig(
    images=1200,
    seed=5,
    shift_sigma_angstrom=3.0,
    noise_falloff_angstrom=20.0,
    optics=OpticsConfig(astigmatism_angstrom=500.0, voltage_kv=200.0),
    law=LawConfig(maps=3),
)


def images_of(folder: Path) -> np.ndarray:
    stack = read_particles(folder / "particles.star")
    return stack.images(np.arange(len(stack)))


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("noisy") / "set"
    simulate(CONFIG, folder)
    return folder


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean") / "set"
    simulate(replace(CONFIG, snr_db=math.inf), folder)
    return folder


@pytest.fixture(scope="module")
def truth(noisy: Path) -> Truth:
    return read_truth(noisy)


def test_noise_has_the_snr_asked_for(noisy: Path, clean: Path) -> None:
    signal = images_of(clean)
    noise = images_of(noisy) - signal
    assert signal.var() / noise.var() == pytest.approx(0.1, rel=0.02)


def test_folder_holds_particles_and_truth_alone(noisy: Path) -> None:
    assert sorted(path.name for path in noisy.iterdir()) == [
        "particles.mrcs",
        "particles.star",
        "truth",
    ]


def test_star_gives_the_optics_of_every_particle(noisy: Path, truth: Truth) -> None:
    stack = read_particles(noisy / "particles.star")
    ctf = stack.ctf_params()
    assert ctf is not None
    rows = np.load(noisy / "truth" / "rows.npz", allow_pickle=False)
    for name in ("defocus_u_angstrom", "defocus_v_angstrom", "defocus_angle_deg"):
        found = getattr(ctf, name).numpy()
        np.testing.assert_allclose(found, rows[name], rtol=1e-6)
    assert (ctf.voltage_kv == 200).all()


def test_star_gives_box_and_pixel_size(noisy: Path) -> None:
    stack = read_particles(noisy / "particles.star")
    assert (len(stack), stack.box, stack.pixel_size) == (1200, 32, 5.0)


def test_star_holds_no_poses(noisy: Path) -> None:
    stack = read_particles(noisy / "particles.star")
    assert stack.rotations() is None
    assert stack.shifts_angstrom() is None


def test_protein_is_white(clean: Path) -> None:
    mean = images_of(clean).mean(0)
    assert mean[12:20, 12:20].mean() > mean[:4].mean() + mean.std()


def test_truth_images_match_the_stack(clean: Path) -> None:
    from multicryogan.imaging import ImagingParams, form_images
    from multicryogan.synthetic.groups import Geometry
    from multicryogan.synthetic.molecule import load_conformations
    from multicryogan.synthetic.render import true_map

    truth, stack = read_truth(clean), read_particles(clean / "particles.star")
    demo = load_conformations(truth.config.molecule, Path())
    ctf = stack.ctf_params()
    assert ctf is not None
    for row in range(5):
        at = truth.coordinates[row].double().numpy()
        density = true_map(demo, at, Geometry.of(truth.config))
        params = ImagingParams(
            truth.rotation[row][None, None],
            truth.shift_angstrom[row][None, None],
            ctf.select(torch.tensor([row])).reshape(1, 1),
        )
        expected = form_images(density[None], params, truth.voxel_size).numpy().ravel()
        found = stack.images(np.array([row])).ravel()
        assert np.corrcoef(expected, found)[0, 1] > 0.99
        slope = np.vdot(expected, found) / np.vdot(expected, expected)
        assert slope == pytest.approx(1, abs=0.03)


def test_conformation_says_nothing_about_pose_optics_or_noise(
    noisy: Path, clean: Path, truth: Truth
) -> None:
    rows = np.load(noisy / "truth" / "rows.npz", allow_pickle=False)
    noise = images_of(noisy) - images_of(clean)
    others = np.column_stack(
        [
            truth.rotation.flatten(1).numpy(),
            truth.shift_angstrom.numpy(),
            rows["defocus_u_angstrom"],
            rows["defocus_v_angstrom"],
            rows["defocus_angle_deg"],
            noise.mean((1, 2)),
            noise.std((1, 2)),
            noise[:, 16, ::8],
            np.arange(len(noise)),
        ]
    )
    coordinate = truth.coordinates[:, 0].numpy()
    for other in others.T:
        assert abs(np.corrcoef(coordinate, other)[0, 1]) < 4 / math.sqrt(len(noise))


def test_noise_of_later_blocks_is_new(noisy: Path, clean: Path) -> None:
    noise = images_of(noisy) - images_of(clean)
    first, later = noise[:100], noise[1024:1124]  # a block has 1024 images
    correlation = np.corrcoef(first.ravel(), later.ravel())[0, 1]
    assert abs(correlation) < 0.02


def test_same_seed_gives_the_same_set(noisy: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    simulate(CONFIG, tmp_path / "again")
    torch.set_num_threads(threads)
    first, second = images_of(noisy), images_of(tmp_path / "again")
    np.testing.assert_allclose(first, second, atol=1e-5 * first.std())
    star = (noisy / "particles.star").read_text()
    assert star == (tmp_path / "again" / "particles.star").read_text()


def test_truth_has_a_map_for_each_state(truth: Truth) -> None:
    assert truth.maps.shape == (3, 32, 32, 32)
    assert truth.map_coordinates.flatten().tolist() == [0, 20, 40]
    assert truth.map_weights.tolist() == [0.25, 0.5, 0.25]
    assert (truth.units, truth.voxel_size) == (("deg",), 5.0)


def test_mean_map_is_the_weighted_mean_of_the_states(truth: Truth) -> None:
    mean = torch.einsum("m,mzyx->zyx", truth.map_weights, truth.maps)
    torch.testing.assert_close(truth.mean, mean)


def test_truth_has_one_row_for_each_particle(truth: Truth) -> None:
    assert truth.coordinates.shape == (1200, 1)
    assert truth.state.shape == (1200,)
    assert truth.rotation.shape == (1200, 3, 3)
    assert truth.shift_angstrom.shape == (1200, 2)


def test_truth_keeps_the_config_with_its_resolution(truth: Truth) -> None:
    assert truth.config == replace(CONFIG, resolution=7.5)


def test_discrete_set_tells_the_state_of_each_particle(tmp_path: Path) -> None:
    config = SimulationConfig(images=400, law=LawConfig(kind="discrete"))
    simulate(config, tmp_path / "set")
    truth = read_truth(tmp_path / "set")
    assert truth.map_weights.tolist() == [0.25, 0.75]
    expected = truth.map_coordinates[truth.state]
    assert torch.equal(truth.coordinates, expected)


def test_set_of_frames_has_the_rendered_coordinates(
    write_pdb: PdbWriter, tmp_path: Path
) -> None:
    start = [("CA", "C", "A", i, (8.0 * i, 0.0, 0.0)) for i in range(5)]
    end = [
        (*atom[:4], (atom[4][0], 10.0 * (i % 2), 5.0)) for i, atom in enumerate(start)
    ]
    path = write_pdb("models.pdb", start, end)
    config = SimulationConfig(
        images=50, molecule=MoleculeConfig(frames=str(path)), law=LawConfig(maps=3)
    )
    simulate(config, tmp_path / "set")
    truth = read_truth(tmp_path / "set")
    assert truth.units == ("frame",)
    steps = truth.coordinates * 23  # the largest move is 11.2 Å: 23 steps
    torch.testing.assert_close(steps, steps.round())


def test_two_motions_give_two_coordinates(tmp_path: Path) -> None:
    opening = MotionConfig(chains=("B",), axis=(0, 1, 0), range_deg=(0, 30))
    twist = MotionConfig(chains=("B",), axis=(0, 0, 1), range_deg=(-10, 10))
    molecule = MoleculeConfig(motions=(opening, twist))
    config = SimulationConfig(images=20, molecule=molecule, law=LawConfig(maps=2))
    simulate(config, tmp_path / "set")
    truth = read_truth(tmp_path / "set")
    assert truth.coordinates.shape == (20, 2)
    assert truth.map_coordinates.tolist() == [[0, -10], [0, 10], [30, -10], [30, 10]]


def test_progress_ends_with_all_images(tmp_path: Path) -> None:
    calls = []
    simulate(
        replace(CONFIG, images=70),
        tmp_path / "set",
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls[-1] == (70, 70)
    assert calls == sorted(calls)


def test_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    simulate(replace(CONFIG, images=5), tmp_path / "set")
    assert (tmp_path / "set" / "particles.star").is_file()


def test_folder_with_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("keep")
    with pytest.raises(InputError, match="is not empty"):
        simulate(CONFIG, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set").write_text("keep")
    with pytest.raises(InputError, match="is a file"):
        simulate(CONFIG, tmp_path / "set")


def test_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("keep")
    with pytest.raises(InputError, match="cannot write"):
        simulate(replace(CONFIG, images=5), tmp_path / "file" / "set")


def test_nothing_is_left_after_an_error(tmp_path: Path) -> None:
    def stop(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(replace(CONFIG, images=5), tmp_path / "set", progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("multicryogan.synthetic.dataset.CLEAN", "/dev/full")
    with pytest.raises(InputError, match="No space left on device; choose a folder"):
        simulate(replace(CONFIG, images=5), tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    for process in (killed.pid, os.getpid()):  # a new container counts from 1 again
        (tmp_path / f".set.{process}" / "truth").mkdir(parents=True)
        (tmp_path / f".set.{process}" / "clean.tmp").write_bytes(b"half")
    simulate(replace(CONFIG, images=5), tmp_path / "set")
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_what_no_killed_process_left_is_kept(tmp_path: Path) -> None:
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    kept = {f".set.{os.getppid()}", ".set.20260131", ".set.old", ".other.1", ".set"}
    for name in kept:
        (tmp_path / name).mkdir()
    mine = tmp_path / f".set.{killed.pid}"
    mine.mkdir()
    (mine / "thesis.tex").write_text("precious")
    simulate(replace(CONFIG, images=5), tmp_path / "set")
    assert {path.name for path in tmp_path.iterdir()} == {*kept, mine.name, "set"}


def test_molecule_that_leaves_the_box_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="use box = "):
        simulate(replace(CONFIG, box=20), tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": 0}, "images is 0; expected 1 to 1e"),
        ({"images": 10**14}, "images is 100000000000000; expected"),
        ({"images": 10**8, "box": 1024}, r"take up to 838,\d\d\d GB, .* make fewer"),
        ({"law": LawConfig(maps=10**8)}, "law.maps is 100000000; expected 2 to 1,000"),
        ({"law": LawConfig(maps=1)}, "law.maps is 1; expected 2"),
        ({"pixel_size": 1e300}, r"pixel_size is 1e\+300; expected 0.01 to 1,000 Å"),
        ({"noise_falloff_angstrom": 1e300}, "noise_falloff_angstrom is"),
        ({"snr_db": 1e300}, r"snr_db is 1e\+300; expected -100 to 100 dB"),
        ({"shift_sigma_angstrom": 1e300}, "shift_sigma_angstrom is"),
        ({"optics": OpticsConfig(phase_shift_deg=1e300)}, "optics.phase_shift_deg is"),
        ({"optics": OpticsConfig(defocus_um=(1.0, 1e30))}, "-90 to 90 µm"),
        ({"optics": OpticsConfig(cs_mm=1e30)}, "optics.cs_mm is"),
        ({"groups": (GroupConfig(noise_factor=1e30),)}, r"groups\[0\].noise_factor"),
        ({"box": 4}, "box is 4"),
        ({"pixel_size": math.inf}, "pixel_size is inf; give a finite number"),
        ({"optics": OpticsConfig(cs_mm=math.inf)}, "optics.cs_mm is inf; give a fini"),
        (
            {"optics": OpticsConfig(defocus_um=(1.0, math.nan))},
            r"defocus_um\[1\] is nan",
        ),
        ({"groups": (GroupConfig(cs_mm=math.nan),)}, r"groups\[0\]\.cs_mm is nan"),
        ({"law": LawConfig(coordinates=(0.0, math.nan))}, r"law\.coordinates\[1\]"),
        ({"pixel_size": 0.0}, "pixel_size is 0.0"),
        ({"resolution": -1.0}, "resolution is -1.0"),
        ({"snr_db": math.nan}, "snr_db is nan"),
        ({"shift_sigma_angstrom": -1.0}, "shift_sigma_angstrom is -1.0"),
        ({"noise_falloff_angstrom": -1.0}, "noise_falloff_angstrom is -1.0"),
        ({"preferred_share": 1.5}, "preferred_share is 1.5"),
        ({"preferred_cone_deg": 0.0}, "preferred_cone_deg is 0.0"),
        ({"preferred_rise": 0.1}, "preferred_rise is 0.1; expected -0 to 0"),
        ({"preferred_share": 0.8, "preferred_rise": -0.5}, "-0.4 to 0.4"),
        ({"contrast_spread": -0.1}, "contrast_spread is -0.1"),
        ({"background_patches": -1}, "background_patches is -1"),
        (
            {"optics": OpticsConfig(phase_shift_spread_deg=-1.0)},
            "optics.phase_shift_spread_deg is -1",
        ),
        ({"optics": OpticsConfig(amplitude_contrast=1.0)}, "amplitude_contrast is 1"),
        ({"optics": OpticsConfig(defocus_um=(2.0, 1.0))}, "defocus_um is"),
        ({"optics": OpticsConfig(voltage_kv=0.0)}, "voltage_kv is 0"),
        ({"optics": OpticsConfig(astigmatism_angstrom=-1.0)}, "astigmatism"),
        ({"optics": OpticsConfig(bfactor_angstrom2=-1.0)}, "bfactor"),
    ],
)
def test_unusable_setting_is_refused(
    change: dict, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        simulate(replace(CONFIG, **change), tmp_path / "set")


def test_folder_without_truth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no truth"):
        read_truth(tmp_path)


def test_damaged_rows_are_refused(noisy: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.npz").write_bytes(b"not an archive")
    with pytest.raises(InputError, match="cannot be read"):
        read_truth(tmp_path)
