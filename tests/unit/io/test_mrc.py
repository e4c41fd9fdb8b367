"""Facts about MRC files: what is read, what is written, what is refused."""

import errno
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch

from multicryogan.errors import InputError
from multicryogan.io import StackWriter, read_volume, write_stack, write_volume
from multicryogan.io.mrc_header import map_values, read_header


def ramp(*shape: int) -> np.ndarray:
    """Values 0, 1, 2, ... that tell every axis from the others."""
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def write_with_mrcfile(path: Path, values: np.ndarray, voxel_size: float = 2.0) -> Path:
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(values)
        file.voxel_size = voxel_size
    return path


def edit_header(path: Path, **fields: object) -> Path:
    with mrcfile.open(path, "r+") as file:
        for name, value in fields.items():
            file.header[name] = value
    return path


@pytest.mark.parametrize("box", [8, 9])
def test_a_written_volume_reads_back(tmp_path: Path, box: int) -> None:
    values = torch.from_numpy(ramp(box, box, box))
    write_volume(tmp_path / "map.mrc", values, voxel_size=1.25)
    assert torch.equal(read_volume(tmp_path / "map.mrc").values, values)


def test_the_voxel_size_of_a_volume_reads_back(tmp_path: Path) -> None:
    write_volume(tmp_path / "map.mrc", ramp(8, 8, 8), voxel_size=1.25)
    assert read_volume(tmp_path / "map.mrc").voxel_size == pytest.approx(1.25)


def test_mrcfile_finds_no_fault_in_a_volume(tmp_path: Path) -> None:
    write_volume(tmp_path / "map.mrc", ramp(8, 8, 8), voxel_size=1.25)
    assert mrcfile.validate(tmp_path / "map.mrc")


def test_a_volume_is_marked_as_one(tmp_path: Path) -> None:
    write_volume(tmp_path / "map.mrc", ramp(8, 8, 8), voxel_size=1.25)
    with mrcfile.open(tmp_path / "map.mrc") as file:
        header = file.header
        found = (int(header.ispg), int(header.mz), header.origin.item())
    assert found == (1, 8, (0.0, 0.0, 0.0))


def test_mrcfile_finds_no_fault_in_a_stack(tmp_path: Path) -> None:
    write_stack(tmp_path / "stack.mrcs", ramp(3, 8, 8), pixel_size=1.25)
    assert mrcfile.validate(tmp_path / "stack.mrcs")


def test_a_stack_is_marked_as_one(tmp_path: Path) -> None:
    write_stack(tmp_path / "stack.mrcs", ramp(3, 8, 8), pixel_size=1.25)
    with mrcfile.open(tmp_path / "stack.mrcs") as file:
        found = (int(file.header.ispg), int(file.header.mz), int(file.header.nz))
        assert file.voxel_size.x == pytest.approx(1.25)
    assert found == (0, 1, 3)


def test_blocks_are_written_one_after_the_other(tmp_path: Path) -> None:
    images = ramp(5, 9, 9)
    write_stack(tmp_path / "stack.mrcs", iter((images[:2], images[2:])), 1.25)
    np.testing.assert_array_equal(mrcfile.read(tmp_path / "stack.mrcs"), images)


def test_the_header_holds_the_statistics(tmp_path: Path) -> None:
    images = ramp(5, 8, 8)
    write_stack(tmp_path / "stack.mrcs", (images[:2], images[2:]), 1.25)
    with mrcfile.open(tmp_path / "stack.mrcs") as file:
        header = file.header
        found = [float(header[name]) for name in ("dmin", "dmax", "dmean", "rms")]
    expected = [images.min(), images.max(), images.mean(), images.std()]
    assert found == pytest.approx(expected, rel=1e-5)


def test_nothing_remains_of_a_stack_that_failed(tmp_path: Path) -> None:
    def fail_on_the_way() -> None:
        with StackWriter(tmp_path / "stack.mrcs", 8, 1.0) as writer:
            writer.append(ramp(2, 8, 8))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail_on_the_way()
    assert list(tmp_path.iterdir()) == []


def test_an_old_file_survives_a_failed_write(tmp_path: Path) -> None:
    path = tmp_path / "map.mrc"
    path.write_bytes(b"before")
    with pytest.raises(ValueError, match="NaN"):
        write_volume(path, np.full((4, 4, 4), np.nan), 1.0)
    assert path.read_bytes() == b"before"


def test_a_full_disk_is_reported_with_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", no_space)
    with pytest.raises(InputError, match=r"map\.mrc: No space left"):
        write_volume(tmp_path / "map.mrc", ramp(4, 4, 4), 1.0)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="choose an existing folder"):
        write_stack(tmp_path / "nowhere" / "stack.mrcs", ramp(1, 8, 8), 1.0)


@pytest.mark.parametrize("kind", ["int8", "int16", "float32", "uint16", "float16"])
def test_every_real_mode_is_read(tmp_path: Path, kind: str) -> None:
    values = (ramp(4, 4, 4) - (0 if kind == "uint16" else 32)).astype(kind)
    path = write_with_mrcfile(tmp_path / "map.mrc", values)
    np.testing.assert_array_equal(read_volume(path).values, values.astype(np.float32))


def test_complex_values_are_refused(tmp_path: Path) -> None:
    values = np.zeros((4, 4, 4), np.complex64)
    path = write_with_mrcfile(tmp_path / "map.mrc", values)
    with pytest.raises(InputError, match="mode 4"):
        read_volume(path)


