"""Particles of a folder of assign: their posteriors and the maps that they refer to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from multicryogan.errors import InputError
from multicryogan.inference.findings import untold
from multicryogan.inference.landscape import Landscape, measure_landscape
from multicryogan.inference.populations import latent_density
from multicryogan.inference.series import NPZ, read_class_maps


@dataclass(frozen=True, slots=True)
class Placed:
    """N particles on V conformations.

    Attributes:
        latents: (V, d) of the conformations.
        prior: (V,) weights that posteriors were made with.
        volumes: (V, D, D, D) densities, each laid on its neighbour.
        voxel_size: Å.
        weights: (N, V) posteriors of the conformations.
        conformation: (N,) the most likely one.
    """

    latents: Tensor
    prior: Tensor
    volumes: Tensor
    voxel_size: float
    weights: Tensor
    conformation: Tensor

    @property
    def grid(self) -> tuple[int, ...]:
        """Conformations along each latent dimension."""
        count, dimensions = self.latents.shape
        return (round(count ** (1 / dimensions)),) * dimensions

    def landscape(self, seed: int) -> Landscape:
        """Find states and ways; see `measure_landscape`.

        Raises:
            InputError: The particles tell next to nothing of their conformations.
        """
        density = latent_density(self.weights, self.prior, self.grid, seed)
        reason = untold(density)
        if reason is not None:
            raise InputError(
                f"{reason}: no landscape; more, or clearer, ones are needed"
            )
        return measure_landscape(density, self.volumes, self.grid)


def read_placed(folder: Path) -> Placed:
    """Read a folder of assign.

    Raises:
        InputError: It is none, or lacks a map.
    """
    path = folder / NPZ
    if not path.is_file():
        raise InputError(f"no {NPZ} in {folder}; give a folder made by assign")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            latents, prior, weights, conformation = (
                torch.from_numpy(arrays[name])
                for name in (
                    "conformation_latents",
                    "conformation_prior",
                    "conformation_weight",
                    "conformation",
                )
            )
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise InputError(
            f"cannot read {path}: {error}; give a folder made by assign"
        ) from None
    volumes, voxel_size = read_class_maps(folder, len(latents))
    return Placed(latents, prior, volumes, voxel_size, weights, conformation.long())
