"""Archives of arrays that are damaged, or are none."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from multicryogan.errors import InputError
from multicryogan.io import read_arrays

SHAPES = {"latents": "Vd", "weight": "NV", "turns": "N33"}
GOOD = {"latents": (5, 1), "weight": (40, 5), "turns": (40, 3, 3)}


def archive(path: Path, **changed: tuple[int, ...]) -> bytes:
    """Write an archive and give its bytes."""
    shapes = {**GOOD, **changed}
    draws = np.random.default_rng(0)
    arrays = {name: draws.random(shape) for name, shape in shapes.items()}
    np.savez_compressed(path, **arrays)
    return path.read_bytes()


def read(path: Path) -> dict[str, np.ndarray]:
    return read_arrays(path, SHAPES, "make it anew")


def test_arrays_come_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    archive(path, more=(7,))
    found = read(path)
    assert {name: array.shape for name, array in found.items()} == GOOD


def pickled() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}]), allow_pickle=True)
    return file.getvalue()


def archived(content: bytes) -> bytes:
    """An archive whose arrays have this content."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name in GOOD:
            made.writestr(f"{name}.npy", content)
    return file.getvalue()


def plain() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


def changed(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "junk": lambda data: b"no archive at all",
    "cut": lambda data: data[:-10],
    "half": lambda data: data[: len(data) // 2],
    "signature alone": lambda data: data[:4],
    "packed values": lambda data: changed(data, 200),
    "a pickle": lambda data: pickled(),
    "a pickle in it": lambda data: archived(pickled()),
    "text in it": lambda data: archived(b"text"),
    "a single array": lambda data: plain(),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_archive_gets_a_line_of_ours(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(damage(archive(path)))
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value) == (
        f"cannot read {path}: it is damaged or no archive of arrays; make it anew"
    )


def test_no_single_byte_brings_another_error(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    data = archive(path)
    for place in range(0, len(data), 3):
        path.write_bytes(changed(data, place))
        try:
            read(path)
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_a_missing_file_and_a_missing_array_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(InputError, match=r"a\.npz: No such file.*; make it anew"):
        read(path)
    np.savez(path, latents=np.zeros((5, 1)))
    with pytest.raises(InputError, match="it lacks weight, turns; make it anew"):
        read(path)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("weight", (40, 4)), ("weight", (40,)), ("turns", (41, 3, 3)), ("turns", (40, 9))],
)
def test_arrays_that_do_not_fit_each_other_are_refused(
    tmp_path: Path, name: str, shape: tuple[int, ...]
) -> None:
    archive(tmp_path / "a.npz", **{name: shape})
    with pytest.raises(InputError, match=f"{name} of shape .* does not fit the other"):
        read(tmp_path / "a.npz")