@pytest.mark.parametrize(
    "axes", [(1, 2, 3), (3, 2, 1), (2, 1, 3), (2, 3, 1), (3, 1, 2), (1, 3, 2)]
)
def test_permuted_axes_are_brought_to_zyx(
    tmp_path: Path, axes: tuple[int, int, int]
) -> None:
    values = ramp(4, 4, 4)  # (z, y, x)
    mapc, mapr, maps = axes
    stored = values.transpose(3 - maps, 3 - mapr, 3 - mapc)
    path = write_with_mrcfile(tmp_path / "map.mrc", np.ascontiguousarray(stored))
    edit_header(path, mapc=mapc, mapr=mapr, maps=maps)
    np.testing.assert_array_equal(read_volume(path).values, values)


def test_an_axis_named_twice_is_refused(tmp_path: Path) -> None:
    path = write_with_mrcfile(tmp_path / "map.mrc", ramp(4, 4, 4))
    with pytest.raises(InputError, match="MAPC"):
        read_volume(edit_header(path, mapc=2))


def test_the_voxel_size_is_cella_over_mx(tmp_path: Path) -> None:
    path = write_with_mrcfile(tmp_path / "map.mrc", ramp(4, 4, 4))
    edit_header(path, mx=8, my=8, mz=8, cella=(24.0, 24.0, 24.0))
    assert read_volume(path).voxel_size == pytest.approx(3.0)


def test_a_volume_without_voxel_size_asks_for_it(tmp_path: Path) -> None:
    path = write_with_mrcfile(tmp_path / "map.mrc", ramp(4, 4, 4), voxel_size=0.0)
    with pytest.raises(InputError, match="into the header: in ChimeraX"):
        read_volume(path)


def test_a_given_voxel_size_wins(tmp_path: Path) -> None:
    path = write_with_mrcfile(tmp_path / "map.mrc", ramp(4, 4, 4))
    assert read_volume(path, voxel_size=3.5).voxel_size == 3.5


def test_unequal_voxel_sides_are_refused(tmp_path: Path) -> None:
    path = write_with_mrcfile(tmp_path / "map.mrc", ramp(4, 4, 4))
    with pytest.raises(InputError, match="equal sides"):
        read_volume(edit_header(path, cella=(8.0, 8.0, 9.0)))


def test_a_volume_that_is_not_cubic_is_refused(tmp_path: Path) -> None:
    path = write_with_mrcfile(tmp_path / "map.mrc", ramp(4, 5, 6))
    with pytest.raises(InputError, match="6 x 5 x 4 voxels"):
        read_volume(path)


def test_nan_voxels_are_refused(tmp_path: Path) -> None:
    values = ramp(4, 4, 4)
    values[1, 2, 3] = np.nan
    with mrcfile.new(tmp_path / "map.mrc") as file, np.errstate(invalid="ignore"):
        file.set_data(ramp(4, 4, 4))
        file.voxel_size = 2.0
        file.data[:] = values
    with pytest.raises(InputError, match="in 1 of its 64 voxels; write the map again"):
        read_volume(tmp_path / "map.mrc")


def test_a_header_without_stamp_and_word_is_read(tmp_path: Path) -> None:
    path = write_with_mrcfile(tmp_path / "map.mrc", ramp(4, 4, 4))
    raw = bytearray(path.read_bytes())
    raw[208:216] = bytes(8)
    path.write_bytes(raw)
    np.testing.assert_array_equal(read_volume(path).values, ramp(4, 4, 4))


@pytest.mark.parametrize("has_stamp", [True, False])
def test_big_endian_files_are_read(tmp_path: Path, has_stamp: bool) -> None:
    path = write_with_mrcfile(tmp_path / "map.mrc", ramp(4, 4, 4).astype(">f4"))
    raw = bytearray(path.read_bytes())
    assert raw[212] == 0x11
    raw[212:214] = raw[212:214] if has_stamp else bytes(2)
    path.write_bytes(raw)
    np.testing.assert_array_equal(read_volume(path).values, ramp(4, 4, 4))


def test_values_begin_after_the_extended_header(tmp_path: Path) -> None:
    path = tmp_path / "stack.mrcs"
    with mrcfile.new(path) as file:
        file.set_data(ramp(3, 4, 4))
        file.set_extended_header(np.frombuffer(b"x" * 160, "S160"))
    np.testing.assert_array_equal(map_values(read_header(path)), ramp(3, 4, 4))


def test_a_truncated_file_names_both_lengths(tmp_path: Path) -> None:
    path = write_with_mrcfile(tmp_path / "map.mrc", ramp(4, 4, 4))
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InputError, match=r"1280 bytes, 1276 found"):
        read_volume(path)


def test_a_truncated_header_is_reported(tmp_path: Path) -> None:
    (tmp_path / "map.mrc").write_bytes(bytes(100))
    with pytest.raises(InputError, match="100 bytes found"):
        read_volume(tmp_path / "map.mrc")


def test_a_file_of_another_kind_is_reported(tmp_path: Path) -> None:
    (tmp_path / "map.mrc").write_bytes(b"data_particles\n" * 100)
    with pytest.raises(InputError, match=r"not an MRC file .*; give another"):
        read_volume(tmp_path / "map.mrc")


def test_a_compressed_file_says_unpack(tmp_path: Path) -> None:
    (tmp_path / "map.mrc.gz").write_bytes(b"\x1f\x8b" + bytes(2000))
    with pytest.raises(InputError, match="gunzip"):
        read_volume(tmp_path / "map.mrc.gz")


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file or directory; check the path"):
        read_volume(tmp_path / "map.mrc")
