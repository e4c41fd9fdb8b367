"""Assigned particles come out as RELION, cryoSPARC and cryoDRGN want them."""

from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import pytest
import starfile
import torch
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from cryosparc_files import FIELDS
from multicryogan.cli import main
from multicryogan.cli.assigned_files import (
    Export,
    ExportOptions,
    plan_export,
    read_intervals,
    write_assignment,
)
from multicryogan.config import run_config
from multicryogan.errors import InputError
from multicryogan.imaging import project, shift_images
from multicryogan.inference import Assignment
from multicryogan.io import (
    half_sets,
    load_cryosparc,
    read_particles,
    with_columns,
    write_cryosparc,
    write_stack,
    write_star,
)
from multicryogan.likelihood import Placement
from multicryogan.rng import stream
from multicryogan.rotations import random_rotations

COUNT, BOX, PIXEL = 12, 20, 4.0
NOTHING_ASKED = ExportOptions()
KINDS = ("new.star", "old.star", "particles.cs")
DEFOCUS = [15_000.0 + 100 * i for i in range(COUNT)]
UID = [2**63 + 7 * i for i in range(COUNT)]


def blobs() -> torch.Tensor:
    """(2, BOX, BOX, BOX) without any symmetry, axes (z, y, x)."""
    centres = [[(3.0, 1, 0), (-2, 3, 1), (0, -3, -2)], [(2.0, -1, 3), (-3, 0, -1)]]
    axis = torch.arange(BOX) - BOX // 2
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1)
    made = [
        sum(
            weight * (-(grid - torch.tensor(at)).square().sum(-1) / 4.5).exp()
            for weight, at in enumerate(state, start=1)
        )
        for state in centres
    ]
    return torch.stack([torch.as_tensor(volume) for volume in made])


@pytest.fixture(scope="module")
def found() -> Assignment:
    """Poses and shifts that no search found: they only have to come out right."""
    conformation = torch.arange(COUNT) % 3 % 2
    latent = torch.linspace(-1, 1, COUNT)[:, None]
    placement = Placement(
        latent=latent,
        latent_spread=torch.full((COUNT, 1), 0.1),
        conformation_weight=torch.tensor([[0.7, 0.3]]).repeat(COUNT, 1),
        conformation=conformation,
        pose=torch.zeros(COUNT, dtype=torch.int64),
        shift_px=torch.zeros(COUNT, 2),
        pair_weight=torch.full((COUNT,), 0.25),
        entropy=torch.ones(COUNT),
        log_likelihood=torch.arange(COUNT) + 0.5,
    )
    return Assignment(
        latents=torch.tensor([[-0.5], [0.5]]),
        weights=torch.tensor([0.5, 0.5]),
        volumes=blobs(),
        rotation=random_rotations((COUNT,), stream(0, "pose")),
        shift_angstrom=6 * torch.randn(COUNT, 2, generator=stream(0, "shift")),
        placement=placement,
    )


def relion_table() -> pd.DataFrame:
    """Particles as RELION lists them, with a column that nobody knows."""
    return pd.DataFrame(
        {
            "rlnImageName": [f"{i + 1:06d}@Extract/a.mrcs" for i in range(COUNT)],
            "rlnDefocusU": DEFOCUS,
            "rlnDefocusV": [value - 500 for value in DEFOCUS],
            "rlnDefocusAngle": [30.0 + i for i in range(COUNT)],
            "rlnPhaseShift": [90.0] * COUNT,
            "rlnUnknownThing": [f"{i:04d}" for i in range(COUNT)],
        }
    )


def write_new(path: Path) -> None:
    optics = {
        "rlnOpticsGroup": [1],
        "rlnVoltage": [300.0],
        "rlnSphericalAberration": [2.7],
        "rlnAmplitudeContrast": [0.1],
        "rlnImagePixelSize": [PIXEL],
    }
    table = relion_table().assign(rlnOpticsGroup=1, rlnRandomSubset=[2, 2, 1] * 4)
    write_star(path, table, pd.DataFrame(optics))


def write_old(path: Path) -> None:
    table = relion_table().assign(
        rlnVoltage=300.0,
        rlnSphericalAberration=2.7,
        rlnAmplitudeContrast=0.1,
        rlnMagnification=10_000.0,
        rlnDetectorPixelSize=PIXEL,
        rlnOriginX=99.0,
        rlnOriginY=99.0,
    )
    write_star(path, table)


