"""Facts about cryoSPARC particle files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib import recfunctions
from scipy.spatial.transform import Rotation

from cryosparc_files import FIELDS
from multicryogan.errors import InputError
from multicryogan.io import OpticsOverride, ParticleStack, read_particles, write_stack

OPTICS = (300, 2.7, 0.1, 15000, 14000, np.pi / 6, np.pi / 2)
POSE = ((2, -4), (0.1, 0.2, 0.3), 3.0)
ROW = (1 << 60, b">a.mrcs", 0, (8, 8), 1.5, -1, *OPTICS, *POSE)


def make_rows(count: int = 2, drop: tuple[str, ...] = ()) -> np.ndarray:
    """Rows whose image index and uid count up."""
    rows = np.empty(count, FIELDS)
    for number in range(count):
        rows[number] = ROW
        rows[number]["uid"] += number
        rows[number]["blob/idx"] = number
    return rows[[name for name in rows.dtype.names if name not in drop]]


def save(path: Path, rows: np.ndarray) -> Path:
    with path.open("wb") as file:  # np.save would append .npy
        np.save(file, recfunctions.repack_fields(rows), allow_pickle=False)
    return path


@pytest.fixture
def stack(tmp_path: Path) -> ParticleStack:
    images = np.stack([np.full((8, 8), 1.0), np.full((8, 8), 2.0)])
    write_stack(tmp_path / "a.mrcs", images, 1.5)
    return read_particles(save(tmp_path / "particles.cs", make_rows()))


def test_the_image_index_counts_from_zero(stack: ParticleStack) -> None:
    assert abs(stack.images([1])[0, 0, 0]) == 2.0


def test_the_sign_multiplies_the_image(stack: ParticleStack) -> None:
    assert stack.images([0])[0, 0, 0] == -1.0


def test_selected_rows_keep_all_that_is_known_of_them(tmp_path: Path) -> None:
    images = np.arange(4.0)[:, None, None] * np.ones((8, 8)) + 1
    write_stack(tmp_path / "a.mrcs", images, 1.5)
    rows = make_rows(4)
    rows["ctf/df1_A"] = [1000, 2000, 3000, 4000]
    rows["alignments3D/pose"][:, 0] = [0.1, 0.2, 0.3, 0.4]
    rows["alignments3D/shift"][:, 0] = [1, 2, 3, 4]
    rows["blob/sign"] = [-1, -1, 1, 1]
    path = save(tmp_path / "particles.cs", rows)
    whole = read_particles(path, optics=OpticsOverride(voltage_kv=200.0))
    part = whole.select(np.array([3, 1]))
    assert len(part) == 2
    assert part.images([0, 1])[:, 0, 0].tolist() == [4.0, -2.0]
    optics = part.ctf_params()
    assert optics.defocus_u_angstrom.tolist() == [4000.0, 2000.0]
    assert optics.voltage_kv.tolist() == [200.0, 200.0]
    assert torch.equal(part.rotations(), whole.rotations()[[3, 1]])
    assert torch.equal(part.shifts_angstrom(), whole.shifts_angstrom()[[3, 1]])
    assert part.table["uid"].tolist() == [(1 << 60) + 3, (1 << 60) + 1]


def test_angles_are_turned_into_degrees(stack: ParticleStack) -> None:
    optics = stack.ctf_params()
    found = [optics.defocus_angle_deg[0].item(), optics.phase_shift_deg[0].item()]
    assert found == pytest.approx([30.0, 90.0])


def test_the_rotation_is_the_transposed_exponential(stack: ParticleStack) -> None:
    expected = Rotation.from_rotvec([0.1, 0.2, 0.3]).as_matrix().T
    np.testing.assert_allclose(stack.rotations()[0], expected, atol=1e-6)


def test_the_shift_counts_pixels_of_the_alignment(stack: ParticleStack) -> None:
    assert stack.shifts_angstrom()[0].tolist() == [-6.0, 12.0]


def test_uid_and_columns_stay_in_the_table(stack: ParticleStack) -> None:
    assert stack.table["uid"].tolist() == [1 << 60, (1 << 60) + 1]
    assert list(stack.table.columns)[:4] == [
        "uid",
        "blob/path",
        "blob/idx",
        "blob/shape/0",
    ]


def test_the_best_of_several_classes_gives_the_pose(tmp_path: Path) -> None:
    drop = ("alignments3D/shift", "alignments3D/pose", "alignments3D/psize_A")
    plain = recfunctions.repack_fields(make_rows(1, drop))
    group = "alignments3D_multi"
    extra = [(f"{group}/pose", "f4", (2, 3)), (f"{group}/shift", "f4", (2, 2))]
    extra += [(f"{group}/class_posterior", "f4", (2,)), (f"{group}/psize_A", "f4")]
    rows = np.zeros(1, plain.dtype.descr + extra)
    for name in plain.dtype.names:
        rows[name] = plain[name]
    rows[f"{group}/pose"][0, 1] = (0.0, 0.0, np.pi / 2)
    rows[f"{group}/shift"][0, 1] = (1.0, 2.0)
    rows[f"{group}/class_posterior"] = (0.2, 0.8)
    rows[f"{group}/psize_A"] = 2.0
    stack = read_particles(save(tmp_path / "particles.cs", rows))
    quarter = torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(stack.rotations()[0], quarter, atol=1e-6, rtol=0)
    assert stack.shifts_angstrom().tolist() == [[-2.0, -4.0]]


def with_column(rows: np.ndarray, label: str, values: np.ndarray) -> np.ndarray:
    """Replace a column, or add it, with the type and shape of `values`."""
    columns = {name: rows[name] for name in rows.dtype.names} | {label: values}
    kinds = [(name, x.dtype, x.shape[1:]) for name, x in columns.items()]
    changed = np.zeros(len(rows), kinds)
    for name, column in columns.items():
        changed[name] = column
    return changed


MULTI = {
    "pose": np.zeros((2, 2, 3)),
    "shift": np.zeros((2, 2, 2)),
    "class_posterior": np.zeros((2, 2)),
    "psize_A": np.ones((2, 2)),
}


def multi_rows(**changes: np.ndarray) -> np.ndarray:
    """Rows aligned to several classes."""
    rows = make_rows(2, ("alignments3D/shift", "alignments3D/pose"))
    for name, values in (MULTI | changes).items():
        rows = with_column(rows, f"alignments3D_multi/{name}", values)
    return rows


@pytest.mark.parametrize(
    ("label", "values", "said"),
    [
        ("blob/psize_A", np.array([b"1.5"] * 2), "a value of type bytes24"),
        ("blob/psize_A", np.ones((2, 2)), "2 values of type float64"),
        ("blob/path", np.arange(2), "where a text belongs"),
        ("blob/path", np.array([[b"a", b"b"]] * 2), "2 values of type bytes8"),
        ("blob/idx", np.array([0.0, np.nan]), "where a whole number belongs"),
        ("blob/idx", np.array([b"0", b"1"]), "where a whole number belongs"),
        ("blob/idx", np.zeros((2, 1), "u4"), "1 values"),
        ("blob/sign", np.ones((2, 2)), "where a number belongs"),
        ("ctf/accel_kv", np.array([b"300kV"] * 2), "where a number belongs"),
        ("ctf/df1_A", np.ones((2, 3)), "3 values"),
        ("ctf/cs_mm", np.ones(2, complex), "type complex128"),
        ("alignments3D/pose", np.zeros(2), "where 3 numbers belong"),
        ("alignments3D/pose", np.zeros((2, 2)), "where 3 numbers belong"),
        ("alignments3D/pose", np.zeros((2, 2, 2, 3)), "where 3 numbers belong"),
        ("alignments3D/shift", np.zeros((2, 3)), "where 2 numbers belong"),
        ("alignments3D/psize_A", np.ones((2, 2)), "where a number belongs"),
    ],
)
def test_a_column_of_something_else_is_refused(
    tmp_path: Path, label: str, values: np.ndarray, said: str
) -> None:
    path = save(tmp_path / "particles.cs", with_column(make_rows(), label, values))
    with pytest.raises(InputError, match=f"{label} holds .*{said}.*export"):
        read_particles(path)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("pose", np.zeros((2, 0, 3))),
        ("pose", np.zeros((2, 2, 4))),
        ("shift", np.zeros((2, 3, 2))),
        ("class_posterior", np.zeros(2)),
        ("class_posterior", np.zeros((2, 3))),
        ("psize_A", np.ones((2, 3))),
    ],
)
def test_classes_that_do_not_fit_each_other_are_refused(
    tmp_path: Path, name: str, values: np.ndarray
) -> None:
    rows = multi_rows(**{name: values})
    with pytest.raises(InputError, match=f"alignments3D_multi/{name} holds"):
        read_particles(save(tmp_path / "particles.cs", rows))


def test_an_image_before_the_first_is_refused_with_its_row(tmp_path: Path) -> None:
    rows = with_column(make_rows(), "blob/idx", np.array([0, -1]))
    with pytest.raises(InputError, match=r"row 2: blob/idx is -1, .* from 0; export"):
        read_particles(save(tmp_path / "particles.cs", rows))


def test_uids_of_something_else_join_nothing(tmp_path: Path) -> None:
    save(tmp_path / "J1_passthrough_particles.cs", make_rows())
    rows = make_rows(drop=("alignments3D/pose",))
    rows = with_column(rows, "uid", np.zeros((2, 2)))
    assert read_particles(save(tmp_path / "J1_particles.cs", rows)).notes == ()


def test_a_passthrough_file_is_joined_by_uid(tmp_path: Path) -> None:
    rows = make_rows(3)
    rows["ctf/df1_A"] = [1000, 2000, 3000]
    other = make_rows(3)[["uid", "blob/path", "blob/idx", "blob/psize_A", "blob/shape"]]
    main = make_rows(3)
    main["ctf/df1_A"] = [1000, 2000, 3000]
    drop = ("blob/path", "blob/idx", "blob/psize_A", "blob/shape", "blob/sign")
    main = main[[name for name in main.dtype.names if name not in drop]]
    save(tmp_path / "J1_passthrough_particles.cs", other[[2, 0, 1]])
    stack = read_particles(save(tmp_path / "J1_particles.cs", main))
    assert stack.table["blob/idx"].tolist() == [0, 1, 2]
    assert stack.ctf_params().defocus_u_angstrom.tolist() == [1000, 2000, 3000]
    assert "5 columns" not in stack.notes[0]
    assert "4 columns joined" in stack.notes[0]


def test_a_passthrough_file_of_other_particles_is_left_alone(tmp_path: Path) -> None:
    other = make_rows(3)
    other["uid"] += np.uint64(7)
    save(tmp_path / "J1_passthrough_particles.cs", other)
    path = save(tmp_path / "J1_particles.cs", make_rows(3, drop=("blob/path",)))
    with pytest.raises(InputError, match="blob/path"):
        read_particles(path)


def test_missing_optics_are_named_as_in_the_file(tmp_path: Path) -> None:
    path = save(tmp_path / "particles.cs", make_rows(drop=("ctf/accel_kv",)))
    with pytest.raises(InputError, match=r"no ctf/accel_kv.*give voltage_kv"):
        read_particles(path).ctf_params()


def test_given_optics_complete_the_file(tmp_path: Path) -> None:
    path = save(tmp_path / "particles.cs", make_rows(drop=("ctf/accel_kv",)))
    stack = read_particles(path, optics=OpticsOverride(voltage_kv=200.0))
    assert stack.ctf_params().voltage_kv.tolist() == [200.0, 200.0]


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0 rows"):
        read_particles(save(tmp_path / "particles.cs", make_rows(0)))


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    with (tmp_path / "particles.cs").open("wb") as file:
        np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="pickled"):
        read_particles(tmp_path / "particles.cs")


def test_the_newer_format_names_its_reader(tmp_path: Path) -> None:
    (tmp_path / "particles.cs").write_bytes(b"\x94CSDAT" + bytes(100))
    with pytest.raises(InputError, match="cryosparc-tools"):
        read_particles(tmp_path / "particles.cs")


def test_a_truncated_file_is_reported(tmp_path: Path) -> None:
    path = save(tmp_path / "particles.cs", make_rows(5))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match="damaged or truncated"):
        read_particles(path)


def test_a_plain_array_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "particles.cs").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(InputError, match="named columns"):
        read_particles(tmp_path / "particles.cs")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "particles.cs").write_text("data_particles")
    with pytest.raises(InputError, match=r"not a \.cs file"):
        read_particles(tmp_path / "particles.cs")


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("cryosparc_J2_particles_exported.cs", 22),
        ("cryosparc_P12_J24_001_particles.cs", 2019),
        ("empiar_10076_7.cs", 7),
    ],
)
def test_real_cs_files_have_the_right_number_of_rows(
    shared_data: Path, name: str, rows: int
) -> None:
    assert len(read_particles(shared_data / "star_dialects" / name)) == rows


@pytest.fixture(scope="session")
def refined(shared_data: Path) -> ParticleStack:
    name = "cryosparc_P12_J24_001_particles.cs"
    return read_particles(shared_data / "star_dialects" / name)


def test_cs_optics_equal_those_of_another_program(
    shared_data: Path, refined: ParticleStack
) -> None:
    golden = np.load(shared_data / "star_dialects/golden/ctf2.npz")["arr"]
    optics = refined.ctf_params()
    found = [
        torch.from_numpy(refined.pixel_sizes).float(),
        optics.defocus_u_angstrom,
        optics.defocus_v_angstrom,
        optics.defocus_angle_deg,
        optics.voltage_kv,
        optics.cs_mm,
        optics.amplitude_contrast,
        optics.phase_shift_deg,
    ]
    torch.testing.assert_close(torch.stack(found, 1), torch.from_numpy(golden[:, 1:]))


def test_cs_rotations_equal_those_of_another_program(
    shared_data: Path, refined: ParticleStack
) -> None:
    golden = np.load(shared_data / "star_dialects/golden/pose.cs.npz")["rot"]
    np.testing.assert_allclose(refined.rotations(), golden, atol=1e-6)


def test_cs_shifts_equal_those_of_another_program(
    shared_data: Path, refined: ParticleStack
) -> None:
    golden = np.load(shared_data / "star_dialects/golden/pose.cs.npz")["trans"]
    expected = -golden * 180 * 2.95  # box, Å per pixel
    np.testing.assert_allclose(refined.shifts_angstrom(), expected, atol=1e-4)


def test_star_and_cs_of_one_data_set_agree(shared_data: Path) -> None:
    star, cs = (
        read_particles(shared_data / "star_dialects" / f"empiar_10076_7.{suffix}")
        for suffix in ("star", "cs")
    )
    np.testing.assert_array_equal(star.images(slice(None)), -cs.images(slice(None)))
    torch.testing.assert_close(
        star.ctf_params().defocus_u_angstrom, cs.ctf_params().defocus_u_angstrom
    )


def test_a_real_file_with_zero_rows_is_refused(shared_data: Path) -> None:
    with pytest.raises(InputError, match="0 rows"):
        read_particles(shared_data / "malformed/4k_dataset.cs")
