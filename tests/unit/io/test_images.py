"""Facts about finding stacks and reading their images by row."""

import os
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch

from multicryogan.errors import InputError
from multicryogan.io import OpticsOverride, read_particles, write_stack, write_volume

BOX = 6
linux = pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="needs /proc")


def make_stack(path: Path, count: int, first: float = 0.0, box: int = BOX) -> Path:
    """Images of one value each: first, first + 1, ..."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = first + np.arange(count, dtype=np.float32)
    write_stack(path, np.broadcast_to(values[:, None, None], (count, box, box)), 1.5)
    return path


def make_star(path: Path, *names: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("data_\n\nloop_\n_rlnImageName #1\n" + "\n".join(names) + "\n")
    return path


def values(images: np.ndarray) -> list[float]:
    """The value of each image, after a check that it is flat."""
    assert (images == images[:, :1, :1]).all()
    found: list[float] = images[:, 0, 0].tolist()
    return found


@pytest.fixture
def two_stacks(tmp_path: Path) -> Path:
    """Six rows that jump to and fro between two stacks."""
    make_stack(tmp_path / "a.mrcs", 4)
    make_stack(tmp_path / "b.mrcs", 3, first=10.0)
    names = ("3@a.mrcs", "1@b.mrcs", "1@a.mrcs", "3@b.mrcs", "2@a.mrcs", "4@a.mrcs")
    return make_star(tmp_path / "p.star", *names)


def test_rows_are_read_by_their_image_index(two_stacks: Path) -> None:
    images = read_particles(two_stacks).images(slice(None))
    assert values(images) == [2.0, 10.0, 0.0, 12.0, 1.0, 3.0]


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
def test_rows_come_in_the_order_asked_for(two_stacks: Path, kind: type) -> None:
    images = read_particles(two_stacks).images(kind([5, 3, 0, 5]))
    assert values(images) == [3.0, 12.0, 2.0, 3.0]


def test_bytes_on_disk_are_those_of_all_stacks(two_stacks: Path) -> None:
    sizes = [two_stacks.with_name(name).stat().st_size for name in ("a.mrcs", "b.mrcs")]
    assert read_particles(two_stacks).bytes_on_disk == sum(sizes)


def test_no_row_gives_no_image(two_stacks: Path) -> None:
    assert read_particles(two_stacks).images([]).shape == (0, BOX, BOX)


def test_images_are_float32(two_stacks: Path) -> None:
    assert read_particles(two_stacks).images([0]).dtype == np.float32


def test_a_bare_stack_is_read_whole(tmp_path: Path) -> None:
    stack = read_particles(make_stack(tmp_path / "a.mrcs", 4))
    assert values(stack.images(slice(None))) == [0.0, 1.0, 2.0, 3.0]


def test_a_bare_stack_has_the_pixel_size_of_its_header(tmp_path: Path) -> None:
    assert read_particles(make_stack(tmp_path / "a.mrcs", 1)).pixel_size == 1.5


def test_a_bare_stack_takes_its_optics_from_the_user(tmp_path: Path) -> None:
    given = OpticsOverride(
        voltage_kv=300.0, cs_mm=2.7, amplitude_contrast=0.1, defocus_angstrom=15000.0
    )
    optics = read_particles(
        make_stack(tmp_path / "a.mrcs", 2), optics=given
    ).ctf_params()
    assert optics.defocus_v_angstrom.tolist() == [15000.0, 15000.0]
    assert optics.defocus_angle_deg.tolist() == [0.0, 0.0]


def test_a_bare_stack_without_optics_has_no_ctf(tmp_path: Path) -> None:
    assert read_particles(make_stack(tmp_path / "a.mrcs", 1)).ctf_params() is None


def test_rows_of_a_bare_stack_are_named_as_in_relion(tmp_path: Path) -> None:
    stack = read_particles(make_stack(tmp_path / "a.mrcs", 2))
    assert stack.table["rlnImageName"].tolist() == ["000001@a.mrcs", "000002@a.mrcs"]


def test_a_file_without_pixel_size_asks_for_it(tmp_path: Path) -> None:
    path = make_stack(tmp_path / "a.mrcs", 1)
    with mrcfile.open(path, "r+") as file:
        file.voxel_size = 0.0
    with pytest.raises(InputError, match="pixel_size"):
        _ = read_particles(path).pixel_size
    assert read_particles(path, optics=OpticsOverride(pixel_size=2.0)).pixel_size == 2.0


@pytest.mark.parametrize("place", ["Job/", "", "Job/Sub/../", "../"])
def test_stacks_are_found_beside_the_star_or_above(tmp_path: Path, place: str) -> None:
    (tmp_path / "project/Job/Sub").mkdir(parents=True)
    make_stack(tmp_path / "project" / place / "Movies/a.mrcs", 1, first=7.0)
    star = make_star(tmp_path / "project/Job/p.star", "1@Movies/a.mrcs")
    assert values(read_particles(star).images([0])) == [7.0]


def test_stacks_are_found_in_the_data_folder_by_last_part(tmp_path: Path) -> None:
    make_stack(tmp_path / "disk/a.mrcs", 1, first=7.0)
    star = make_star(tmp_path / "project/p.star", "1@Extract/job1/a.mrcs")
    assert values(read_particles(star, tmp_path / "disk").images([0])) == [7.0]


def test_the_data_folder_wins_over_the_folder_of_the_star(tmp_path: Path) -> None:
    make_stack(tmp_path / "disk/a.mrcs", 1, first=7.0)
    make_stack(tmp_path / "a.mrcs", 1)
    star = make_star(tmp_path / "p.star", "1@a.mrcs")
    assert values(read_particles(star, tmp_path / "disk").images([0])) == [7.0]


def test_stacks_of_one_name_in_two_folders_are_not_confused(tmp_path: Path) -> None:
    make_stack(tmp_path / "a.mrcs", 1)
    star = make_star(tmp_path / "p.star", "1@job1/a.mrcs", "1@job2/a.mrcs")
    with pytest.raises(InputError, match=r"job1/a\.mrcs, which was not found"):
        read_particles(star).images([0])


def test_a_missing_stack_names_the_folders_looked_in(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    star = make_star(tmp_path / "project/p.star", "1@Movies/gone.mrcs")
    stack = read_particles(star, tmp_path / "disk")
    assert len(stack) == 1
    pattern = f"Movies/gone.mrcs.*{tmp_path}/disk, {tmp_path}/project.*datadir"
    for ask in (stack.check_files, lambda: stack.images([0]), lambda: stack.box):
        with pytest.raises(InputError, match=pattern):
            ask()


def test_a_data_folder_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    star = make_star(tmp_path / "p.star", "1@a.mrcs")
    with pytest.raises(InputError, match="data folder"):
        read_particles(star, tmp_path / "nowhere")


def test_an_index_beyond_the_stack_names_its_row(two_stacks: Path) -> None:
    make_star(two_stacks, "1@a.mrcs", "5@a.mrcs")
    stack = read_particles(two_stacks)
    for ask in (stack.check_files, lambda: stack.images([0, 1])):
        with pytest.raises(InputError, match=r"row 2 .*number 5.*has 4 images"):
            ask()


def test_pixels_that_are_nan_name_row_and_file(tmp_path: Path) -> None:
    path = make_stack(tmp_path / "a.mrcs", 3)
    with mrcfile.mmap(path, "r+") as file:
        file.data[1, 2, 3] = np.nan
    stack = read_particles(path)
    with pytest.raises(InputError, match=r"row 2 \(000002@a\.mrcs\): NaN.*a\.mrcs"):
        stack.images([2, 1, 0])


def test_a_truncated_stack_is_reported(tmp_path: Path) -> None:
    path = make_stack(tmp_path / "a.mrcs", 3)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="truncated"):
        read_particles(path)


def test_different_boxes_have_no_common_one(tmp_path: Path) -> None:
    make_stack(tmp_path / "a.mrcs", 1)
    make_stack(tmp_path / "b.mrcs", 1, box=8)
    stack = read_particles(make_star(tmp_path / "p.star", "1@a.mrcs", "1@b.mrcs"))
    assert stack.boxes.tolist() == [6, 8]
    for ask in (lambda: stack.box, lambda: stack.images([0, 1])):
        with pytest.raises(InputError, match="one box"):
            ask()


def test_images_that_are_not_square_are_refused(tmp_path: Path) -> None:
    with mrcfile.new(tmp_path / "a.mrcs") as file:
        file.set_data(np.zeros((2, 4, 6), np.float32))
    with pytest.raises(InputError, match="6 x 4 pixels"):
        read_particles(tmp_path / "a.mrcs").images([0])


def test_a_stack_marked_as_a_volume_is_read(tmp_path: Path) -> None:
    images = np.arange(3 * 16, dtype=np.float32).reshape(3, 4, 4)
    with mrcfile.new(tmp_path / "a.mrcs") as file:
        file.set_data(images)
        file.set_volume()
    found = read_particles(tmp_path / "a.mrcs").images(slice(None))
    np.testing.assert_array_equal(found, images)


def test_a_map_is_no_stack(tmp_path: Path) -> None:
    write_volume(tmp_path / "map.mrc", np.zeros((BOX, BOX, BOX)), 1.5)
    with pytest.raises(InputError, match=r"map\.mrc is a map, not a stack.*; give a"):
        read_particles(tmp_path / "map.mrc")


@pytest.mark.parametrize("name", ["cube.mrcs", "stack.mrc", "more.mrc"])
def test_only_a_cube_marked_as_a_map_is_taken_for_one(
    tmp_path: Path, name: str
) -> None:
    """By name a stack, by its header, and with more images than pixels across."""
    if name == "stack.mrc":
        write_stack(tmp_path / name, np.zeros((BOX, BOX, BOX)), 1.5)
    else:
        count = BOX + (name == "more.mrc")
        with mrcfile.new(tmp_path / name) as file:
            file.set_data(np.zeros((count, BOX, BOX), np.float32))
            file.set_volume()
    assert len(read_particles(tmp_path / name)) >= BOX


def test_an_incomplete_header_is_noted_once(tmp_path: Path) -> None:
    for name in ("a.mrcs", "b.mrcs"):
        path = make_stack(tmp_path / name, 1)
        raw = bytearray(path.read_bytes())
        raw[208:216] = bytes(8)
        path.write_bytes(raw)
    stack = read_particles(make_star(tmp_path / "p.star", "1@a.mrcs", "1@b.mrcs"))
    stack.check_files()
    assert len(stack.notes) == 1
    assert "2 stacks have an incomplete MRC header" in stack.notes[0]


def test_many_stacks_are_read(tmp_path: Path) -> None:
    for number in range(40):
        make_stack(tmp_path / f"{number}.mrcs", 1, first=float(number))
    names = [f"1@{number}.mrcs" for number in range(40)]
    stack = read_particles(make_star(tmp_path / "p.star", *names))
    assert values(stack.images(slice(None))) == [float(n) for n in range(40)]


@linux
def test_no_stack_stays_open(two_stacks: Path) -> None:
    stack = read_particles(two_stacks)
    stack.images(slice(None))
    stack.expect(slice(None))
    folder = str(two_stacks.parent)
    open_files = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
    assert [path for path in open_files if path.startswith(folder)] == []
    assert folder not in Path("/proc/self/maps").read_text()


def bytes_read() -> int:
    """Bytes that this process has asked the system for so far."""
    return int(Path("/proc/self/io").read_text().split()[1])


@linux
def test_only_the_images_asked_for_are_read(tmp_path: Path) -> None:
    path = make_stack(tmp_path / "a.mrcs", 2, box=128)
    raw = bytearray(path.read_bytes()[:1024])
    raw[8:12] = (50_000).to_bytes(4, "little")
    with path.open("r+b") as file:
        file.write(raw)
        file.truncate(1024 + 50_000 * 128**2 * 4)  # 3 GB, on disk a few pages
    stack = read_particles(path)
    before = bytes_read()
    found = stack.images([49_999, 1, 0])
    assert values(found) == [0.0, 1.0, 0.0]
    assert bytes_read() - before < 3 * 128**2 * 4 + 10_000


def test_a_stack_that_has_shrunk_since_is_reported(two_stacks: Path) -> None:
    stack = read_particles(two_stacks)
    stack.check_files()
    path = two_stacks.parent / "a.mrcs"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"a\.mrcs became shorter"):
        stack.images([5])


def test_a_stack_that_is_gone_since_is_reported(two_stacks: Path) -> None:
    stack = read_particles(two_stacks)
    stack.check_files()
    (two_stacks.parent / "a.mrcs").unlink()
    stack.expect([0])  # what is wrong is told by the reading itself
    with pytest.raises(InputError, match=r"cannot read .*a\.mrcs"):
        stack.images([0])


@pytest.mark.skipif(sys.platform != "linux", reason="needs posix_fadvise")
def test_images_are_expected_where_they_are_read(
    two_stacks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []

    def advise(descriptor: int, offset: int, size: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_WILLNEED
        found = os.pread(descriptor, size, offset)
        asked.append((size, int(np.frombuffer(found, "<f4")[0])))

    monkeypatch.setattr(os, "posix_fadvise", advise)
    read_particles(two_stacks).expect([0, 3, 4])
    assert sorted(asked) == [(BOX**2 * 4, 1), (BOX**2 * 4, 2), (BOX**2 * 4, 12)]


@pytest.mark.parametrize("name", ["p.txt", "p", "p.star", "p.mrcs"])
def test_a_path_that_cannot_be_used_is_reported(tmp_path: Path, name: str) -> None:
    if name in ("p.txt", "p"):
        (tmp_path / name).write_text("x")
    with pytest.raises(InputError, match=r"\.star, \.cs"):
        read_particles(tmp_path / name)


def test_a_folder_is_no_particle_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        read_particles(tmp_path)


@pytest.mark.parametrize(
    "name", ["star_dialects/relion31.star", "betagal_101/particles_first101_128px.star"]
)
def test_real_images_equal_those_of_another_reader(
    shared_data: Path, name: str
) -> None:
    stack = read_particles(shared_data / name)
    rows = np.array([4, 0, 3])
    text = stack.table["rlnImageName"][4]
    path = shared_data / Path(name).parent / text.split("@")[1]
    raw = path.read_bytes()[1024:]
    box = stack.box
    images = np.frombuffer(raw, "<f4").reshape(-1, box, box)
    index = [int(stack.table["rlnImageName"][row].split("@")[0]) - 1 for row in rows]
    np.testing.assert_array_equal(stack.images(rows), images[index])
