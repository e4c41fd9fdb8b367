"""Conformations of a folder, whichever command made it, and how likely each is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from multicryogan.errors import InputError
from multicryogan.evaluation import Density
from multicryogan.inference.manifold_file import MANIFOLD, load_manifold
from multicryogan.io import read_arrays, read_table, read_volume
from multicryogan.priors import LatentPrior
from multicryogan.training import load_snapshot

CONFORMATIONS = 21  # of the paper's FSCCC matrix
CELLS = 49  # of a latent of several dimensions
POINTS = 40_000  # of the latent that stand for its density
NPZ, POPULATIONS = "latents.npz", "populations.csv"  # of assign
ROUNDING = 1e-3  # of shares as they are written
ANEW = "assign again, or give another folder of assign"


@dataclass(frozen=True, slots=True)
class Series:
    """Conformations of a run, and where particles lie among them."""

    volumes: Tensor  # (V, D, D, D)
    latents: Tensor  # (V, d)
    weights: Tensor  # (V,)
    density: Density
    voxel_size: float  # Å

    def few(self) -> Series:
        """Give all of a line and some of a grid of several dimensions."""
        picked = spread_places(*self.latents.shape)
        return replace(
            self,
            volumes=self.volumes[picked],
            latents=self.latents[picked],
            weights=self.weights[picked],
        )


def read_series(folder: Path) -> Series:
    """Read or make volumes over the whole latent.

    Of one dimension they lie on its path, its ends included; of several, in the middle
    of equally probable cells. A refined manifold brings its own, and how many particles
    lie in each cell.

    Raises:
        InputError: The folder is neither a run nor refined nor assigned, or was
            assigned in several latent dimensions.
    """
    if (folder / NPZ).is_file():
        return read_assigned(folder)
    if (folder / MANIFOLD).is_file():
        manifold, config, voxel_size = load_manifold(folder)
        prior = LatentPrior(config.latent.kind, config.latent.dimensions)
        return Series(
            manifold.volumes,
            manifold.latents,
            manifold.weights,
            density_over(prior, manifold.weights),
            voxel_size,
        )
    generator, config, voxel_size = load_snapshot(folder)
    prior = LatentPrior(config.latent.kind, config.latent.dimensions)
    is_line = prior.dimensions == 1
    latents = (
        prior.path(CONFORMATIONS) if is_line else prior.grid(along(prior.dimensions))
    )
    even = latents.new_ones(len(latents))
    with torch.no_grad():
        volumes = torch.cat([generator(latent[None]) for latent in latents])
    return Series(volumes, latents, even, density_over(prior, even[:1]), voxel_size)


def along(dimensions: int) -> int:
    """Count the places along each of several dimensions that are looked at."""
    return max(2, round(float(CELLS ** (1 / dimensions))))


def spread_places(count: int, dimensions: int) -> list[int]:
    """Pick some conformations of a grid of `count`, its borders included."""
    if dimensions == 1:
        return list(range(count))
    steps = round(count ** (1 / dimensions))
    most = min(steps, along(dimensions))
    axis = torch.linspace(0, steps - 1, most).round().long()
    places = torch.cartesian_prod(*[axis] * dimensions)
    scale = steps ** torch.arange(dimensions - 1, -1, -1)
    picked: list[int] = (places * scale).sum(1).tolist()
    return picked


def density_over(prior: LatentPrior, weights: Tensor) -> Density:
    """Spread the weights of a grid of equally probable cells evenly in each cell."""
    steps = round(len(weights) ** (1 / prior.dimensions))
    within = max(1, round(POINTS ** (1 / prior.dimensions) / steps))
    points = prior.grid(steps * within)
    return Density(points, weights[prior.cell(points, steps)])


def read_assigned(folder: Path) -> Series:
    """Read the class maps of a folder of assign, and the shares that images tell.

    Raises:
        InputError: There are no shares, several latent dimensions, or a damaged file.
    """
    name = "conformation_latents"
    latents = torch.from_numpy(read_placements(folder, {name: "Vd"})[name])
    if latents.shape[1] > 1:
        raise InputError(
            f"{folder} was assigned in {latents.shape[1]} latent dimensions; evaluate "
            "the run that it came from"
        )
    if not (folder / POPULATIONS).is_file():
        raise InputError(
            f"no {POPULATIONS} in {folder}: too few particles were assigned to tell "
            "shares; evaluate the run that they were assigned with"
        )
    shares = _read_shares(folder / POPULATIONS, len(latents))
    volumes, voxel_size = read_class_maps(folder, len(latents))
    return Series(volumes, latents, shares, Density(latents, shares), voxel_size)


def _read_shares(path: Path, count: int) -> Tensor:
    """Read the (V,) shares of `count` conformations, which sum to one."""
    column = read_table(path, ("share",), ANEW)["share"]
    if len(column) != count:
        raise InputError(
            f"{path} has {len(column)} rows for {count} conformations; {ANEW}"
        )
    if column.dtype.kind not in "if" or not (column >= 0).all():  # NaN as well
        raise InputError(f"{path}: a share is no number from 0 to 1; {ANEW}")
    if not abs(column.sum() - 1) < ROUNDING:
        raise InputError(
            f"{path}: its shares sum to {column.sum():.4g}, not to 1; {ANEW}"
        )
    return torch.tensor(column.to_numpy()).float()


def read_placements(folder: Path, shapes: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """Read what assign has found of particles; `shapes` as of `read_arrays`.

    Raises:
        InputError: The folder is none of assign, or the file is damaged.
    """
    path = folder / NPZ
    if not path.is_file():
        raise InputError(f"no {NPZ} in {folder}; give a folder made by assign")
    return read_arrays(path, shapes, ANEW)


def read_class_maps(folder: Path, count: int) -> tuple[Tensor, float]:
    """Read the (V, D, D, D) maps of a folder of assign, and their voxel size in Å."""
    numbers = range(1, count + 1)
    maps = [read_volume(folder / f"class_{number:03d}.mrc") for number in numbers]
    return torch.stack([volume.values for volume in maps]), maps[0].voxel_size
