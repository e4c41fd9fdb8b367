"""cryoSPARC's particle tables with new poses: what comes back from an assignment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from multicryogan.io.atomic import whole_file
from multicryogan.io.cryosparc import with_columns
from multicryogan.io.rows import Floats


def with_cryosparc_poses(
    rows: NDArray[Any], rotation: Tensor, shift_angstrom: Tensor, pixel_size: Floats
) -> NDArray[Any]:
    """Copy rows of a .cs file with new poses and shifts; all other columns stay.

    Args:
        rows: (N,) structured array, as from `load_cryosparc`.
        rotation: (N, 3, 3) matrices A, r_image = A r_volume.
        shift_angstrom: (N, 2) (x, y) where the particles sit.
        pixel_size: (N,) Å per pixel of the images.

    Returns:
        The copy. alignments3D/pose is the rotation vector w in radians, of length pi at
        most, with A = exp([w]x) transposed; alignments3D/shift is the shift that
        centres an image, in pixels of alignments3D/psize_A.
    """
    from scipy.spatial.transform import Rotation

    vector = -Rotation.from_matrix(rotation.double().numpy()).as_rotvec()
    shift = -shift_angstrom.double().numpy() / pixel_size[:, None]
    return with_columns(
        rows,
        {
            "alignments3D/pose": vector.astype(np.float32),
            "alignments3D/shift": shift.astype(np.float32),
            "alignments3D/psize_A": pixel_size.astype(np.float32),
        },
    )


def write_cryosparc(path: str | Path, rows: NDArray[Any]) -> None:
    """Write rows as a .cs file: a NumPy structured array of plain columns.

    Args:
        path: The .cs file to write.
        rows: (N,) structured array.
    """
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.save(file, rows, allow_pickle=False)
