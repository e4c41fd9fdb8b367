"""Small particle files for tests: a stack and its RELION table."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multicryogan.io import write_stack, write_star

PIXEL_SIZE = 4.0


def ball_images(count: int, box: int = 32, *, dark: bool = False) -> NDArray[Any]:
    """(count, box, box) bright balls in white noise."""
    noise = np.random.default_rng(3).normal(size=(count, box, box))
    offset = np.arange(box) - box // 2
    ball = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * (box / 8) ** 2))
    return (noise + (-ball if dark else ball)).astype(np.float32)


def optics_groups(**columns: list[Any]) -> pd.DataFrame:
    """One row per group, 300 kV unless said otherwise."""
    groups = len(next(iter(columns.values()))) if columns else 1
    usual = {
        "rlnOpticsGroup": list(range(1, groups + 1)),
        "rlnVoltage": [300.0] * groups,
        "rlnSphericalAberration": [2.7] * groups,
        "rlnAmplitudeContrast": [0.1] * groups,
        "rlnImagePixelSize": [PIXEL_SIZE] * groups,
    }
    return pd.DataFrame(usual | columns)


def write_particles(
    folder: Path,
    images: NDArray[Any],
    optics: pd.DataFrame | None = None,
    drop: tuple[str, ...] = (),
    **columns: list[Any],
) -> Path:
    """Write particles.mrcs and particles.star; `columns` replace the usual ones."""
    count = len(images)
    write_stack(folder / "particles.mrcs", images, PIXEL_SIZE)
    usual = {
        "rlnImageName": [f"{i + 1:06d}@particles.mrcs" for i in range(count)],
        "rlnOpticsGroup": [1] * count,
        "rlnDefocusU": [12_000.0 + 10 * i for i in range(count)],
        "rlnDefocusV": [11_900.0 + 10 * i for i in range(count)],
        "rlnDefocusAngle": [30.0] * count,
    }
    table = pd.DataFrame(usual | columns).drop(columns=list(drop))
    path = folder / "particles.star"
    write_star(path, table, optics_groups() if optics is None else optics)
    return path
