"""What optics and pixels of particles can be: beyond it a unit was mistaken."""

from __future__ import annotations

import numpy as np

from multicryogan.errors import InputError
from multicryogan.io.rows import Floats, OpticsOverride, ParticleRows, first_true

RANGES = {
    "pixel_size": (1e-2, 1e3),
    "defocus_u_angstrom": (-1e6, 1e6),
    "defocus_v_angstrom": (-1e6, 1e6),
    "defocus_angle_deg": (-1e4, 1e4),
    "phase_shift_deg": (-1e4, 1e4),
    "voltage_kv": (10.0, 2000.0),
    "cs_mm": (-100.0, 100.0),
    "amplitude_contrast": (0.0, 0.999),
    "bfactor_angstrom2": (-1e3, 1e4),
    "scale": (1e-3, 1e3),
}
UNITS = {
    "size": " Å",
    "angstrom": " Å",
    "angstrom2": " Å²",
    "deg": "°",
    "kv": " kV",
    "mm": " mm",
}


def check_range(rows: ParticleRows, name: str, values: Floats) -> None:
    """Refuse values (N,) of a column that no microscope gives.

    Raises:
        InputError: Of the first one, with its row.
    """
    low, high = RANGES[name]
    wrong = first_true(~((values >= low) & (values <= high)))
    if wrong is None:
        return
    label, value = rows.labels.get(name, name), values[wrong]
    where = f"{rows.path}, {rows.describe(wrong)}: {label} is {value:g}"
    if not np.isfinite(value):
        raise InputError(f"{where}; put the row right or remove it")
    unit = UNITS.get(name.rpartition("_")[2], "")
    given = f", or give {name}" if hasattr(OpticsOverride, name) else ""
    raise InputError(
        f"{where}{unit}; expected {low:g} to {high:g}: check its unit{given}"
    )
