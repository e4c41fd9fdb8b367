"""What a finished run says of itself, without the truth."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from multicryogan.data.optics import group_names
from multicryogan.fourier import resize_density
from multicryogan.inference.fit import measure_fit
from multicryogan.io import ParticleStack, whole_file
from multicryogan.likelihood import Examination, Manifold
from multicryogan.priors import ViewLaw
from multicryogan.rng import Shard, stream
from multicryogan.simulator import VIEW_STEPS
from multicryogan.training import load_snapshot, load_views, open_stage

VERDICT = "verdict.json"
BOX = 16  # false optima show at low resolution, where poses are few
VOLUMES = 9  # that stand for all conformations along each latent dimension
PER_VOLUME = 20  # simulated images of each conformation drawn
FEWEST = 100  # held-out images


def write_verdict(run: Path, stack: ParticleStack, sign: int) -> str:
    """Measure the fit of a run by images that it held out, and write verdict.json.

    Args:
        run: Folder of a finished run.
        stack: Its particles.
        sign: +1 when protein is bright, -1 when it is dark.

    Returns:
        A line to print; where there is too little to judge by, the reason, and no
        file is written.
    """
    generator, config, _ = load_snapshot(run)
    stage = open_stage(config, stack, sign, min(BOX, generator.box), Shard(), "cpu")
    imaging, views = config.imaging, load_views(run)
    stage = stage.under(imaging.shift_sigma_angstrom, imaging.contrast_spread, views)
    held_out = stage.sampler.held_out()
    if not stage.view.shows_ctf:
        return "not judged: the defocus of each image is not known"
    if len(held_out) < FEWEST:
        return "not judged: too few particles to hold some out"

    def coarse(latent: Tensor) -> Tensor:
        # One at a time: boxes may be large.
        return torch.cat(
            [resize_density(generator(z[None]), stage.box) for z in latent]
        )

    with torch.no_grad():
        batch = (len(held_out) // PER_VOLUME, PER_VOLUME)
        made, _ = stage.simulate(coarse, float(stage.box), 0, "verdict", batch)
        prior = stage.simulator.latent_prior
        if prior.dimensions == 1:
            latent = prior.path(VOLUMES)
        else:
            draws = stream(config.train.seed, "verdict/volumes")
            latent = prior.sample(VOLUMES**2, draws)
        volumes = coarse(latent)
    optics = made.params.ctf
    own = made.noisy.flatten(0, 1), None if optics is None else optics.reshape(-1)
    manifold = Manifold.separate(
        volumes, latent, torch.full((len(latent),), 1 / len(latent))
    ).of_contrasts(imaging.contrast_spread)
    if views is not None:
        cell = prior.cell(latent, VIEW_STEPS).clamp(max=len(views.weights) - 1)
        manifold = manifold.seen_from(ViewLaw(views.weights[cell]))
    poses = stage.poses(imaging.shift_sigma_angstrom)
    look = Examination(manifold, stage.law(), poses)
    fit = measure_fit(look, stage.sampler.take(held_out), own, group_names(stack))
    verdict = "sound" if fit.is_sound else "unsound"
    facts = {"verdict": verdict, "moves": fit.moves, **asdict(fit)}
    with whole_file(run / VERDICT) as path:
        path.write_text(json.dumps(facts, indent=1) + "\n")
    return fit.text()
