"""What the commands do, from Python: `import multicryogan.api as mcg`.

Folders are those of the commands, so that work may be begun in one and gone on with in
the other. Arrays are NumPy's, float32, axes (z, y, x), densities positive.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from multicryogan.cli.assign import assign as assign_command
from multicryogan.cli.assigned_files import ExportOptions
from multicryogan.cli.check import look_through
from multicryogan.cli.compare import compare_files
from multicryogan.cli.evaluate import score_run
from multicryogan.cli.landscape import find_landscape
from multicryogan.cli.options import ParticleOptions, open_particles, set_up_torch
from multicryogan.cli.refine import refine as refine_command
from multicryogan.cli.report import write_report
from multicryogan.cli.train import run_training
from multicryogan.cli.volumes import volumes as volumes_command
from multicryogan.config import RefineConfig, RunConfig, SimulationConfig, run_config
from multicryogan.data import Report
from multicryogan.errors import InputError
from multicryogan.evaluation import Comparison, Scores
from multicryogan.evaluation import fsc as correlate
from multicryogan.inference import Assigned, Landscape, Run, open_assigned, open_run
from multicryogan.io import OpticsOverride, ParticleStack, read_particles
from multicryogan.synthetic import simulate as simulate_particles
from multicryogan.training import TrainingError

__all__ = [
    "Assigned",
    "Comparison",
    "ExportOptions",
    "InputError",
    "Landscape",
    "OpticsOverride",
    "ParticleOptions",
    "ParticleStack",
    "RefineConfig",
    "Report",
    "Run",
    "RunConfig",
    "Scores",
    "SimulationConfig",
    "TrainingError",
    "assign",
    "check",
    "compare",
    "evaluate",
    "fsc",
    "landscape",
    "open_assigned",
    "open_run",
    "read_particles",
    "refine",
    "report",
    "run_config",
    "simulate",
    "train",
    "write_volumes",
]

Device = Literal["auto", "cpu", "cuda"]
Array = NDArray[np.float32]
NOTHING_GIVEN = ParticleOptions()


def simulate(
    output: str | Path, config: SimulationConfig | None = None
) -> ParticleStack:
    """Make particle images of a moving molecule, with the truth beside them.

    Args:
        output: Folder to write.
        config: What to simulate; not given: 10,000 images of the built-in molecule.
    """
    simulate_particles(config or SimulationConfig(), Path(output))
    return read_particles(Path(output) / "particles.star")


def check(
    particles: str | Path,
    config: RunConfig | None = None,
    *,
    given: ParticleOptions = NOTHING_GIVEN,
) -> Report:
    """Look for what would spoil a run; arguments as of train.

    Returns:
        Facts in order, problems that a run would break down with, and notes.

    Raises:
        InputError: The particle file cannot be read.
    """
    return look_through(open_particles(Path(particles), given), config or RunConfig())


def train(
    particles: str | Path,
    output: str | Path,
    config: RunConfig,
    *,
    device: Device = "auto",
    threads: int = 0,
    given: ParticleOptions = NOTHING_GIVEN,
) -> Run:
    """Reconstruct conformations from images alone; go on with what is there.

    Args:
        particles: A .star, .cs or .mrcs file.
        output: Folder of the run.
        config: Its settings: `run_config({"train": {"images": 500_000}})`.
        device: Where to compute.
        threads: Of the CPU; 0: OMP_NUM_THREADS, or all cores.
        given: What the particle file does not say.

    Raises:
        InputError: Of the particles, the settings or the folder.
        TrainingError: The game broke down.
        KeyboardInterrupt: It was stopped; the same call goes on.
    """
    where = set_up_torch(device, threads)
    stack = open_particles(Path(particles), given)
    if not run_training(config, stack, Path(output), where):
        raise KeyboardInterrupt
    return open_run(output)


def refine(
    run: str | Path | Run,
    particles: str | Path,
    output: str | Path,
    settings: RefineConfig | None = None,
    *,
    device: Device = "auto",
    threads: int = 0,
    given: ParticleOptions = NOTHING_GIVEN,
) -> Run:
    """Refine conformations by the likelihood of every particle; arguments as of train.

    Raises:
        InputError: Of the particles, the settings or the folders.
    """
    refine_command(
        _folder(run),
        Path(particles),
        output=Path(output),
        device=device,
        threads=threads,
        given=given,
        settings=settings or RefineConfig(),
    )
    return open_run(output)


def assign(
    run: str | Path | Run,
    particles: str | Path,
    output: str | Path,
    *,
    device: Device = "auto",
    threads: int = 0,
    conformations: int = 0,
    given: ParticleOptions = NOTHING_GIVEN,
    asked: ExportOptions | None = None,
) -> Assigned:
    """Find conformation and pose of every particle; arguments as of train.

    A trained run is given so many `conformations` along each latent dimension (0: 21
    on a line, 11 along each of two); a refined one brings its own. `asked` are files
    to write beside those that are always written.

    Raises:
        InputError: Of the particles or the folders.
    """
    assign_command(
        _folder(run),
        Path(particles),
        output=Path(output),
        conformations=conformations,
        device=device,
        threads=threads,
        given=given,
        asked=asked or ExportOptions(),
    )
    return open_assigned(output)


def landscape(
    assigned: str | Path | Assigned, output: str | Path, *, seed: int = 0
) -> Landscape:
    """Find states and the ways between them in a folder of assign.

    Tables, the picture, maps, and the particles of each state go to `output`.

    Raises:
        InputError: The folder is none of assign, or holds too little.
    """
    return find_landscape(_folder(assigned), Path(output), seed)


def write_volumes(
    run: str | Path | Run, output: str | Path, truth: str | Path | None = None
) -> None:
    """Write maps along the latent, and scripts of ChimeraX that show them.

    `truth` is a folder made by simulate, whose atoms are put into the maps.
    """
    known = None if truth is None else Path(truth)
    volumes_command(_folder(run), output=Path(output), truth=known)


def evaluate(run: str | Path | Run, truth: str | Path) -> Scores:
    """Score the conformations of a run against the folder that simulate made.

    Tables and pictures go to the folder `evaluation` in it.
    """
    return score_run(_folder(run), Path(truth), _folder(run) / "evaluation")


def report(
    *runs: str | Path | Run | Assigned, output: str | Path | None = None
) -> Path:
    """Write the page about a run, and what others of the same particles add to it."""
    if not runs:
        raise InputError("report was given no folder; give those of train or refine")
    folders = [_folder(run) for run in runs]
    return write_report(folders, None if output is None else Path(output))


def compare(first: str | Path, second: str | Path) -> Comparison:
    """Lay one map (.mrc) on another and tell how alike they are."""
    return compare_files(Path(first), Path(second))


def fsc(first: ArrayLike, second: ArrayLike) -> Array:
    """Correlate two (D, D, D) volumes shell by shell (equation 6): (D//2+1,).

    Raises:
        ValueError: They are no cubes of one size, or NaN or infinite somewhere.
    """
    one, other = (torch.as_tensor(np.asarray(x)).float() for x in (first, second))
    if not (one.isfinite().all() and other.isfinite().all()):
        raise ValueError("a volume is NaN or infinite somewhere")
    return np.asarray(correlate(one, other))


def _folder(run: str | Path | Run | Assigned) -> Path:
    return run.folder if isinstance(run, Run | Assigned) else Path(run)