def write_cs(path: Path) -> None:
    """Particles of cryoSPARC, aligned before at half the pixel size."""
    rows = np.zeros(COUNT, [*FIELDS, ("alignments3D/error", "f4")])
    rows["uid"], rows["blob/path"] = UID, b">Extract/a.mrcs"
    rows["blob/idx"], rows["blob/shape"] = range(COUNT), BOX
    rows["blob/psize_A"], rows["blob/sign"] = PIXEL, -1
    rows["ctf/accel_kv"], rows["ctf/cs_mm"], rows["ctf/amp_contrast"] = 300, 2.7, 0.1
    rows["ctf/df1_A"], rows["ctf/df2_A"] = DEFOCUS, np.array(DEFOCUS) - 500
    rows["ctf/df_angle_rad"] = np.deg2rad(30.0 + np.arange(COUNT))
    rows["ctf/phase_shift_rad"] = np.pi / 2
    rows["alignments3D/psize_A"], rows["alignments3D/error"] = PIXEL / 2, 5.0
    with path.open("wb") as file:
        np.save(file, rows, allow_pickle=False)


WRITERS = {"new.star": write_new, "old.star": write_old, "particles.cs": write_cs}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one particle file of each kind."""
    folder = tmp_path_factory.mktemp("sources")
    (folder / "Extract").mkdir()
    noise = np.random.default_rng(0).normal(size=(COUNT, BOX, BOX))
    write_stack(folder / "Extract" / "a.mrcs", noise.astype(np.float32), PIXEL)
    for name, write in WRITERS.items():
        write(folder / name)
    return folder


def planned(
    path: Path, asked: ExportOptions = NOTHING_ASKED, datadir: Path | None = None
) -> Export:
    return plan_export(read_particles(path, datadir), 1, asked, 0)


@pytest.fixture(scope="module")
def written(
    tmp_path_factory: pytest.TempPathFactory, found: Assignment, sources: Path
) -> dict[str, Path]:
    """Everything that is written for each kind of particle file."""
    folders = {}
    for kind in KINDS:
        folders[kind] = tmp_path_factory.mktemp("written")
        export = planned(sources / kind, ExportOptions("0:1", cryodrgn=True))
        write_assignment(found, export, PIXEL, folders[kind])
    return folders


@pytest.mark.parametrize("split", [[0, 0, 1], [2, 1, 1]])
def test_half_sets_of_a_cs_file_are_those_that_it_names(
    split: list[int], sources: Path, tmp_path: Path
) -> None:
    rows = load_cryosparc(sources / "particles.cs")[0]
    numbers = np.resize(np.array(split, dtype=np.uint32), len(rows))
    named = with_columns(rows, {"alignments3D/split": numbers})
    write_cryosparc(tmp_path / "named.cs", named)
    stack = read_particles(tmp_path / "named.cs", sources)
    assert half_sets(stack, 0).tolist() == (numbers == max(split)).tolist()
    alike = with_columns(rows, {"alignments3D/split": np.zeros_like(numbers)})
    write_cryosparc(tmp_path / "alike.cs", alike)
    stack = read_particles(tmp_path / "alike.cs", sources)
    for seed in (0, 1):  # says which half comes first
        halves = [(i + seed) % 2 for i in range(len(rows))]
        assert half_sets(stack, seed).tolist() == halves


def particles_of(path: Path) -> pd.DataFrame:
    """Particles of a .star file, read by another package."""
    blocks = starfile.read(path)
    return blocks["particles"] if isinstance(blocks, dict) else blocks


def exported(folder: Path, kind: str) -> tuple[Rotation, np.ndarray, np.ndarray]:
    """Turn from the image's frame to the volume's, origins in pixels, class maps."""
    if kind == "poses.npz":
        poses = np.load(folder / kind, allow_pickle=False)
        turn = Rotation.from_matrix(poses["rotation"]).inv()
        found = pd.read_csv(folder / "latents.csv")["conformation"].to_numpy()
        return turn, poses["translation"] * BOX, found
    if kind.endswith(".cs"):
        rows = np.load(folder / "particles_assigned.cs", allow_pickle=False)
        turn = Rotation.from_rotvec(rows["alignments3D/pose"])
        size = rows["alignments3D/psize_A"][:, None] / PIXEL
        return turn, rows["alignments3D/shift"] * size, rows["alignments3D/class"] + 1
    table = particles_of(folder / "particles_assigned.star")
    angles = table[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy()
    turn = Rotation.from_euler("ZYZ", angles, degrees=True)
    names, unit = ["rlnOriginXAngst", "rlnOriginYAngst"], PIXEL
    if kind == "old.star":
        names, unit = ["rlnOriginX", "rlnOriginY"], 1.0
    return turn, table[names].to_numpy() / unit, table["rlnClassNumber"].to_numpy()


def reprojected(volume: np.ndarray, turn: Rotation, origin: np.ndarray) -> np.ndarray:
    """Sum a volume along z in real space; the origin is what centres the image."""
    half = BOX // 2
    z, y, x = np.meshgrid(*[np.arange(BOX) - half] * 3, indexing="ij")
    points = np.stack((x + origin[0], y + origin[1], z), axis=-1).reshape(-1, 3)
    places = turn.apply(points)[:, ::-1].T + half
    values = map_coordinates(volume, places, order=3)
    return np.asarray(values.reshape(BOX, BOX, BOX).sum(0))


@pytest.mark.parametrize("kind", [*KINDS, "poses.npz"])
def test_exported_poses_reproject_to_the_shifted_images(
    kind: str, written: dict[str, Path], found: Assignment
) -> None:
    folder = written.get(kind, written["new.star"])
    turns, origins, classes = exported(folder, kind)
    for row in range(COUNT):
        own = found.volumes[found.placement.conformation[row]]
        image = project(own[None], found.rotation[row][None, None])[0, 0]
        image = shift_images(image, found.shift_angstrom[row], PIXEL)
        volume = mrcfile.read(folder / f"class_{int(classes[row]):03d}.mrc")
        other = reprojected(volume, turns[row], origins[row])
        assert np.abs(image.numpy() - other).max() < 0.05 * float(image.max())


@pytest.mark.parametrize("kind", ["new.star", "old.star"])
def test_relion_columns_survive(
    kind: str, written: dict[str, Path], sources: Path
) -> None:
    before = particles_of(sources / kind)
    after = particles_of(written[kind] / "particles_assigned.star")
    kept = [name for name in before.columns if not name.startswith("rlnOrigin")]
    pd.testing.assert_frame_equal(after[kept], before[kept])
    assert after["rlnImageName"][2] == "000003@Extract/a.mrcs"


def test_a_table_without_optics_has_its_origins_in_pixels(
    written: dict[str, Path], found: Assignment
) -> None:
    table = particles_of(written["old.star"] / "particles_assigned.star")
    assert not {"rlnOriginXAngst", "rlnOriginYAngst"} & set(table.columns)
    expected = -found.shift_angstrom[:, 0].numpy() / PIXEL
    np.testing.assert_allclose(table["rlnOriginX"], expected, rtol=1e-5)


def test_a_pixel_size_beside_the_particles_serves_the_origins(
    tmp_path: Path, found: Assignment, sources: Path
) -> None:
    table = relion_table().assign(
        rlnVoltage=300.0,
        rlnSphericalAberration=2.7,
        rlnAmplitudeContrast=0.1,
        rlnImagePixelSize=2.0,
        rlnOriginXAngst=99.0,
    )
    write_star(tmp_path / "mixed.star", table)
    export = planned(tmp_path / "mixed.star", datadir=sources)
    write_assignment(found, export, PIXEL, tmp_path)
    after = particles_of(tmp_path / "particles_assigned.star")
    assert "rlnOriginXAngst" not in after.columns
    expected = -found.shift_angstrom[:, 0].numpy() / 2.0
    np.testing.assert_allclose(after["rlnOriginX"], expected, rtol=1e-5)


def test_a_table_with_optics_has_its_origins_in_angstrom(
    written: dict[str, Path], found: Assignment
) -> None:
    table = particles_of(written["new.star"] / "particles_assigned.star")
    assert not {"rlnOriginX", "rlnOriginY"} & set(table.columns)
    expected = -found.shift_angstrom[:, 1].numpy()
    np.testing.assert_allclose(table["rlnOriginYAngst"], expected, rtol=1e-5)


def test_cryosparc_columns_and_uid_survive(
    written: dict[str, Path], sources: Path
) -> None:
    before = np.load(sources / "particles.cs", allow_pickle=False)
    after = np.load(written["particles.cs"] / "particles_assigned.cs")
    assert after["uid"].tolist() == UID
    set_anew = {f"alignments3D/{name}" for name in ("pose", "shift", "psize_A")}
    assert after.dtype.names[: len(before.dtype.names)] == before.dtype.names
    for name in set(before.dtype.names) - set_anew:
        assert after.dtype[name] == before.dtype[name]
        np.testing.assert_array_equal(after[name], before[name])


def test_cryosparc_gets_the_types_it_writes_itself(
    written: dict[str, Path], shared_data: Path
) -> None:
    name = "star_dialects/cryosparc_P12_J24_001_particles.cs"
    theirs = np.load(shared_data / name, allow_pickle=False).dtype
    ours = np.load(written["particles.cs"] / "particles_assigned.cs").dtype
    names = [name for name in ours.names if name.startswith("alignments3D/")]
    assert len(names) == 7
    assert {name: ours[name] for name in names} == {n: theirs[n] for n in names}


def test_cryosparc_counts_classes_from_zero(
    written: dict[str, Path], found: Assignment
) -> None:
    rows = np.load(written["particles.cs"] / "particles_assigned.cs")
    expected = found.placement.conformation.numpy()
    np.testing.assert_array_equal(rows["alignments3D/class"], expected)
    posterior = np.where(expected == 0, 0.7, 0.3)
    np.testing.assert_allclose(rows["alignments3D/class_posterior"], posterior, 1e-6)


def test_columns_of_a_passthrough_file_are_written_too(
    tmp_path: Path, found: Assignment, sources: Path
) -> None:
    rows = np.load(sources / "particles.cs", allow_pickle=False)
    names = list(rows.dtype.names)
    parts = {
        "J1_particles.cs": names[:6],
        "J1_passthrough_particles.cs": ["uid", *names[6:]],
    }
    for name, some in parts.items():
        part = np.empty(COUNT, [(n, rows.dtype[n]) for n in some])
        for n in some:
            part[n] = rows[n]
        with (tmp_path / name).open("wb") as file:
            np.save(file, part[::-1] if "passthrough" in name else part)
    path = tmp_path / "J1_particles.cs"
    write_assignment(found, planned(path, datadir=sources), PIXEL, tmp_path)
    after = np.load(tmp_path / "particles_assigned.cs", allow_pickle=False)
    for name in names[:13]:
        np.testing.assert_array_equal(after[name], rows[name])


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_written_reads_as_the_same_poses(
    kind: str, written: dict[str, Path], found: Assignment, sources: Path
) -> None:
    name = f"particles_assigned.{kind[-4:].split('.')[-1]}"
    again = read_particles(written[kind] / name, datadir=sources)
    rotations, shifts = again.rotations(), again.shifts_angstrom()
    assert rotations is not None
    assert shifts is not None
    torch.testing.assert_close(rotations, found.rotation, atol=1e-4, rtol=0)
    torch.testing.assert_close(shifts, found.shift_angstrom, atol=1e-4, rtol=0)


def test_half_sets_are_kept(written: dict[str, Path]) -> None:
    table = particles_of(written["new.star"] / "particles_assigned.star")
    assert table["rlnRandomSubset"].tolist() == [2, 2, 1] * 4


def test_missing_half_sets_alternate_alike_in_both_formats(
    written: dict[str, Path],
) -> None:
    table = particles_of(written["old.star"] / "particles_assigned.star")
    rows = np.load(written["particles.cs"] / "particles_assigned.cs")
    assert table["rlnRandomSubset"].tolist() == [1, 2] * (COUNT // 2)
    assert rows["alignments3D/split"].tolist() == [0, 1] * (COUNT // 2)


def test_splits_of_cryosparc_are_kept(
    tmp_path: Path, found: Assignment, written: dict[str, Path], sources: Path
) -> None:
    rows = np.load(written["particles.cs"] / "particles_assigned.cs")
    rows["alignments3D/split"] = [1, 1, 0] * 4
    with (tmp_path / "again.cs").open("wb") as file:
        np.save(file, rows)
    export = planned(tmp_path / "again.cs", datadir=sources)
    write_assignment(found, export, PIXEL, tmp_path)
    after = np.load(tmp_path / "particles_assigned.cs")
    assert after["alignments3D/split"].tolist() == [1, 1, 0] * 4


@pytest.mark.parametrize("kind", KINDS)
def test_cryodrgns_ctf_is_that_of_the_particles(
    kind: str, written: dict[str, Path]
) -> None:
    found = np.load(written[kind] / "ctf.npz")["ctf"]
    constant = [BOX, PIXEL, 300.0, 2.7, 0.1, 90.0]
    np.testing.assert_allclose(
        found[:, [0, 1, 5, 6, 7, 8]], np.tile(constant, (COUNT, 1)), rtol=1e-6
    )
    varying = [DEFOCUS, np.array(DEFOCUS) - 500, 30.0 + np.arange(COUNT)]
    np.testing.assert_allclose(found[:, 2:5].T, varying, rtol=1e-6)


def test_cryodrgns_pickles_are_written_when_asked_for(
    tmp_path: Path, written: dict[str, Path], found: Assignment, sources: Path
) -> None:
    pickles = {"poses.pkl", "ctf.pkl", "z.pkl"}
    assert pickles < {path.name for path in written["new.star"].iterdir()}
    write_assignment(found, planned(sources / "new.star"), PIXEL, tmp_path)
    assert not pickles & {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("kind", ["new.star", "old.star"])
def test_the_selected_particles_of_relion_are_those_inside(
    kind: str, written: dict[str, Path]
) -> None:
    table = particles_of(written[kind] / "particles_assigned.star")
    selected = particles_of(written[kind] / "particles_selected.star")
    expected = table[COUNT // 2 :].reset_index(drop=True)  # latents above 0
    pd.testing.assert_frame_equal(selected, expected)


def test_the_selected_particles_of_cryosparc_are_those_inside(
    written: dict[str, Path],
) -> None:
    selected = np.load(written["particles.cs"] / "particles_selected.cs")
    assert selected["uid"].tolist() == UID[COUNT // 2 :]


@pytest.mark.parametrize(("select", "kept"), [("-1:-1", [0]), ("1:1", [COUNT - 1])])
def test_the_ends_belong_to_the_interval(
    select: str, kept: list[int], tmp_path: Path, found: Assignment, sources: Path
) -> None:
    export = planned(sources / "particles.cs", ExportOptions(select))
    write_assignment(found, export, PIXEL, tmp_path)
    selected = np.load(tmp_path / "particles_selected.cs")
    assert selected["uid"].tolist() == [UID[row] for row in kept]


def test_all_intervals_must_hold(
    tmp_path: Path, found: Assignment, sources: Path
) -> None:
    latent = torch.stack((torch.arange(COUNT), torch.arange(COUNT).flip(0)), 1).float()
    placement = replace(found.placement, latent=latent)
    plane = replace(found, placement=placement)
    stack = read_particles(sources / "particles.cs")
    export = plan_export(stack, 2, ExportOptions("3:20,4.5:20"), 0)
    write_assignment(plane, export, PIXEL, tmp_path)
    selected = np.load(tmp_path / "particles_selected.cs")
    assert selected["uid"].tolist() == UID[3:7]


def test_an_empty_selection_is_told_and_not_written(
    tmp_path: Path,
    found: Assignment,
    sources: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    export = planned(sources / "new.star", ExportOptions("5:6"))
    write_assignment(found, export, PIXEL, tmp_path)
    assert "selected: 0 of 12" in capsys.readouterr().out
    assert (tmp_path / "particles_assigned.star").exists()
    assert not (tmp_path / "particles_selected.star").exists()


@pytest.mark.parametrize(
    ("text", "dimensions", "message"),
    [
        ("0.2", 1, "not an interval; give two numbers"),
        ("0.2:x", 1, "not an interval"),
        ("0.2:", 1, "not an interval"),
        ("0.1:0.2:0.3", 1, "not an interval"),
        ("", 1, "not an interval"),
        ("0.5:0.2", 1, "give the lower end first"),
        ("nan:0.2", 1, "holds no number"),
        ("0.2:0.5", 2, r"1 intervals found; give one LOW:HIGH .*\(2 for this run"),
        ("0.2:0.5,0:1", 1, "2 intervals found"),
    ],
)
def test_a_malformed_interval_is_named(
    text: str, dimensions: int, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_intervals(text, dimensions)
    assert "\n" not in str(caught.value)


def test_a_bare_stack_cannot_be_selected_from(sources: Path) -> None:
    with pytest.raises(InputError, match="has no table to take particles from"):
        planned(sources / "Extract" / "a.mrcs", ExportOptions("0:1"))


@pytest.mark.parametrize(
    ("option", "word"), [("0.5", "not an interval"), ("-1:-2", "lower end first")]
)
def test_a_malformed_interval_ends_the_command_before_the_search(
    option: str,
    word: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    sources: Path,
) -> None:
    def generator(latent: torch.Tensor) -> torch.Tensor:
        return torch.zeros(1, BOX, BOX, BOX)

    snapshot = (generator, run_config({"data": {"box": BOX}}), PIXEL)
    monkeypatch.setattr("multicryogan.training.load_snapshot", lambda run: snapshot)
    monkeypatch.setattr("multicryogan.inference.assign", None)  # it is not reached
    command = ["assign", str(tmp_path), str(sources / "new.star"), "--select", option]
    with pytest.raises(SystemExit) as ending:
        main([*command, "-o", str(tmp_path / "out")])
    assert ending.value.code == 2
    said = capsys.readouterr().err
    assert word in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()
