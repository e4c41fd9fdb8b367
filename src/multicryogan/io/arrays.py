"""Archives of arrays (.npz): whatever is wrong with one is said in a line of ours."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from multicryogan.errors import InputError

# What NumPy and zipfile raise about junk, a cut, a changed byte and a pickle.
_DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    SyntaxError,
    BadZipFile,
    zlib.error,
    struct.error,
)


def read_arrays(
    path: Path, shapes: Mapping[str, str], cure: str
) -> dict[str, NDArray[Any]]:
    """Read arrays of an .npz file by their names.

    Args:
        path: The file.
        shapes: Of each array that is needed, a character for each axis: axes of one
            letter are of one length, and a digit is a length.
        cure: What the user can do when the file cannot be used.

    Returns:
        The arrays by name.

    Raises:
        InputError: It cannot be read, lacks an array, or arrays do not fit each other.
    """
    found = read_archive(path, cure, shapes)
    missing = [name for name in shapes if name not in found]
    if missing:
        raise InputError(f"cannot read {path}: it lacks {', '.join(missing)}; {cure}")
    _check_shapes(path, found, shapes, cure)
    return found


def read_archive(
    path: Path, cure: str, names: Iterable[str] | None = None
) -> dict[str, NDArray[Any]]:
    """Read all arrays of an .npz file, or those of some names that are there.

    Args:
        path: The file.
        cure: What the user can do when the file cannot be used.
        names: Of the arrays that are wanted; all when missing.

    Returns:
        The arrays by name.

    Raises:
        InputError: It cannot be read.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; {cure}") from None
    with file:
        try:
            return _load(file, names)
        except _DAMAGED:
            raise InputError(
                f"cannot read {path}: it is damaged or no archive of arrays; {cure}"
            ) from None


def _load(file: IO[bytes], names: Iterable[str] | None) -> dict[str, NDArray[Any]]:
    """Take those arrays that are there."""
    archive = np.load(file, allow_pickle=False)
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise ValueError("a single array")
    with archive:
        wanted = archive.files if names is None else names
        found = {name: archive[name] for name in wanted if name in archive}
    if not all(isinstance(array, np.ndarray) for array in found.values()):
        raise ValueError("bytes that are no array")
    return found


def _check_shapes(
    path: Path, found: Mapping[str, NDArray[Any]], shapes: Mapping[str, str], cure: str
) -> None:
    """Raise an InputError unless axes of one letter are of one length."""
    length: dict[str, int] = {}
    for name, axes in shapes.items():
        shape = found[name].shape
        fits = len(shape) == len(axes) and all(
            size == (int(axis) if axis.isdigit() else length.setdefault(axis, size))
            for axis, size in zip(axes, shape, strict=True)
        )
        if not fits:
            raise InputError(
                f"cannot read {path}: {name} of shape {shape} does not fit the other "
                f"arrays; {cure}"
            )
