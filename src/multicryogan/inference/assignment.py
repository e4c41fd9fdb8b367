"""A conformation and a pose for every particle, from a trained generator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.config import RunConfig
from multicryogan.data.sampler import ImageSampler
from multicryogan.errors import InputError
from multicryogan.evaluation import align_neighbours
from multicryogan.imaging import CTFParams
from multicryogan.inference.likelihood import ImageLaw, pose_posterior
from multicryogan.inference.posterior import Placement, place
from multicryogan.io import ParticleStack
from multicryogan.networks import Generator
from multicryogan.priors import LatentPrior
from multicryogan.rng import Shard
from multicryogan.rotations import super_fibonacci
from multicryogan.training import open_stage

BLOCK = 2**26  # pixels of the images compared at once; a block makes all slices anew
READ = 2**24  # pixels of the images read from disk at once
MOST = 400  # conformations
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Assignment:
    """Where N particles lie on the manifold, and how they are seen.

    Attributes:
        latents: (V, d) conformations that were compared.
        volumes: (V, D, D, D) their densities, each laid on its neighbour; poses refer
            to these.
        rotation: (N, 3, 3) best matrices A, r_image = A r_volume.
        shift_angstrom: (N, 2) (x, y) where the particle sits: a volume that was laid
            on another may have moved from the centre.
        placement: The posterior of every particle.
    """

    latents: Tensor
    volumes: Tensor
    rotation: Tensor
    shift_angstrom: Tensor
    placement: Placement


def latent_grid(config: RunConfig, steps: int) -> Tensor:
    """Place evenly probable conformations, `steps` along each latent dimension.

    Returns:
        (V, d) latents.

    Raises:
        InputError: There would be too many.
    """
    prior = LatentPrior(config.latent.kind, config.latent.dimensions)
    count = steps**prior.dimensions
    if count > MOST:
        raise InputError(
            f"--conformations {steps}, along each of {prior.dimensions} latent "
            f"dimensions, make {count:,}; give fewer: {MOST} in all at most"
        )
    return prior.grid(steps)


def check_particles(stack: ParticleStack, box: int, voxel_size: float) -> None:
    """Refuse particles that a generator of `box` voxels does not describe.

    Raises:
        InputError: They have another field of view, or fewer pixels.
    """
    field, own = box * voxel_size, stack.box * stack.pixel_size
    if abs(field - own) > 0.01 * field or stack.box < box:
        raise InputError(
            f"{stack.path}: images of {stack.box} pixels span {own:.1f} Å, the maps of "
            f"{box} voxels span {field:.1f} Å; give the particles that the run was "
            "trained on"
        )


@torch.no_grad()
def assign(
    generator: Generator,
    config: RunConfig,
    stack: ParticleStack,
    sign: int,
    latents: Tensor,
    poses: int,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Assignment:
    """Compare every particle with conformations in a grid of poses.

    A generator makes each conformation in a frame of its own. They are laid on each
    other afterwards, and their poses with them: one frame, as far as shapes allow.

    Each image is taken through its own CTF and the noise spectrum of all rims, at the
    box of the generator. Shifts are not searched.

    Args:
        generator: A trained generator.
        config: Its resolved config.
        stack: N particles that pass `check_particles`.
        sign: +1 when protein is bright, -1 when it is dark.
        latents: (V, d) equally likely conformations, as from `latent_grid`.
        poses: Number of poses, evenly spread over all rotations.
        device: "cpu" or a CUDA device.
        progress: Called with particles done and particles in all.

    Returns:
        The assignment, on the CPU, in the order of the particles.
    """
    box = generator.box
    stage = open_stage(config, stack, sign, box, Shard(), device)
    generator = generator.to(device)
    volumes = torch.cat([generator(latent[None].to(device)) for latent in latents])
    rotations = super_fibonacci(poses).to(volumes)
    law = ImageLaw(rotations, stage.spectra.rim, stage.pixel_size, box // 2 - 1)
    block = max(1, BLOCK // box**2)
    parts = []
    for rows in torch.split(torch.arange(len(stack)), block):
        found = pose_posterior(*_read(stage.sampler, rows), volumes, law)
        parts.append(place(found, latents.to(device), torch.ones(len(latents))))
        if progress is not None:
            progress(int(rows[-1]) + 1, len(stack))
    placement = Placement.join(parts)
    laid, frames = align_neighbours(volumes.cpu(), latents)
    rotation, shift = frames.poses(
        rotations.cpu()[placement.pose], placement.conformation
    )
    return Assignment(
        latents=latents,
        volumes=laid,
        rotation=rotation,
        shift_angstrom=stage.pixel_size * shift,
        placement=placement,
    )


def _read(sampler: ImageSampler, rows: Tensor) -> tuple[Tensor, CTFParams | None]:
    """Read images as the sampler does, few at a time: on disk they may be large."""
    few = max(1, READ // sampler.stack.box**2)
    images = torch.cat([sampler.take(some)[0] for some in torch.split(rows, few)])
    optics = sampler.optics
    return images, None if optics is None else optics.select(rows).to(images.device)
