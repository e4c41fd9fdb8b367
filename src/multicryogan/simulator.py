"""Algorithm 1: the one way images are made from a generator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from multicryogan.imaging import CTFParams, ImagingParams, form_images
from multicryogan.imaging.noise import sample_noise
from multicryogan.priors import ImagingPrior, LatentLaw
from multicryogan.rng import Shard, stream


@dataclass(frozen=True, slots=True)
class SimulatedBatch:
    """What Algorithm 1 drew and made, V volumes with P poses each."""

    latent: Tensor  # (V, d)
    volume: Tensor  # (V, D, D, D)
    params: ImagingParams  # batch shape (V, P)
    clean: Tensor  # (V, P, D, D) images without noise
    noisy: Tensor  # (V, P, D, D)


class NoiseSource(Protocol):
    """Real noise, to be had in place of noise of a given power."""

    def draw(
        self, row: Tensor | None, count: int, generator: torch.Generator
    ) -> Tensor:
        """(B, D, D) noise of images with the optics of particles `row` (B,)."""
        ...


@dataclass(frozen=True, slots=True)
class Simulator:
    """Draw conformations and imaging parameters, form images, add noise.

    Every process draws the parameters of the whole batch and keeps its shard, and the
    noise of each volume's images has a stream of its own: the images of a step are
    the same whatever the number of processes.
    """

    latent_prior: LatentLaw
    imaging_prior: ImagingPrior
    voxel_size: float
    seed: int
    shard: Shard = Shard()
    device: str = "cpu"
    patches: NoiseSource | None = None

    def sample(
        self,
        generator: Callable[[Tensor], Tensor],
        noise_power: Tensor,
        batch: tuple[int, int],
        step: int,
        *,
        purpose: str = "train",
        max_shell: int | None = None,
    ) -> SimulatedBatch:
        """Run Algorithm 1 once.

        Args:
            generator: Maps latents (V, d) to volumes (V, D, D, D).
            noise_power: (G, D//2+1) noise power of each shell in each optics group;
                patches of noise win over it.
            batch: Volumes V and poses per volume P of the whole batch.
            step: Update at which images are drawn.
            purpose: Separates the draws of training, previews and tests.
            max_shell: Clean images hold no mode beyond this shell; None: all.

        Returns:
            This process's shard of the batch.
        """
        volumes, poses = batch
        mine = self.shard.share(volumes)
        latents = stream(self.seed, f"{purpose}/latent", step=step)
        latent = self.latent_prior.sample(volumes, latents)
        conformation = self.latent_prior.view_row(latent)
        params = self.imaging_prior.sample(conformation, poses, purpose, step)
        latent = latent[mine].to(self.device)
        params = _take(params, mine, self.device)
        volume = generator(latent)
        clean = form_images(volume, params, self.voxel_size, max_shell)
        numbers = range(volumes)[mine]

        def draws(name: str, device: str) -> list[torch.Generator]:
            name = f"{purpose}/{name}"
            return [
                stream(self.seed, name, rank=index, step=step, device=device)
                for index in numbers
            ]

        if self.patches is None:
            noise = _noise(params, noise_power, clean, draws("noise", self.device))
        else:
            noise = _patches(self.patches, params, poses, draws("patches", "cpu"))
        return SimulatedBatch(latent, volume, params, clean, clean + noise)


def _noise(
    params: ImagingParams,
    noise_power: Tensor,
    like: Tensor,
    draws: list[torch.Generator],
) -> Tensor:
    """Draw noise like (V, P, D, D) images, each with the power of its optics group."""
    if params.ctf is None:
        power = noise_power[:1].expand(*like.shape[:2], -1)
    else:
        power = params.ctf.of_group(noise_power)
    shape = tuple(like.shape[1:])
    return torch.stack(
        [sample_noise(shape, own, d) for own, d in zip(power, draws, strict=True)]
    )


def _patches(
    source: NoiseSource,
    params: ImagingParams,
    poses: int,
    draws: list[torch.Generator],
) -> Tensor:
    """Draw patches of noise (V, P, D, D) that belong to the optics."""
    rows = [None] * len(draws) if params.row is None else list(params.row)
    return torch.stack(
        [source.draw(row, poses, d) for row, d in zip(rows, draws, strict=True)]
    )


def _take(params: ImagingParams, rows: slice, device: str) -> ImagingParams:
    """Keep the parameters of some volumes, on a device."""
    index = torch.arange(params.rotation.shape[0])[rows]
    shift, optics, row = params.shift_angstrom, params.ctf, params.row
    contrast = params.contrast
    moved: CTFParams | None = None if optics is None else optics.select(index)
    return ImagingParams(
        params.rotation[index].to(device),
        None if shift is None else shift[index].to(device),
        None if moved is None else moved.to(device),
        None if contrast is None else contrast[index].to(device),
        None if row is None else row[index],
    )
