"""Folders of train, refine and assign, opened from Python."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from multicryogan.config import RunConfig
from multicryogan.inference.assignment import latent_grid
from multicryogan.inference.manifold_file import MANIFOLD, load_manifold
from multicryogan.inference.placed import read_best
from multicryogan.inference.series import ANEW, POPULATIONS
from multicryogan.inference.verdict import read_verdict
from multicryogan.io import read_table
from multicryogan.networks import Generator
from multicryogan.priors import LatentPrior
from multicryogan.training import load_snapshot

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float32]


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
        return np.stack([self._volume_at(latent) for latent in self.latents])

    def volume(self, latent: ArrayLike) -> Array:
        """Make the density at one place of the latent.

        Args:
            latent: (d,) or, of one dimension, a number; from 0 to 1, or any number
                where the latent is Gaussian.

        Returns:
            (D, D, D). Of a refined run it lies on straight lines between conformations,
            at their ends beyond them.

        Raises:
            ValueError: The run has no such latent.
        """
        place = np.atleast_1d(np.asarray(latent, dtype=np.float32))
        law = self.config.latent
        prior = LatentPrior(law.kind, law.dimensions)
        if place.shape != (law.dimensions,) or not prior.holds(torch.from_numpy(place)):
            span = "" if law.kind == "gaussian" else " from 0 to 1"
            raise ValueError(
                f"expected a latent of {law.dimensions} numbers{span}, got "
                f"{place.tolist()}"
            )
        return self._volume_at(place)

    @cached_property
    def verdict(self) -> dict[str, Any]:
        """What the run says of itself without the truth; empty where it was not judged.

        "verdict" is "sound" or "unsound", "moves" whether motion explains held-out
        images better than one map, and the rest nats an image.
        """
        return read_verdict(self.folder)

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


def open_assigned(folder: str | Path) -> Assigned:
    """Open a folder of assign.

    Raises:
        InputError: It is none.
    """
    return Assigned(Path(folder), **read_best(Path(folder)))
