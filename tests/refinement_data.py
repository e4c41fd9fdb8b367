"""Images of known conformations in memory, and a refinement that looks at them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluation_phantoms import asymmetric_points, blobs
from multicryogan.config import RefineConfig
from multicryogan.data.preprocess import Preprocessing
from multicryogan.data.sampler import ImageSampler
from multicryogan.imaging import ImagingParams, form_images, sample_noise
from multicryogan.inference.masks import in_sphere
from multicryogan.inference.refinement import Refinement
from multicryogan.io import ImageGrid
from multicryogan.likelihood.poses import PoseTree
from multicryogan.networks import Generator
from multicryogan.priors import LatentPrior
from multicryogan.rng import stream
from multicryogan.rotations import random_rotations

BOX, PIXEL_SIZE = 12, 5.0
TREE = PoseTree(160)


@contextmanager
def few_poses() -> Iterator[None]:
    """Search few poses in whatever a stage is asked for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("multicryogan.training.stage.PoseTree", lambda: TREE)
        yield


@dataclass(frozen=True)
class Images:
    """Stands in for a stack of particles."""

    values: NDArray[Any]
    pixel_size: float = PIXEL_SIZE

    @property
    def grids(self) -> tuple[ImageGrid, ...]:
        """One for all."""
        return (ImageGrid(int(self.values.shape[-1]), self.pixel_size),)

    @property
    def field_angstrom(self) -> float:
        """Side in Å."""
        return self.grids[0].field_angstrom

    def images_by_grid(self, rows: Tensor) -> list[tuple[Tensor, int, NDArray[Any]]]:
        """Read rows, all of one grid."""
        return [(torch.arange(len(rows)), 0, self.images(rows.numpy()))]

    def __len__(self) -> int:
        """Count them."""
        return len(self.values)

    def images(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Read rows."""
        return self.values[rows]


class Known(Generator):
    """Known volumes, as a generator would make them."""

    def __init__(self, volumes: Tensor) -> None:
        """Take (V, D, D, D) volumes."""
        super().__init__(volumes.shape[-1])
        self.volumes = torch.nn.Parameter(volumes)

    def forward(self, latent: Tensor) -> Tensor:
        """Pick a volume of a grid: (V, d) to (V, D, D, D)."""
        dimensions = latent.shape[1]
        steps = round(len(self.volumes) ** (1 / dimensions))
        place = LatentPrior("uniform", dimensions).cell(latent, steps)
        picked: Tensor = self.volumes[place]
        return picked

    def resized(self, box: int) -> Generator:
        """Refuse."""
        raise NotImplementedError

    def voxels(self) -> list[torch.nn.Parameter]:
        """Return nothing."""
        return []


def phantom(seed: int = 0, box: int = BOX) -> Tensor:
    """(D, D, D) lopsided particle, as `in_sphere` would leave it."""
    return in_sphere(blobs(box, asymmetric_points(box, seed), 1.0)[None])[0]


def images_of(volumes: Tensor, counts: list[int], snr: float) -> tuple[Tensor, float]:
    """Make (N, D, D) images, so many of each volume, at random poses.

    Returns:
        The images, the volumes in turn as far as they go, and the noise's variance.
    """
    box, made = volumes.shape[-1], []
    for number, count in enumerate(counts):
        rotation = random_rotations((1, count), stream(0, "pose", step=number))
        params = ImagingParams(rotation)
        made.append(form_images(volumes[number][None], params, PIXEL_SIZE, None)[0])
    clean = torch.cat(made)
    order = torch.randperm(len(clean), generator=stream(0, "order"))
    power = float(clean.var((-2, -1)).mean()) / snr
    flat = torch.full((1, box // 2 + 1), power)
    noise = sample_noise(clean.shape, flat, stream(0, "noise"))
    return clean[order] + noise, power


def refinement(
    images: Tensor,
    power: float,
    config: RefineConfig,
    *,
    held_out: int = 100,
    tree: PoseTree = TREE,
) -> Refinement:
    """Divide images in two halves, in turn, and the last ones that are held out."""
    box = images.shape[-1]
    preprocessing = Preprocessing(box, 1, 0.9 * box / 2, 1.0)
    sampler = ImageSampler(Images(images.numpy()), preprocessing, 0, None)  # type: ignore[arg-type]
    rows = torch.arange(len(images))
    seen, out = rows[: len(rows) - held_out], rows[len(rows) - held_out :]
    flat = torch.full((1, box // 2 + 1), power)
    return Refinement(
        sampler, flat, PIXEL_SIZE, (seen[::2], seen[1::2], out), config, tree
    )


def correlation(first: Tensor, second: Tensor) -> float:
    """Correlation of two volumes."""
    both = torch.stack((first.flatten(), second.flatten()))
    return float(torch.corrcoef(both)[0, 1])
