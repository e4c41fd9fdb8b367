"""cryoSPARC's particle tables (.cs, a NumPy structured array), in our words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multicryogan.errors import InputError
from multicryogan.io.rows import Floats, ParticleRows, first_true, name_codes

_LABELS = {
    "defocus_u_angstrom": "ctf/df1_A",
    "defocus_v_angstrom": "ctf/df2_A",
    "defocus_angle_deg": "ctf/df_angle_rad",
    "phase_shift_deg": "ctf/phase_shift_rad",
    "bfactor_angstrom2": "ctf/bfactor",
    "scale": "ctf/scale",
    "voltage_kv": "ctf/accel_kv",
    "cs_mm": "ctf/cs_mm",
    "amplitude_contrast": "ctf/amp_contrast",
    "pixel_size": "blob/psize_A",
}


def read_cryosparc(path: Path) -> ParticleRows:
    """Read a particle .cs file.

    Columns that cryoSPARC left in a passthrough file beside it, with the same set of
    uid, are joined.

    Args:
        path: The .cs file.

    Returns:
        Its particles; `table` keeps uid, and numbers the parts of an array column
        as name/0, name/1, ...

    Raises:
        InputError: It names no images, a column holds something else than its name
            says, or `load_cryosparc` refuses it.
    """
    rows, joined = load_cryosparc(path)
    if "blob/path" not in _names(rows) or "blob/idx" not in _names(rows):
        raise InputError(
            f"{path} names no images: blob/path and blob/idx are missing; export the "
            "particles with their images, or put the job's passthrough file beside it"
        )
    codes, names = name_codes(_paths(path, rows))
    found = {name: _column(path, rows, label, ()) for name, label in _LABELS.items()}
    values = {name: column for name, column in found.items() if column is not None}
    for name in ("defocus_angle_deg", "phase_shift_deg"):  # radians in the file
        if name in values:
            values[name] = np.rad2deg(values[name])
    rotation, shift = _poses(path, rows)
    stored = _column(path, rows, "blob/sign", ())
    sign = np.ones(len(rows)) if stored is None else np.where(stored < 0, -1, 1)
    return ParticleRows(
        path=path,
        table=_as_table(rows),
        optics=None,
        stack_names=names,
        stack=codes,
        image_index=_image_index(path, rows),
        values=values,
        labels=_LABELS,
        sign=sign.astype(np.float32),
        rotation=rotation,
        shift_angstrom=shift,
        notes=joined,
    )


def load_cryosparc(path: Path) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Load the structured array of a particle .cs file, completed as for reading.

    Args:
        path: The .cs file.

    Returns:
        (N,) rows with cryoSPARC's columns, those of passthrough files last, and a note
        for each file that was joined.

    Raises:
        InputError: Empty, pickled or in the newer format.
    """
    rows = _load(path)
    if len(rows) == 0:
        raise InputError(
            f"{path} holds no particles: it has 0 rows; export the particles again"
        )
    return _join_passthrough(path, rows)


def with_columns(
    rows: NDArray[Any], columns: Mapping[str, NDArray[Any]]
) -> NDArray[Any]:
    """Copy rows with columns replaced or, at the end, added; all others stay.

    Args:
        rows: (N,) structured array.
        columns: (N, ...) values of each; they give its dtype and shape.
    """
    sources = {name: rows[name] for name in _names(rows)} | dict(columns)
    changed = np.empty(
        len(rows), [(name, x.dtype, x.shape[1:]) for name, x in sources.items()]
    )
    for name, values in sources.items():
        changed[name] = values
    return changed


def _load(path: Path) -> NDArray[Any]:
    """The structured array, or a message for each thing that a .cs may be instead."""
    try:
        with path.open("rb") as file:
            magic = file.read(6)
        if magic[1:6] == b"CSDAT":
            raise InputError(
                f"{path} is in cryoSPARC's newer CSDAT format; convert it with "
                "cryosparc-tools: Dataset.load(path).save(new_path, format=1)"
            )
        if magic != b"\x93NUMPY":
            raise InputError(f"{path} is not a .cs file (a NumPy structured array)")
        rows = np.load(path, allow_pickle=False)
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror or error}; check the path"
        ) from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        if "allow_pickle" in str(error):
            raise InputError(
                f"{path} holds pickled Python objects, which can run code and are not "
                "read; export the particles from cryoSPARC again"
            ) from error
        raise InputError(
            f"{path} is damaged or truncated ({error}); copy it again"
        ) from error
    if rows.dtype.names is None or rows.ndim != 1:
        raise InputError(
            f"{path} is a plain NumPy array {rows.shape}; a .cs file has named columns"
        )
    return np.asarray(rows)


def _names(rows: NDArray[Any]) -> tuple[str, ...]:
    """The columns of a structured array."""
    return rows.dtype.names or ()


def _has_uids(rows: NDArray[Any]) -> bool:
    """Whether rows are told apart by numbers."""
    return "uid" in _names(rows) and rows["uid"].ndim == 1


