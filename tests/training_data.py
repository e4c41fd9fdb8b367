"""A tiny data set and a tiny run for tests of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from multicryogan.config import RunConfig, run_config
from multicryogan.fourier import frequency_grid, low_pass
from multicryogan.imaging import CTFParams, ctf
from multicryogan.io import ParticleStack, read_particles, write_stack, write_star
from multicryogan.rng import stream
from multicryogan.rotations import random_rotations
from multicryogan.tables import merge

PIXEL_SIZE = 5.0
POINTS_PX = ((0.0, 0.0, 0.0), (5.0, 0.0, 0.0), (0.0, 4.0, 3.0), (-3.0, -4.0, 2.0))
SIGMA_PX = 1.5

TINY: dict[str, Any] = {
    "data": {"box": 32, "contrast": "white"},
    "imaging": {"contrast_spread": 0.0},  # no laws to learn, unless a test asks
    "generator": {"components": 2, "hidden": 8, "channels": 2},
    "discriminator": {
        "templates": 4,
        "channels": 4,
        "hidden": 8,
        "precision": "float32",
    },
    "train": {
        "coarse_share": 0.5,
        "motion_start": 0.25,
        "motion_full": 0.5,
        "images": 48,
        "volumes_per_batch": 2,
        "poses_per_volume": 2,
        "discriminator_warmup": 2,
    },
    "output": {"checkpoint_minutes": 60.0, "preview_minutes": 60.0, "log_steps": 1},
}


def tiny_config(changes: dict[str, Any] | None = None) -> RunConfig:
    """Config of a run of 12 updates, six of them at the coarse box."""
    return run_config(merge(TINY, changes or {}))


def tiny_optics(count: int) -> CTFParams:
    """Optics of 300 kV with a defocus of 1 to 2 µm, no astigmatism."""
    defocus = 10_000 + 10_000 * torch.rand(count, generator=stream(0, "test/defocus"))
    ones = torch.ones(count)
    return CTFParams(
        defocus, defocus, 0 * ones, 0 * ones, 300 * ones, 2.7 * ones, 0.1 * ones
    )


def tiny_images(count: int, box: int, optics: CTFParams) -> Tensor:
    """(N, D, D) projections of four Gaussians at random views, CTF and noise."""
    rotation = random_rotations((count,), stream(0, "test/pose"))
    places = torch.einsum("nij,pj->npi", rotation, torch.tensor(POINTS_PX))
    axis = torch.arange(box) - box // 2
    across = (-((axis - places[..., 0, None]) ** 2) / (2 * SIGMA_PX**2)).exp()
    down = (-((axis - places[..., 1, None]) ** 2) / (2 * SIGMA_PX**2)).exp()
    clean = torch.einsum("npy,npx->nyx", down, across)
    freqs = frequency_grid(box, PIXEL_SIZE, like=clean)
    modulated = low_pass(clean, ctf(optics, freqs))
    return (
        3
        + modulated
        + 0.3 * torch.randn(modulated.shape, generator=stream(0, "test/noise"))
    )


def write_particles(folder: Path, count: int = 96, box: int = 32) -> Path:
    """Write particles.mrcs and particles.star (RELION 3.1); return the latter."""
    optics = tiny_optics(count)
    write_stack(folder / "particles.mrcs", tiny_images(count, box, optics), PIXEL_SIZE)
    particles = pd.DataFrame(
        {
            "rlnImageName": [f"{i + 1:06d}@particles.mrcs" for i in range(count)],
            "rlnOpticsGroup": 1,
            "rlnDefocusU": optics.defocus_u_angstrom.numpy(),
            "rlnDefocusV": optics.defocus_v_angstrom.numpy(),
            "rlnDefocusAngle": 0.0,
        }
    )
    group = pd.DataFrame(
        {
            "rlnOpticsGroup": [1],
            "rlnVoltage": [300.0],
            "rlnSphericalAberration": [2.7],
            "rlnAmplitudeContrast": [0.1],
            "rlnImagePixelSize": [PIXEL_SIZE],
            "rlnImageSize": [box],
        }
    )
    path = folder / "particles.star"
    write_star(path, particles, group)
    return path


def tiny_stack(folder: Path, count: int = 96, box: int = 32) -> ParticleStack:
    """Write and read the tiny data set."""
    return read_particles(write_particles(folder, count, box))
