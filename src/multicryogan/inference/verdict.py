"""What a finished run or refinement says of itself, without the truth."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from multicryogan.config import RunConfig
from multicryogan.data.optics import group_names
from multicryogan.fourier import resize_density
from multicryogan.imaging import CTFParams
from multicryogan.inference.fit import Fit, measure_fit
from multicryogan.inference.likeness import measure_likeness, write_likeness
from multicryogan.inference.manifold_file import load_manifold
from multicryogan.io import ParticleStack, read_facts, whole_file
from multicryogan.likelihood import Examination, Manifold
from multicryogan.priors import LatentLaw, LatentPrior, TablePrior, ViewLaw
from multicryogan.rng import Shard, stream
from multicryogan.training import Stage, load_snapshot, load_views, open_stage

VERDICT = "verdict.json"
NEEDED = ("verdict", "moves", "whole", "motion", "faults", "resolution_angstrom")
BOX = 16  # false optima show at low resolution, where poses are few
VOLUMES = 9  # that stand for all conformations along each latent dimension
PER_VOLUME = 20  # simulated images of each conformation drawn
FEWEST = 100  # held-out images
COMPARED = 500  # images of each kind whose power is compared


@dataclass(frozen=True, slots=True)
class Result:
    """What was found, at one box.

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
    prior = LatentPrior(config.latent.kind, config.latent.dimensions)
    if prior.dimensions == 1:
        latent = prior.path(VOLUMES)
    else:
        draws = stream(config.train.seed, "verdict/volumes")
        latent = prior.sample(VOLUMES**2, draws)
    weights = torch.full((len(latent),), 1 / len(latent))
    views = load_views(run)

    def result_at(box: int) -> Result:
        @torch.no_grad()
        def volumes_at(latent: Tensor) -> Tensor:
            # One at a time: boxes may be large.
            return torch.cat([resize_density(generator(z[None]), box) for z in latent])

        return Result(config, prior, volumes_at, latent, weights, views)

    return write_verdict(run, result_at, generator.box, stack, sign)


def judge_refined(folder: Path, stack: ParticleStack, sign: int) -> str:
    """Measure the fit of a folder of `refine`: see `write_verdict`."""
    manifold, config, _ = load_manifold(folder)

    def result_at(box: int) -> Result:
        basis = torch.cat([resize_density(own[None], box) for own in manifold.basis])

        def volumes_at(number: Tensor) -> Tensor:
            own = manifold.coefficients[number[:, 0].long()]
            return dataclasses.replace(manifold, coefficients=own, basis=basis).volumes

        return Result(
            config,
            TablePrior(manifold.weights),
            volumes_at,
            torch.arange(float(len(manifold.weights)))[:, None],
            manifold.weights,
            manifold.views,
        )

    return write_verdict(folder, result_at, manifold.basis.shape[-1], stack, sign)


def write_verdict(
    folder: Path,
    result_at: Callable[[int], Result],
    box: int,
    stack: ParticleStack,
    sign: int,
) -> str:
    """Measure a fit by images that were held out: verdict.json and likeness.npz.

    Args:
        folder: Where to.
        result_at: What is to be judged, at a box.
        box: Its own.
        stack: Its particles.
        sign: +1 when protein is bright, -1 when it is dark.

    Returns:
        A line to print; where there is too little to judge by, the reason, and no
        file is written.
    """
    names = group_names(stack)
    result = result_at(min(BOX, box))
    stage = _open(result, stack, sign, min(BOX, box))
    held_out = stage.sampler.held_out()
    if not stage.view.shows_ctf:
        return "not judged: the defocus of each image is not known"
    if len(held_out) < FEWEST:
        return "not judged: too few particles to hold some out"
    fit = _fit(result, stage, held_out, names)
    facts = {
        "verdict": "sound" if fit.is_sound else "unsound",
        "faults": fit.faults,
        "moves": fit.moves,
        "resolution_angstrom": 2 * stage.pixel_size,
        **dataclasses.asdict(fit),
    }
    with whole_file(folder / VERDICT) as path:
        path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    whole, some = result_at(box), held_out[:: max(1, len(held_out) // COMPARED)]
    _compare(whole, _open(whole, stack, sign, box), some, names, folder)
    return fit.text()


def read_verdict(folder: Path) -> dict[str, Any]:
    """Read verdict.json; empty where the folder was not judged.

    Raises:
        InputError: The file is damaged.
    """
    cure = "delete it, and the folder counts as not judged"
    return read_facts(folder / VERDICT, NEEDED, cure)


def _open(result: Result, stack: ParticleStack, sign: int, box: int) -> Stage:
    """Open the particles at a box, under the laws that were learned."""
    imaging = result.config.imaging
    stage = open_stage(result.config, stack, sign, box, Shard(), "cpu")
    return stage.under(
        imaging.shift_sigma_angstrom, imaging.contrast_spread, result.views
    )


def _compare(
    result: Result, stage: Stage, rows: Tensor, names: list[str], folder: Path
) -> None:
    """Write likeness.npz: images (N,) rows beside as many of the result's own."""
    real, own = stage.sampler.take(rows), _own_images(result, stage, len(rows))
    pictures = stage.view(*real).images, stage.view(*own).images
    found = measure_likeness(real, own, pictures, names, stage.pixel_size)
    write_likeness(found, folder)


def _fit(result: Result, stage: Stage, held_out: Tensor, names: list[str]) -> Fit:
    """Compare held-out images, (N,) rows, with as many of the result's own."""
    own = _own_images(result, stage, len(held_out))
    poses = stage.poses(result.config.imaging.shift_sigma_angstrom)
    law = stage.law()
    look = Examination(result.manifold, law, poses, poses.levels(law.max_shell))
    return measure_fit(look, stage.sampler.take(held_out), own, names)


def _own_images(
    result: Result, stage: Stage, count: int
) -> tuple[Tensor, CTFParams | None]:
    """(B, D, D) images made from a result by its own laws, and their optics (B,)."""
    simulator = dataclasses.replace(stage.simulator, latent_prior=result.prior)
    batch = (count // PER_VOLUME, PER_VOLUME)
    made = simulator.sample(
        result.volumes_at, stage.spectra.rim, batch, 0, purpose="verdict"
    )
    optics = made.params.ctf
    return made.noisy.flatten(0, 1), None if optics is None else optics.reshape(-1)