def _join_passthrough(
    path: Path, rows: NDArray[Any]
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Add columns of passthrough files beside `path` that hold the same uid."""
    wanted = {"blob/path", "ctf/df1_A", "alignments3D/pose"}
    if not _has_uids(rows) or wanted <= set(_names(rows)):
        return rows, ()
    notes = []
    order = np.argsort(rows["uid"], kind="stable")
    for other_path in sorted(path.parent.glob("*passthrough*particles*.cs")):
        if other_path.name == path.name:
            continue
        other = _load(other_path)
        new = [name for name in _names(other) if name not in _names(rows)]
        if not _has_uids(other) or len(other) != len(rows) or not new:
            continue
        other_order = np.argsort(other["uid"], kind="stable")
        if not np.array_equal(rows["uid"][order], other["uid"][other_order]):
            continue
        place = np.empty_like(order)
        place[order] = other_order
        rows = with_columns(rows, {name: other[name][place] for name in new})
        notes.append(f"{path.name}: {len(new)} columns joined from {other_path.name}")
    return rows, tuple(notes)


def _poses(path: Path, rows: NDArray[Any]) -> tuple[Floats | None, Floats | None]:
    """(N, 3, 3) A and (N, 2) shifts in Å, of the best class when there are several."""
    groups = ("alignments3D", "alignments3D_multi")
    group = next((g for g in groups if f"{g}/pose" in _names(rows)), None)
    if group is None:
        return None, None
    classes = rows[f"{group}/pose"].shape[1:-1]  # () or (C,)
    if len(classes) > 1 or 0 in classes:
        raise _unexpected(path, rows, f"{group}/pose", "3 numbers belong")
    pose = _column(path, rows, f"{group}/pose", (*classes, 3))
    shift = _column(path, rows, f"{group}/shift", (*classes, 2))
    size = _column(path, rows, f"{group}/psize_A", classes, ())
    if classes:
        posterior = _column(path, rows, f"{group}/class_posterior", classes)
        if posterior is None:
            raise InputError(f"{path}: {group}/pose needs {group}/class_posterior")
        each, best = np.arange(len(rows)), posterior.argmax(axis=1)
        pose = None if pose is None else pose[each, best]
        shift = None if shift is None else shift[each, best]
        size = size[each, best] if size is not None and size.ndim == 2 else size
    if size is None:
        size = _column(path, rows, "blob/psize_A", ())
    # cryoSPARC stores the shift that centres the image, like RELION's origin.
    shift_angstrom = None
    if shift is not None and size is not None:
        shift_angstrom = -shift * size[:, None]
    return (None if pose is None else _rotation(pose)), shift_angstrom


def _paths(path: Path, rows: NDArray[Any]) -> list[str]:
    """The stack of each row."""
    column = rows["blob/path"]
    if column.ndim != 1 or column.dtype.kind not in "SU":
        raise _unexpected(path, rows, "blob/path", "a text belongs")
    return [_text(value).lstrip(">") for value in column.tolist()]


def _image_index(path: Path, rows: NDArray[Any]) -> NDArray[np.int64]:
    """(N,) the image of each row in its stack, from 0."""
    column = rows["blob/idx"]
    if column.ndim != 1 or column.dtype.kind not in "iu":
        raise _unexpected(path, rows, "blob/idx", "a whole number belongs")
    index = column.astype(np.int64)
    wrong = first_true(index < 0)
    if wrong is not None:
        raise InputError(
            f"{path}, row {wrong + 1}: blob/idx is {column[wrong]}, where images are "
            "counted from 0; export the particles again"
        )
    return index


def _column(
    path: Path, rows: NDArray[Any], label: str, *shapes: tuple[int, ...]
) -> Floats | None:
    """One column as float64, of one of these shapes a row; None where there is none."""
    if label not in _names(rows):
        return None
    column = rows[label]
    if column.dtype.kind not in "iuf" or column.shape[1:] not in shapes:
        count = " x ".join(map(str, shapes[0]))
        count = f"{count} numbers belong" if count else "a number belongs"
        raise _unexpected(path, rows, label, count)
    return column.astype(np.float64)


def _unexpected(
    path: Path, rows: NDArray[Any], label: str, expected: str
) -> InputError:
    """Complain of a column that holds something else than its name says."""
    column = rows[label]
    size = " x ".join(map(str, column.shape[1:]))
    found = f"{size} values" if size else "a value"
    return InputError(
        f"{path}: {label} holds {found} of type {column.dtype.name} in each row, where "
        f"{expected}; export the particles again"
    )


def _rotation(rotation_vector: Floats) -> Floats:
    """A = exp([w]x) transposed, for (N, 3) rotation vectors w in radians."""
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_rotvec(-rotation_vector).as_matrix())


def _as_table(rows: NDArray[Any]) -> pd.DataFrame:
    """A data frame in the order of the file; array columns become name/0, name/1."""
    columns: dict[str, Any] = {}
    for name in _names(rows):
        values = rows[name]
        if values.dtype.kind == "S":
            columns[name] = [_text(value) for value in values.tolist()]
        elif values.ndim == 1:
            columns[name] = values
        else:
            flat = values.reshape(len(rows), -1)
            parts = enumerate(flat.T)
            columns |= {f"{name}/{number}": part for number, part in parts}
    return pd.DataFrame(columns)


def _text(value: bytes | str) -> str:
    """Text of a fixed-width column."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
