"""What a finished run or refinement says of itself, without the truth."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from multicryogan.config import RunConfig
from multicryogan.data.optics import group_names
from multicryogan.fourier import resize_density
from multicryogan.inference.fit import Fit, measure_fit
from multicryogan.inference.manifold_file import load_manifold
from multicryogan.io import ParticleStack, whole_file
from multicryogan.likelihood import Examination, Manifold
from multicryogan.priors import LatentLaw, LatentPrior, TablePrior, ViewLaw
from multicryogan.rng import Shard, stream
from multicryogan.training import Stage, load_snapshot, load_views, open_stage

VERDICT = "verdict.json"
BOX = 16  # false optima show at low resolution, where poses are few
VOLUMES = 9  # that stand for all conformations along each latent dimension
PER_VOLUME = 20  # simulated images of each conformation drawn
FEWEST = 100  # held-out images


@dataclass(frozen=True, slots=True)
class Result:
    """What was found, at a small box.

    Attributes:
        config: Its laws of shifts and contrasts.
        prior: Law of the latents.
        volumes_at: Maps latents (V, d) to volumes (V, D, D, D).
        latent: (V, d) that stand for all.
        weights: (V,) of these; they sum to one.
        views: Law of the directions; none: uniform.
    """

    config: RunConfig
    prior: LatentLaw
    volumes_at: Callable[[Tensor], Tensor]
    latent: Tensor
    weights: Tensor
    views: ViewLaw | None

    @property
    def manifold(self) -> Manifold:
        """The volumes that stand for all, each as it is seen."""
        volumes = self.volumes_at(self.latent)
        spread = self.config.imaging.contrast_spread
        manifold = Manifold.separate(volumes, self.latent, self.weights)
        manifold = manifold.of_contrasts(spread)
        if self.views is None:
            return manifold
        row = self.prior.view_row(self.latent).clamp(max=len(self.views.weights) - 1)
        return manifold.seen_from(ViewLaw(self.views.weights[row]))


def judge_run(run: Path, stack: ParticleStack, sign: int) -> str:
    """Measure the fit of a run of `train`: see `write_verdict`."""
    generator, config, _ = load_snapshot(run)
    box = min(BOX, generator.box)
    prior = LatentPrior(config.latent.kind, config.latent.dimensions)

    @torch.no_grad()
    def volumes_at(latent: Tensor) -> Tensor:
        # One at a time: boxes may be large.
        return torch.cat([resize_density(generator(z[None]), box) for z in latent])

    if prior.dimensions == 1:
        latent = prior.path(VOLUMES)
    else:
        draws = stream(config.train.seed, "verdict/volumes")
        latent = prior.sample(VOLUMES**2, draws)
    weights = torch.full((len(latent),), 1 / len(latent))
    result = Result(config, prior, volumes_at, latent, weights, load_views(run))
    return write_verdict(run, result, box, stack, sign)


def judge_refined(folder: Path, stack: ParticleStack, sign: int) -> str:
    """Measure the fit of a folder of `refine`: see `write_verdict`."""
    manifold, config, _ = load_manifold(folder)
    box = min(BOX, manifold.basis.shape[-1])
    basis = torch.cat([resize_density(own[None], box) for own in manifold.basis])
    volumes = dataclasses.replace(manifold, basis=basis).volumes
    result = Result(
        config,
        TablePrior(manifold.weights),
        lambda number: volumes[number[:, 0].long()],
        torch.arange(float(len(volumes)))[:, None],
        manifold.weights,
        manifold.views,
    )
    return write_verdict(folder, result, box, stack, sign)


def write_verdict(
    folder: Path, result: Result, box: int, stack: ParticleStack, sign: int
) -> str:
    """Measure a fit by images that were held out, and write verdict.json.

    Args:
        folder: Where to.
        result: To be judged.
        box: Its box.
        stack: Its particles.
        sign: +1 when protein is bright, -1 when it is dark.

    Returns:
        A line to print; where there is too little to judge by, the reason, and no
        file is written.
    """
    imaging = result.config.imaging
    stage = open_stage(result.config, stack, sign, box, Shard(), "cpu")
    stage = stage.under(
        imaging.shift_sigma_angstrom, imaging.contrast_spread, result.views
    )
    held_out = stage.sampler.held_out()
    if not stage.view.shows_ctf:
        return "not judged: the defocus of each image is not known"
    if len(held_out) < FEWEST:
        return "not judged: too few particles to hold some out"
    fit = _fit(result, stage, held_out, group_names(stack))
    verdict = "sound" if fit.is_sound else "unsound"
    facts = {"verdict": verdict, "moves": fit.moves, **dataclasses.asdict(fit)}
    with whole_file(folder / VERDICT) as path:
        path.write_text(json.dumps(facts, indent=1) + "\n")
    return fit.text()


def _fit(result: Result, stage: Stage, held_out: Tensor, names: list[str]) -> Fit:
    """Compare held-out images, (N,) rows, with as many of the result's own."""
    simulator = dataclasses.replace(stage.simulator, latent_prior=result.prior)
    batch = (len(held_out) // PER_VOLUME, PER_VOLUME)
    made = simulator.sample(
        result.volumes_at, stage.spectra.rim, batch, 0, purpose="verdict"
    )
    optics = made.params.ctf
    own = made.noisy.flatten(0, 1), None if optics is None else optics.reshape(-1)
    poses = stage.poses(result.config.imaging.shift_sigma_angstrom)
    law = stage.law()
    look = Examination(result.manifold, law, poses, poses.levels(law.max_shell))
    return measure_fit(look, stage.sampler.take(held_out), own, names)
