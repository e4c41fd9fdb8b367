"""Particles of a folder of assign: their posteriors and the maps that they refer to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from multicryogan.errors import InputError
from multicryogan.inference.findings import untold
from multicryogan.inference.landscape import Landscape, measure_landscape
from multicryogan.inference.populations import latent_density
from multicryogan.inference.series import read_class_maps, read_placements

SHAPES = {
    "conformation_latents": "Vd",
    "conformation_prior": "V",
    "conformation_weight": "NV",
    "conformation": "N",
}
PER_PARTICLE = {
    "latent": "Nd",
    "latent_spread": "Nd",
    "conformation": "N",
    "rotation": "N33",
    "shift_angstrom": "N2",
    "log_likelihood": "N",
}


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


def read_best(folder: Path) -> dict[str, NDArray[Any]]:
    """Read what a folder of assign tells of each of N particles, by name.

    Raises:
        InputError: It is none, or the file is damaged.
    """
    return read_placements(folder, PER_PARTICLE)


def read_placed(folder: Path) -> Placed:
    """Read a folder of assign.

    Raises:
        InputError: It is none, or lacks a map, or a file is damaged.
    """
    found = read_placements(folder, SHAPES)
    latents, prior, weights, conformation = (
        torch.from_numpy(found[name]) for name in SHAPES
    )
    volumes, voxel_size = read_class_maps(folder, len(latents))
    return Placed(latents, prior, volumes, voxel_size, weights, conformation.long())
