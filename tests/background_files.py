"""Particles and patches of background on micrographs of other noise, for tests."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from multicryogan.imaging import sample_noise
from multicryogan.io import ParticleStack, read_particles, write_stack, write_star
from multicryogan.rng import stream

PIXEL_SIZE = 4.0
OPTICS = pd.DataFrame(
    {
        "rlnOpticsGroup": [1, 2],
        "rlnVoltage": 300.0,
        "rlnSphericalAberration": 2.7,
        "rlnAmplitudeContrast": 0.1,
        "rlnImagePixelSize": PIXEL_SIZE,
    }
)


def write_noise(
    path: Path,
    micrographs: dict[str, tuple[int, float]],
    groups: dict[str, int] | None = None,
    box: int = 32,
    pixel_size: float = PIXEL_SIZE,
    power: Tensor | None = None,
) -> Path:
    """Write images of noise as a .star file beside its stack.

    Args:
        path: The .star file.
        micrographs: Number of images and standard deviation of each.
        groups: Optics group of each; none: all 1.
        box: Side in pixels.
        pixel_size: Å.
        power: (D//2+1,) spectrum for a deviation of 1; none: white.
    """
    spectrum = torch.ones(box // 2 + 1) if power is None else power
    images, rows = [], []
    for name, (count, deviation) in micrographs.items():
        draws = stream(0, f"test/{path.stem}/{name}")
        noise = sample_noise((count, box, box), spectrum, draws)
        images.append(3 + deviation * noise)
        rows += [(name, (groups or {}).get(name, 1))] * count
    write_stack(path.with_suffix(".mrcs"), torch.cat(images), pixel_size)
    table: dict[str, Any] = {
        "rlnImageName": [f"{i + 1:06d}@{path.stem}.mrcs" for i in range(len(rows))],
        "rlnMicrographName": [name for name, _ in rows],
        "rlnOpticsGroup": [group for _, group in rows],
        "rlnDefocusU": 10_000.0 + 10 * np.arange(len(rows)),
        "rlnDefocusV": 10_000.0 + 10 * np.arange(len(rows)),
    }
    used = OPTICS[OPTICS["rlnOpticsGroup"].isin(table["rlnOpticsGroup"])]
    write_star(path, pd.DataFrame(table), used.assign(rlnImagePixelSize=pixel_size))
    return path


def noisy_particles(
    folder: Path,
    micrographs: dict[str, tuple[int, float]] | None = None,
    groups: dict[str, int] | None = None,
) -> ParticleStack:
    """120 images of micrograph a, deviation 1, and 40 of b, deviation 3."""
    usual = {"a.mrc": (120, 1.0), "b.mrc": (40, 3.0)}
    path = write_noise(folder / "particles.star", micrographs or usual, groups)
    return read_particles(path)
