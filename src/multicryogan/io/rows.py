"""What every particle file is translated to: our words, our units, one row each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multicryogan.errors import InputError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OpticsOverride:
    """Optics given by the user; each wins over what the file holds.

    They complete a file that lacks a value, and are all that a bare stack of images
    has.
    """

    pixel_size: float | None = None  # Å
    voltage_kv: float | None = None
    cs_mm: float | None = None
    amplitude_contrast: float | None = None
    defocus_angstrom: float | None = None  # the same along U and V
    phase_shift_deg: float | None = None

    def values(self) -> dict[str, float]:
        """What was given, named like the columns of `ParticleRows.values`."""
        given = {
            field.name: float(value)
            for field in fields(self)
            if (value := getattr(self, field.name)) is not None
        }
        defocus = given.pop("defocus_angstrom", None)
        if defocus is not None:
            given |= {"defocus_u_angstrom": defocus, "defocus_v_angstrom": defocus}
            given |= {"defocus_angle_deg": 0.0}
        return given


@dataclass(frozen=True, slots=True)
class ParticleRows:
    """N particles of any file type."""

    path: Path
    table: pd.DataFrame  # the file's own columns and order
    optics: pd.DataFrame | None
    stack_names: tuple[str, ...]  # as written in the file, each once
    stack: NDArray[np.int64]  # (N,) which of `stack_names`
    image_index: NDArray[np.int64]  # (N,) counts from 0
    values: Mapping[str, Floats]  # (N,) columns in the units of their names
    labels: Mapping[str, str]  # column here -> column in the file, for messages
    sign: NDArray[np.float32]  # (N,) factor of the image
    rotation: Floats | None = None  # (N, 3, 3) A
    shift_angstrom: Floats | None = None  # (N, 2) (x, y)
    shift_px: Floats | None = None  # (N, 2), where the file counts pixels
    is_premultiplied: bool = False
    notes: tuple[str, ...] = ()

    def select(self, rows: NDArray[np.int64]) -> ParticleRows:
        """Keep (n,) rows, in the order given."""
        of_each = ("stack", "image_index", "sign", "rotation", "shift_angstrom")
        columns = {name: getattr(self, name) for name in (*of_each, "shift_px")}
        kept = {name: c[rows] for name, c in columns.items() if c is not None}
        values = {name: column[rows] for name, column in self.values.items()}
        return replace(self, table=self.table.iloc[rows], values=values, **kept)

    def describe(self, row: int) -> str:
        """Name a row, counted from 1, with its image as RELION writes it."""
        name = self.stack_names[int(self.stack[row])]
        return f"row {row + 1} ({int(self.image_index[row]) + 1:06d}@{name})"


def numbers(path: Path, column: pd.Series, label: str) -> Floats:
    """Convert a column to float64; text that is no number is an error."""
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=np.float64)
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    wrong = np.flatnonzero(np.isnan(values))
    if wrong.size:
        raise InputError(
            f"{path}, row {wrong[0] + 1}: {label} is {str(column.iloc[wrong[0]])!r}, "
            "not a number; put the file right"
        )
    return values


def name_codes(names: Iterable[str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Number the distinct names in order of appearance: (N,) codes, names."""
    codes, unique = pd.factorize(np.array(list(names), dtype=object))
    return codes.astype(np.int64), tuple(str(name) for name in unique)


def first_true(mask: NDArray[Any]) -> int | None:
    """Index of the first True, or None."""
    return int(np.argmax(mask)) if mask.any() else None
