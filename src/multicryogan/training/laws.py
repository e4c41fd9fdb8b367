"""The laws of views, shifts and contrasts, learned with the volumes.

They are found first with a rigid map, before anything moves. A generator that has to
make uneven views from even ones bends its volumes until they look alike from more
sides than one; with these any views seem even, and both stay as they are. Once it can
move, it makes conformations for one side alone. A map that is fitted to every image in
the poses of that image knows no such way out.

From then on, from time to time, some real images are compared with the volumes of the
moment, over all poses and shifts and at low resolution. What their posteriors count,
older counts fading, is the law that images are simulated with: steps of
expectation-maximisation between those of the game. Through the game itself both would
be learned from single scores, which know little of a single pose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from multicryogan.config import RunConfig
from multicryogan.errors import InputError
from multicryogan.io import ParticleStack
from multicryogan.likelihood import CLOSE, Examination, Manifold, PoseTree
from multicryogan.likelihood.manifold import all_pairs
from multicryogan.likelihood.maximisation import maximise, own_power, regularise
from multicryogan.likelihood.weighing import Counts, contrast_spread
from multicryogan.networks.blocks import soft_sphere
from multicryogan.priors import VIEW_STEPS, ViewLaw
from multicryogan.priors.views import CELLS
from multicryogan.rng import stream
from multicryogan.training.build import build_symmetry
from multicryogan.training.stage import Stage
from multicryogan.training.warm import file_directions

IMAGES = 500  # compared at once
FADE = 0.9  # of older counts
EVERY = 0.02  # share of a run
LEAST_PX = 0.1  # standard deviation of shifts: from zero it could not grow again
LEAST_SPREAD = 0.02  # that of contrasts, likewise
HIGHEST = 8  # shell that counts: poses are plain there, and few
PLAIN = 0.375  # of a small box: low-pass at which its volumes are fine enough
EARLIEST = 0.1  # share of a run after which they are found first: there is a volume
RIGID = (5, 5, 5, 6, 6, 6, 7, 7, 7)  # shells that a rigid map is fitted to
RIGID_IMAGES = 1_000  # each time, others


@dataclass(frozen=True, slots=True)
class Laws:
    """What was learned so far.

    Attributes:
        shift_sigma_angstrom: Standard deviation of the shifts along each axis.
        contrast_spread: That of the contrasts, over their mean.
        counts: (V, K) faded weights of directions for each conformation, on the CPU.
        shift_square: Faded sum of |shift|² in Å².
        contrast: (2,) faded sums of the contrasts and of their squares.
        images: Faded number of images.
        times: That it was learned, counted in `EVERY`.
        group: Point group of every conformation: directions are alike under it.
    """

    shift_sigma_angstrom: float
    contrast_spread: float
    counts: Tensor
    shift_square: float = 0.0
    contrast: Tensor = field(default_factory=lambda: torch.zeros(2))
    images: float = 0.0
    times: int = 0
    group: str = "C1"

    @staticmethod
    def begun(config: RunConfig, stack: ParticleStack) -> Laws:
        """Start from the settings; beside a map, with the directions of the file."""
        rows = VIEW_STEPS**config.latent.dimensions
        imaging, shape = config.imaging, config.generator
        start = imaging.shift_sigma_angstrom, imaging.contrast_spread
        motions = 0 if shape.kind == "volume" else shape.components
        group = build_symmetry(config).of_all(motions)
        known = file_directions(stack, shape.symmetry) if shape.start_map else None
        if known is None:
            return Laws(*start, torch.zeros(rows, CELLS), group=group)
        counts = (known / rows).expand(rows, -1).clone()
        images = float(known.sum())
        square = 2 * images * imaging.shift_sigma_angstrom**2
        bright = images * torch.tensor([1, 1 + imaging.contrast_spread**2])
        return Laws(*start, counts, square, bright, images, group=group)

    @staticmethod
    def restored(values: dict[str, Any]) -> Laws:
        """Take up what a checkpoint holds.

        Raises:
            InputError: It holds other laws than these.
        """
        try:
            return Laws(**values)
        except TypeError:
            raise InputError(
                "the checkpoint holds other laws: another version of multicryogan "
                "wrote it; start anew with another -o"
            ) from None

    @property
    def views(self) -> ViewLaw | None:
        """Law of the directions; none as long as none were counted."""
        if self.images == 0:
            return None
        return ViewLaw.of_counts(self.counts, self.group)

    def joined(self, counts: Counts, tree: PoseTree, level: int, size: float) -> Laws:
        """Add the counts of some images; `size` is Å per pixel."""
        images = FADE * self.images + counts.images
        square = FADE * self.shift_square + size**2 * float(counts.shift_square)
        sigma_angstrom = self.shift_sigma_angstrom
        if sigma_angstrom > 0:
            width = tree.shifts.width(square / images / size**2, level)
            sigma_angstrom = size * max(width, LEAST_PX)
        contrast = FADE * self.contrast + counts.contrast.cpu()
        spread = self.contrast_spread
        if spread > 0:
            spread = max(contrast_spread(contrast, images), LEAST_SPREAD)
        directions = FADE * self.counts + counts.views.cpu()
        return replace(
            self,
            shift_sigma_angstrom=sigma_angstrom,
            contrast_spread=spread,
            contrast=contrast,
            counts=directions,
            shift_square=square,
            images=images,
        )


def counts_from(box: int) -> float:
    """Low-pass in Fourier pixels from which volumes are fine enough to count by."""
    return min(HIGHEST, PLAIN * box)


@torch.no_grad()
def learn(
    laws: Laws,
    stage: Stage,
    generator: Callable[[Tensor], Tensor],
    latents: Tensor,
    seed: int,
    step: int,
) -> Laws:
    """Compare some images with volumes along the latent, and count.

    Args:
        laws: Of before.
        stage: Gives images, noise and the laws that are in use.
        generator: Maps latents (V, d) to volumes (V, D, D, D).
        latents: (V, d), one in each cell that has views of its own.
        seed: Of the run.
        step: Which time it is.

    Returns:
        The laws, the new counts in them.
    """
    look = examination(laws, stage, generator, latents)
    rows = _rows(stage, IMAGES, stream(seed, "laws/rows", step=step))
    counts = look.count(stage.sampler, rows)
    joined = laws.joined(counts, look.tree, look.level, stage.pixel_size)
    return replace(joined, times=step)


def examination(
    laws: Laws,
    stage: Stage,
    generator: Callable[[Tensor], Tensor],
    latents: Tensor,
) -> Examination:
    """Compare images with volumes at latents (V, d), by the laws of the moment."""
    volumes = _volumes(generator, latents)
    weights = torch.full((len(latents),), 1 / len(latents)).to(volumes)
    manifold = Manifold.separate(volumes, latents, weights)
    manifold = manifold.of_contrasts(laws.contrast_spread)
    views = stage.simulator.imaging_prior.views
    if views is not None:
        manifold = manifold.seen_from(views)
    return _look(laws, stage, manifold, min(HIGHEST, stage.box // 2))


@torch.no_grad()
def find(
    laws: Laws,
    stage: Stage,
    generator: Callable[[Tensor], Tensor],
    latents: Tensor,
    seed: int,
    step: int,
) -> Laws:
    """Fit a rigid map to images by expectation-maximisation, and the laws with it.

    Args:
        laws: Of the beginning.
        stage: Gives images and noise.
        generator: Its mean volume is where the map starts.
        latents: (V, d) that the mean is taken over, as many as have views of their own.
        seed: Of the run.
        step: Which time it is.

    Returns:
        The laws of the last iteration, the same for all conformations.
    """
    volumes = _volumes(generator, latents)
    inside = soft_sphere(stage.box).to(volumes)
    one = torch.ones(1, 1).to(volumes)
    mean = volumes.mean(0, keepdim=True)
    manifold = Manifold(latents[:1], one[0], one, mean, all_pairs(1).to(mean.device))
    manifold = manifold.of_contrasts(laws.contrast_spread)
    found = laws
    for number, shell in enumerate(RIGID):
        look = _look(found, stage, manifold, min(shell, stage.box // 2))
        rows = _rows(stage, RIGID_IMAGES, stream(seed, "laws/rigid", step=number))
        sums = look.empty_sums(stage.box)
        look.place(stage.sampler, rows, sums)
        modes = look.law.modes(stage.box, mean)
        estimate = maximise(manifold, sums, modes, inside)
        fitted = regularise(estimate, own_power(estimate), inside[None])
        even = sums.counts.views.expand(len(latents), -1) / len(latents)
        counts = replace(sums.counts, views=even)
        found = laws.joined(counts, look.tree, look.level, stage.pixel_size)
        manifold = replace(
            manifold,
            basis=fitted,
            views=ViewLaw.of_counts(sums.counts.views, laws.group),
            contrast_spread=found.contrast_spread,
        )
    return replace(found, times=step)


def _volumes(generator: Callable[[Tensor], Tensor], latents: Tensor) -> Tensor:
    """(V, D, D, D) volumes at latents (V, d), one after the other."""
    return torch.cat([generator(latent[None]) for latent in latents])


def _look(laws: Laws, stage: Stage, manifold: Manifold, shell: int) -> Examination:
    """Compare images with conformations up to a shell, over shifts as wide as known."""
    poses = stage.poses(laws.shift_sigma_angstrom)
    return Examination(
        manifold, stage.law(shell), poses, poses.levels(shell), most=CLOSE
    )


def _rows(stage: Stage, count: int, draws: torch.Generator) -> Tensor:
    """Draw rows of images that training sees."""
    in_use = stage.sampler.in_use
    index = torch.randint(in_use, (min(count, in_use),), generator=draws)
    return stage.sampler.rows(index)
