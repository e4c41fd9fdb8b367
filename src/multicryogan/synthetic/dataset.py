"""Make a synthetic data set: a folder of particle images and their truth.

particles.star holds the optics but no poses: the answer is in truth/ alone. The
signal-to-noise ratio is the variance of the clean, CTF-modulated pixels of all images
(whole box) over the variance of the noise.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multicryogan import rng
from multicryogan.config import SimulationConfig
from multicryogan.errors import InputError
from multicryogan.imaging import sample_noise
from multicryogan.io.mrc import StackWriter
from multicryogan.io.star import write_star
from multicryogan.synthetic.checks import check_simulation
from multicryogan.synthetic.conformations import Conformations
from multicryogan.synthetic.draws import Views, draw_views
from multicryogan.synthetic.law import Law
from multicryogan.synthetic.molecule import check_extent, load_conformations
from multicryogan.synthetic.render import Geometry, noise_power, render_clean
from multicryogan.synthetic.truth import truth_rows, write_truth

if TYPE_CHECKING:
    import pandas as pd

STACK, STAR, TRUTH = "particles.mrcs", "particles.star", "truth"
PARTICLES_PER_MICROGRAPH = 100

Progress = Callable[[int, int], None]


def simulate(
    config: SimulationConfig,
    output: str | Path,
    *,
    base: str | Path = ".",
    progress: Progress | None = None,
) -> None:
    """Write a synthetic data set: particles.mrcs, particles.star and truth/.

    The folder appears when it is complete; after an error nothing is left.

    Args:
        config: Molecule, law of its conformations, optics, noise, size.
        output: Folder to make; it must not exist, or be empty.
        base: Folder that relative paths in the config start from.
        progress: Called with images done and images in all.

    Raises:
        InputError: A setting cannot be used, the molecule does not fit the box, or
            the folder is not empty or cannot be written.
    """
    output, base = Path(output), Path(base)
    check_simulation(config)
    _check_output(output)
    geometry = Geometry.of(config)
    config = replace(config, resolution=geometry.resolution)
    conformations = load_conformations(config.molecule, base)
    check_extent(conformations, config.box, config.pixel_size, config.resolution)
    law = Law(config.law, conformations.limits, base)
    threads = torch.get_num_threads()
    temporary = output.absolute().with_name(f".{output.absolute().name}.{os.getpid()}")
    try:
        temporary.mkdir(parents=True)
        torch.set_num_threads(1)  # each block of images has a thread instead
        _write(temporary, config, conformations, law, threads, progress or _ignore)
        os.replace(temporary, output)
    except OSError as error:
        raise InputError(
            f"cannot write {output}: {error.strerror or error}; choose a folder that "
            "you may write to, with free space"
        ) from None
    finally:
        torch.set_num_threads(threads)
        shutil.rmtree(temporary, ignore_errors=True)


def _check_output(output: Path) -> None:
    if output.is_dir() and any(output.iterdir()):
        raise InputError(f"{output} is not empty; choose a new folder or remove it")
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file; choose a new folder")


def _write(
    folder: Path,
    config: SimulationConfig,
    conformations: Conformations,
    law: Law,
    threads: int,
    progress: Progress,
) -> None:
    """Draw, render, add noise, write."""
    drawn, state = law.sample(config.images, config.seed)
    coordinates = conformations.quantise(drawn)
    views = draw_views(config)
    clean = folder / "clean.tmp"
    blocks = render_clean(
        conformations, coordinates, views, Geometry.of(config), threads
    )
    variance = _store(clean, blocks, config, progress)
    _add_noise(folder / STACK, clean, config, variance, progress)
    clean.unlink()
    write_star(folder / STAR, *_tables(config, views))
    (folder / TRUTH).mkdir()
    rows = truth_rows(coordinates, state, views)
    write_truth(folder / TRUTH, config, conformations, law, rows)


def _store(
    path: Path,
    blocks: Iterable[tuple[NDArray[np.int64], Tensor]],
    config: SimulationConfig,
    progress: Progress,
) -> float:
    """Write the clean images, raw float32, and return the variance of their pixels."""
    images, box = config.images, config.box
    with path.open("wb") as file:
        file.truncate(images * box**2 * 4)
    total = total_squares = 0.0
    done = 0
    for rows, block in blocks:
        # Mapped for each block alone: the pages of a mapping count as memory in use.
        np.memmap(path, np.float32, "r+", shape=(images, box, box))[rows] = block
        total += block.sum(dtype=torch.float64).item()
        total_squares += block.double().square().sum().item()
        done += len(rows)
        progress(done // 2, images)
    count = images * box**2
    return total_squares / count - (total / count) ** 2


def _add_noise(
    path: Path,
    clean: Path,
    config: SimulationConfig,
    variance: float,
    progress: Progress,
) -> None:
    """Write the stack: clean images plus noise, block by block."""
    images, box = config.images, config.box
    power = noise_power(variance, config)
    rows = Geometry.of(config).rows_per_block
    with StackWriter(path, box, config.pixel_size) as stack, clean.open("rb") as file:
        for step, start in enumerate(range(0, images, rows)):
            count = min(rows, images - start)
            block = np.fromfile(file, np.float32, count * box**2)
            noise = sample_noise(
                (count, box, box), power, rng.stream(config.seed, "noise", step=step)
            )
            stack.append(block.reshape(count, box, box) + noise.numpy())
            progress((images + start + count) // 2, images)


def _tables(
    config: SimulationConfig, views: Views
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Particle and optics tables as RELION 3.1 writes them."""
    import pandas as pd

    optics = config.optics
    numbers = np.arange(config.images)
    particles = pd.DataFrame(
        {
            "rlnImageName": [f"{i + 1:06d}@{STACK}" for i in numbers],
            "rlnMicrographName": [
                f"synthetic_{i // PARTICLES_PER_MICROGRAPH + 1:05d}.mrc"
                for i in numbers
            ],
            "rlnOpticsGroup": 1,
            "rlnDefocusU": views.ctf.defocus_u_angstrom.numpy(),
            "rlnDefocusV": views.ctf.defocus_v_angstrom.numpy(),
            "rlnDefocusAngle": views.ctf.defocus_angle_deg.numpy(),
            "rlnPhaseShift": optics.phase_shift_deg,
            "rlnCtfBfactor": optics.bfactor_angstrom2,
            "rlnCtfScalefactor": 1.0,
        },
        index=numbers,
    )
    group = {
        "rlnOpticsGroup": 1,
        "rlnOpticsGroupName": "opticsGroup1",
        "rlnVoltage": optics.voltage_kv,
        "rlnSphericalAberration": optics.cs_mm,
        "rlnAmplitudeContrast": optics.amplitude_contrast,
        "rlnImagePixelSize": config.pixel_size,
        "rlnImageSize": config.box,
        "rlnImageDimensionality": 2,
        "rlnCtfDataAreCtfPremultiplied": 0,
    }
    return particles, pd.DataFrame([group])


def _ignore(done: int, images: int) -> None:
    """Report nothing."""
