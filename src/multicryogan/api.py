"""What the commands do, from Python: `import multicryogan.api as mcg`.

Folders are those of the commands, so that work may be begun in one and gone on with in
the other. Arrays are NumPy's, float32, axes (z, y, x), densities positive.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

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
from multicryogan.inference import (
    MANIFOLD,
    POPULATIONS,
    VERDICT,
    Landscape,
    latent_grid,
    load_manifold,
    read_best,
)
from multicryogan.inference.series import ANEW
from multicryogan.io import ParticleStack, read_particles, read_table
from multicryogan.networks import Generator
from multicryogan.synthetic import simulate as simulate_particles
from multicryogan.training import load_snapshot

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Assigned",
    "InputError",
    "ParticleOptions",
    "RefineConfig",
    "Run",
    "RunConfig",
    "SimulationConfig",
    "assign",
    "check",
    "compare",
    "evaluate",
    "fsc",
    "landscape",
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


@dataclass(frozen=True)
class Run:
    """Conformations in a folder of train or refine.

    Attributes:
        folder: Where they are.
        config: Settings of the training.
        voxel_size: Å.
        latents: (V, d) places of V conformations that stand for all.
        weights: (V,) shares of the particles; they sum to one.
    """

    folder: Path
    config: RunConfig
    voxel_size: float
    latents: Array
    weights: Array

    @property
    def is_refined(self) -> bool:
        """Whether the folder is one of refine."""
        return (self.folder / MANIFOLD).is_file()

    @cached_property
    def volumes(self) -> Array:
        """(V, D, D, D) densities of the conformations."""
        return np.stack([self.volume(latent) for latent in self.latents])

    def volume(self, latent: ArrayLike) -> Array:
        """Make the density at one place of the latent.

        Args:
            latent: (d,) or, of one dimension, a number; within those of the run.

        Returns:
            (D, D, D). Of a refined run it lies on straight lines between conformations,
            at their ends beyond them.
        """
        place = np.atleast_1d(np.asarray(latent, dtype=np.float32))
        if place.shape != self.latents.shape[1:]:
            raise ValueError(
                f"expected a latent of {self.latents.shape[1]} numbers, got "
                f"{place.tolist()}"
            )
        return self._volume_at(place)

    @cached_property
    def verdict(self) -> dict[str, Any]:
        """What the run says of itself without the truth; empty where it was not judged.

        "verdict" is "sound" or "unsound", "moves" whether motion explains held-out
        images better than one map, and the rest nats an image.
        """
        path = self.folder / VERDICT
        found: dict[str, Any] = (
            json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        )
        return found

    def _volume_at(self, place: Array) -> Array:
        if not self.is_refined:
            with torch.no_grad():
                made = self._generator(torch.from_numpy(place)[None])
            return np.asarray(made[0])
        basis, coefficients = self._manifold
        return np.asarray(
            np.tensordot(self._between(place, coefficients), basis, 1), dtype=np.float32
        )

    def _between(self, place: Array, coefficients: Array) -> Array:
        """(C,) coefficients at a place, linear between those of a grid."""
        from scipy.interpolate import RegularGridInterpolator

        axes = [np.unique(column) for column in self.latents.T]
        shape = tuple(len(axis) for axis in axes)
        if np.prod(shape) != len(coefficients):
            nearest = np.abs(self.latents - place).sum(1).argmin()
            return np.asarray(coefficients[nearest])
        if max(shape) == 1:
            return np.asarray(coefficients[0])
        inside = [
            np.clip(x, axis[0], axis[-1]) for x, axis in zip(place, axes, strict=True)
        ]
        values = coefficients.reshape(*shape, -1)
        return np.asarray(RegularGridInterpolator(axes, values)(inside)[0])

    @cached_property
    def _generator(self) -> Generator:
        return load_snapshot(self.folder)[0]

    @cached_property
    def _manifold(self) -> tuple[Array, Array]:
        manifold = load_manifold(self.folder)[0]
        return manifold.basis.numpy(), manifold.coefficients.numpy()


@dataclass(frozen=True)
class Assigned:
    """Particles of a folder of assign.

    Attributes:
        folder: Where they are.
        latent: (N, d) posterior means.
        latent_spread: (N, d) posterior standard deviations.
        conformation: (N,) number, from 0, of that of the best pair with a pose.
        rotation: (N, 3, 3) matrices A of the best pose, r_image = A r_volume.
        shift_angstrom: (N, 2) of the best pose, x and y.
        log_likelihood: (N,) in nats.
    """

    folder: Path
    latent: Array
    latent_spread: Array
    conformation: NDArray[np.int64]
    rotation: Array
    shift_angstrom: Array
    log_likelihood: Array

    @cached_property
    def populations(self) -> pd.DataFrame | None:
        """Share of each conformation with its interval; None of too few particles."""
        path = self.folder / POPULATIONS
        return read_table(path, ["share"], ANEW) if path.is_file() else None


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
    given: ParticleOptions = NOTHING_GIVEN,
    asked: ExportOptions | None = None,
) -> Assigned:
    """Find conformation and pose of every particle; arguments as of train.

    Raises:
        InputError: Of the particles or the folders.
    """
    assign_command(
        _folder(run),
        Path(particles),
        output=Path(output),
        device=device,
        threads=threads,
        given=given,
        asked=asked or ExportOptions(),
    )
    return _read_assigned(Path(output))


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


def open_run(folder: str | Path) -> Run:
    """Open a folder of train or refine.

    Raises:
        InputError: It is neither.
    """
    folder = Path(folder)
    if (folder / MANIFOLD).is_file():
        manifold, config, voxel_size = load_manifold(folder)
        latents, weights = manifold.latents.numpy(), manifold.weights.numpy()
        return Run(folder, config, voxel_size, latents, weights)
    _, config, voxel_size = load_snapshot(folder)
    latents = latent_grid(config, 0).numpy()
    weights = np.full(len(latents), 1 / len(latents), dtype=np.float32)
    return Run(folder, config, voxel_size, latents, weights)


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
    """Correlate two (D, D, D) volumes shell by shell (equation 6): (D//2+1,)."""
    one, other = (torch.as_tensor(np.asarray(x)).float() for x in (first, second))
    return np.asarray(correlate(one, other))


def _folder(run: str | Path | Run | Assigned) -> Path:
    return run.folder if isinstance(run, Run | Assigned) else Path(run)


def _read_assigned(folder: Path) -> Assigned:
    return Assigned(folder, **read_best(folder))
