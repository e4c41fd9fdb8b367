"""A conformation and a pose for every particle."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.config import RunConfig
from multicryogan.errors import InputError
from multicryogan.evaluation import align_neighbours
from multicryogan.io import ParticleStack
from multicryogan.likelihood.expectation import Examination
from multicryogan.likelihood.manifold import Manifold
from multicryogan.likelihood.posterior import Placement
from multicryogan.likelihood.thinning import CLOSE
from multicryogan.networks import Generator
from multicryogan.priors import LatentPrior
from multicryogan.progress import Progress, ignore
from multicryogan.rng import Shard
from multicryogan.training import open_stage
from multicryogan.training.build import has_frame
from multicryogan.units import is_same_length

MOST = 400  # conformations
LINE, PLANE = 21, 121  # of one dimension, and of more, when not told


@dataclass(frozen=True, slots=True)
class Assignment:
    """Where N particles lie on the manifold, and how they are seen.

    Attributes:
        latents: (V, d) conformations that were compared.
        weights: (V,) their prior probabilities.
        volumes: (V, D, D, D) their densities, each laid on its neighbour; poses refer
            to these.
        rotation: (N, 3, 3) best matrices A, r_image = A r_volume.
        shift_angstrom: (N, 2) (x, y) where the particle sits. Where no shifts were
            searched, a volume that was laid on another may still have moved.
        placement: The posterior of every particle.
    """

    latents: Tensor
    weights: Tensor
    volumes: Tensor
    rotation: Tensor
    shift_angstrom: Tensor
    placement: Placement


def latent_grid(config: RunConfig, steps: int) -> Tensor:
    """Place evenly probable conformations, `steps` along each latent dimension.

    Args:
        config: Of a run.
        steps: 0: 21 on a line, else about PLANE in all, 11 x 11 of two dimensions. On a
            plane of Hsp90 images 21 x 21 explained them by 0.005 nats better.

    Returns:
        (V, d) latents.

    Raises:
        InputError: There would be too many.
    """
    prior = LatentPrior(config.latent.kind, config.latent.dimensions)
    if steps == 0:
        is_line = prior.dimensions == 1
        steps = (
            LINE if is_line else max(2, round(float(PLANE ** (1 / prior.dimensions))))
        )
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
    field, own, least = box * voxel_size, stack.field_angstrom, stack.least_box
    if not is_same_length(own, field) or least < box:
        raise InputError(
            f"{stack.path}: images of {least} pixels span {own:.1f} Å, the maps of "
            f"{box} voxels span {field:.1f} Å; give the particles that the run was "
            "trained on"
        )


@torch.no_grad()
def generator_manifold(generator: Generator, latents: Tensor) -> Manifold:
    """Take the volumes of a generator at (V, d) equally likely latents as they come."""
    volumes = torch.cat([generator(latent[None]) for latent in latents])
    weights = torch.full((len(latents),), 1 / len(latents))
    return Manifold.separate(volumes, latents, weights)


@torch.no_grad()
def assign(
    manifold: Manifold,
    config: RunConfig,
    stack: ParticleStack,
    sign: int,
    *,
    device: str = "cpu",
    progress: Progress = ignore,
) -> Assignment:
    """Compare every particle with conformations in a grid of poses.

    A generator makes each conformation in a frame of its own. They are laid on each
    other afterwards, and their poses with them: one frame, as far as shapes allow.
    Those of a symmetric molecule have their axes in common, those of a run with a focus
    mask what does not move: they stay.

    Each image is taken through its own CTF and the noise spectrum of its group's rims,
    or of the run's patches of background, at the box of the volumes.
    Shifts are searched as far as the run drew them (--imaging.shift-sigma-angstrom).

    Args:
        manifold: Conformations, refined or as a generator makes them.
        config: Resolved config of the run that they come from.
        stack: N particles that pass `check_particles`.
        sign: +1 when protein is bright, -1 when it is dark.
        device: "cpu" or a CUDA device.
        progress: Called with particles done and particles in all.

    Returns:
        The assignment, on the CPU, in the order of the particles.
    """
    box = manifold.basis.shape[-1]
    stage = open_stage(config, stack, sign, box, Shard(), device)
    law, tree = stage.law(), stage.poses(config.imaging.shift_sigma_angstrom)
    level = tree.fine_level(law.max_shell)
    manifold = manifold.of_contrasts(config.imaging.contrast_spread)
    look = Examination(manifold.to(device), law, tree, level, CLOSE)
    rows = torch.arange(len(stack))
    placement = look.place(stage.sampler, rows, progress=progress)
    laid, frames = align_neighbours(
        manifold.volumes, manifold.latents, has_frame=has_frame(config)
    )
    rotation, shift = frames.poses(
        look.tree.rotations(placement.pose, look.level), placement.conformation
    )
    return Assignment(
        latents=manifold.latents,
        weights=manifold.weights,
        volumes=laid,
        rotation=rotation,
        shift_angstrom=stage.pixel_size * (shift + placement.shift_px),
        placement=placement,
    )
