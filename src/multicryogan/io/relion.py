"""RELION's particle tables, 2.0 to 5.0, in our words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from multicryogan.errors import InputError
from multicryogan.io.rows import Floats, ParticleRows, first_true, numbers
from multicryogan.io.star import StarFile, read_star
from multicryogan.rotations import euler_to_matrix, matrix_to_euler

_LABELS = {
    "defocus_u_angstrom": "rlnDefocusU",
    "defocus_v_angstrom": "rlnDefocusV",
    "defocus_angle_deg": "rlnDefocusAngle",
    "phase_shift_deg": "rlnPhaseShift",
    "bfactor_angstrom2": "rlnCtfBfactor",
    "scale": "rlnCtfScalefactor",
    "voltage_kv": "rlnVoltage",
    "cs_mm": "rlnSphericalAberration",
    "amplitude_contrast": "rlnAmplitudeContrast",
    "pixel_size": "rlnImagePixelSize",
}
_ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
_ORIGINS = ("rlnOriginXAngst", "rlnOriginYAngst")
_ORIGINS_PX = ("rlnOriginX", "rlnOriginY")  # RELION 3.0
_MOST_DIGITS = 18  # of an integer of 64 bits
_ABERRATIONS = ("rlnBeamTiltX", "rlnBeamTiltY", "rlnOddZernike", "rlnEvenZernike")


def read_relion(path: Path) -> ParticleRows:
    """Read a particle .star file of RELION 2 to 5.

    Two layouts exist: one table whose rows carry their optics (2, 3.0), and an optics
    table that rows point to (3.1 and later). A value is looked up in the optics table
    first, then in the row, so mixtures are read as well.

    Args:
        path: The .star file.

    Returns:
        Its particles.

    Raises:
        InputError: No particles, or an optics group that is not described.
    """
    star = read_star(path)
    table = _particle_table(star)
    optics = star.find("optics")
    columns = _Columns(path, table, optics)
    codes, names, index = _image_names(path, table)
    values = {name: columns.find(label) for name, label in _LABELS.items()}
    if values["pixel_size"] is None:
        values["pixel_size"] = columns.pixel_size()
    if columns.is_any("rlnImageDimensionality", 3):
        raise InputError(
            f"{path} holds subtomograms (rlnImageDimensionality 3); two-dimensional "
            "particle images are needed"
        )
    shift_angstrom = columns.pair(*_ORIGINS)
    shift_px = columns.pair(*_ORIGINS_PX)
    return ParticleRows(
        path=path,
        table=table,
        optics=optics,
        stack_names=names,
        stack=codes,
        image_index=index,
        values={name: v for name, v in values.items() if v is not None},
        labels=_LABELS,
        sign=np.ones(len(table), np.float32),
        rotation=columns.rotation(),
        # RELION stores the shift that centres the image: minus where it sits.
        shift_angstrom=None if shift_angstrom is None else -shift_angstrom,
        shift_px=None if shift_px is None else -shift_px,
        is_premultiplied=columns.is_any("rlnCtfDataAreCtfPremultiplied", 1),
        notes=star.notes + columns.notes(),
    )


def with_poses(
    table: pd.DataFrame,
    rotation: Tensor,
    shift_angstrom: Tensor,
    pixel_size: Floats | None = None,
) -> pd.DataFrame:
    """Copy a particle table with new angles and origins; all other columns stay.

    Args:
        table: N rows named as in RELION.
        rotation: (N, 3, 3) matrices A, r_image = A r_volume.
        shift_angstrom: (N, 2) (x, y) where the particles sit.
        pixel_size: (N,) Å per pixel of the images of a table without an optics table
            (RELION 3.0), whose origins count pixels; None: they are in Å.

    Returns:
        The copy, with rlnAngleRot, rlnAngleTilt and rlnAnglePsi in degrees and the
        shift that centres an image: rlnOriginXAngst and rlnOriginYAngst, or rlnOriginX
        and rlnOriginY. The other pair is left out: it would speak of another pose.
    """
    origin = -shift_angstrom.double().numpy()
    labels, others = _ORIGINS, _ORIGINS_PX
    if pixel_size is not None:
        labels, others = others, labels
        origin = origin / pixel_size[:, None]
    angles = (angle.numpy() for angle in matrix_to_euler(rotation.double()))
    columns = zip((*_ANGLES, *labels), (*angles, *origin.T), strict=True)
    old = table.drop(columns=list(others), errors="ignore")
    return old.assign(**dict(columns))


def _particle_table(star: StarFile) -> pd.DataFrame:
    """The block called particles, else the first that names images."""
    candidates = sorted(star.blocks, key=lambda block: block[0] != "particles")
    for _, table in candidates:
        if "rlnImageName" in table.columns:
            if table.empty:
                raise InputError(f"{star.path} holds no particles: its table is empty")
            return table
    names = ", ".join(f"data_{name}" for name, _ in star.blocks[:5]) or "none"
    raise InputError(
        f"{star.path} holds no particles: no table has rlnImageName (blocks found: "
        f"{names}); give a particle file, such as RELION's run_data.star"
    )


def _image_names(
    path: Path, table: pd.DataFrame
) -> tuple[NDArray[np.int64], tuple[str, ...], NDArray[np.int64]]:
    """Split `000001@stack.mrcs` into stack code, stack names and index from 0."""
    count = len(table)
    stack, index = np.empty(count, np.int64), np.empty(count, np.int64)
    numbers_of: dict[str, int] = {}  # stacks in order of appearance
    for row, text in enumerate(table["rlnImageName"].tolist()):
        head, at, tail = str(text).partition("@")
        if not at:  # the file is a single image
            head, tail = "1", head
        is_number = head.isdecimal() and len(head) <= _MOST_DIGITS
        if not (is_number and int(head) > 0 and tail):
            raise InputError(
                f"{path}, row {row + 1}: rlnImageName is {str(text)!r}; expected "
                "something like 000001@stack.mrcs, counted from 1"
            )
        stack[row] = numbers_of.setdefault(tail, len(numbers_of))
        index[row] = int(head) - 1
    return stack, tuple(numbers_of), index


class _Columns:
    """Look values up in the optics table, then in the rows."""

    def __init__(
        self, path: Path, table: pd.DataFrame, optics: pd.DataFrame | None
    ) -> None:
        self.path = path
        self.table = table
        self.optics = optics
        self.group = None if optics is None else _group_rows(path, table, optics)

    def find(self, label: str) -> Floats | None:
        """(N,) values, or None when neither table has them."""
        if self.optics is not None and label in self.optics.columns:
            return numbers(self.path, self.optics[label], label)[self.group]
        if label in self.table.columns:
            return numbers(self.path, self.table[label], label)
        return None

    def is_any(self, label: str, value: float) -> bool:
        """Whether any particle has this value."""
        found = self.find(label)
        return found is not None and bool((found == value).any())

    def pair(self, label_x: str, label_y: str) -> Floats | None:
        """(N, 2) values of two columns, or None when one is missing."""
        x, y = self.find(label_x), self.find(label_y)
        return None if x is None or y is None else np.stack((x, y), axis=-1)

    def pixel_size(self) -> Floats | None:
        """Å from the older columns: detector pixel in µm over magnification."""
        direct = self.find("rlnPixelSize")
        detector = self.find("rlnDetectorPixelSize")
        magnification = self.find("rlnMagnification")
        if direct is not None or detector is None or magnification is None:
            return direct
        wrong = first_true(~(magnification > 0))
        if wrong is not None:
            raise InputError(
                f"{self.path}, row {wrong + 1}: rlnMagnification is "
                f"{magnification[wrong]:g}; give the pixel size in Å (pixel_size)"
            )
        return detector * 1e4 / magnification

    def rotation(self) -> Floats | None:
        """(N, 3, 3) matrices A, or None when an angle is missing."""
        angles = [self.find(f"rlnAngle{name}") for name in ("Rot", "Tilt", "Psi")]
        if any(angle is None for angle in angles):
            return None
        rot, tilt, psi = (torch.from_numpy(np.array(angle)) for angle in angles)
        matrix: Floats = euler_to_matrix(rot, tilt, psi).numpy()
        return matrix

    def notes(self) -> tuple[str, ...]:
        """What the file says and we do not model."""
        optics = self.optics
        present = [
            label
            for label in _ABERRATIONS
            if optics is not None
            and label in optics.columns
            and any(str(value).strip("[]0., ") for value in optics[label])
        ]
        if not present:
            return ()
        return (
            f"{self.path.name}: {', '.join(present)} are not part of the model and "
            "are left out",
        )


def _group_rows(
    path: Path, table: pd.DataFrame, optics: pd.DataFrame
) -> NDArray[np.int64]:
    """(N,) row of the optics table for each particle."""
    if optics.empty:
        raise InputError(f"{path}: the table data_optics is empty")
    if "rlnOpticsGroup" not in table.columns or "rlnOpticsGroup" not in optics.columns:
        if len(optics) == 1:
            return np.zeros(len(table), np.int64)
        raise InputError(
            f"{path}: {len(optics)} optics groups, but rlnOpticsGroup does not say "
            "which particle belongs to which; add this column to both tables"
        )
    wanted, known = _group_numbers(path, table), _group_numbers(path, optics)
    groups, times = np.unique(known, return_counts=True)
    if (times > 1).any():
        raise InputError(
            f"{path}: data_optics describes optics group {groups[times > 1][0]} more "
            "than once; keep one row of each"
        )
    order = np.argsort(known, kind="stable")
    position = np.searchsorted(known[order], wanted).clip(max=len(known) - 1)
    rows: NDArray[np.int64] = order[position]
    wrong = first_true(known[rows] != wanted)
    if wrong is not None:
        there = ", ".join(str(group) for group in known[:10])
        raise InputError(
            f"{path}, row {wrong + 1}: optics group {wanted[wrong]} is not in "
            f"data_optics (groups there: {there}); add it"
        )
    return rows


def _group_numbers(path: Path, table: pd.DataFrame) -> NDArray[np.int64]:
    """(N,) the optics group of each row."""
    values = numbers(path, table["rlnOpticsGroup"], "rlnOpticsGroup")
    wrong = first_true(
        ~(np.abs(values) < 10.0**_MOST_DIGITS) | (values != np.floor(values))
    )
    if wrong is not None:
        raise InputError(
            f"{path}, row {wrong + 1}: rlnOpticsGroup is {values[wrong]:g}, not a "
            "whole number; put the row right"
        )
    return values.astype(np.int64)
