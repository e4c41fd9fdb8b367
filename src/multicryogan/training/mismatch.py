"""How well real images can be told from images made with the true volumes.

Where the noise law or the operator of the simulator differs from that of the data, a
discriminator wins against the true volumes as well: what it finds there bounds what
any training can reach.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Adam

from multicryogan.config import LatentConfig, RunConfig
from multicryogan.data.view import Views
from multicryogan.errors import InputError
from multicryogan.fourier import resize_density, shell_mean
from multicryogan.io import ParticleStack
from multicryogan.networks import Discriminator
from multicryogan.rng import Shard, stream
from multicryogan.training.opponent import make_opponent
from multicryogan.training.schedule import Schedule
from multicryogan.training.stage import Stage, open_stage
from multicryogan.training.steps import discriminator_step

UPDATES = 600  # of the discriminator
HELD_OUT = 20_000  # real images that are scored, and as many simulated ones
FEWEST = 256  # particles: with fewer nothing can be told
LEAST = 0.515  # area: the true maps themselves give up to 0.51
CLEAR = 3.0  # standard errors
Generator = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Area:
    """Area under a ROC curve: 0.5 where two sets of images cannot be told apart."""

    value: float
    error: float  # standard error

    @property
    def is_clear(self) -> bool:
        """Whether it is better than chance, clearly and by more than a trifle."""
        return self.value > max(0.5 + CLEAR * self.error, LEAST)

    def __str__(self) -> str:
        """Show value and error."""
        return f"{self.value:.3f} +- {self.error:.3f}"


@dataclass(frozen=True, slots=True)
class Mismatch:
    """How real images differ from simulated ones at one box.

    Attributes:
        box: Working box in pixels.
        pixel_size: Å per pixel at that box.
        by_network: Of a discriminator of the run, on images that it has not seen.
        by_power: Of the power in each shell, by the linear rule that separates best.
        scale: Power of real over that of simulated images, intensities as in the file.
        ratio: (D//2+1,) the same in each shell, over `scale`.
        ratio_error: (D//2+1,) its standard error.
    """

    box: int
    pixel_size: float
    by_network: Area
    by_power: Area
    scale: float
    ratio: Tensor
    ratio_error: Tensor

    def odd_shells(self) -> list[int]:
        """Shells, 1 to D / 2 - 1, whose power clearly differs."""
        is_odd = (self.ratio - 1).abs() > CLEAR * self.ratio_error
        return [k for k in range(1, self.box // 2) if is_odd[k]]

    @property
    def problem(self) -> str | None:
        """One line on what tells real from simulated images, or None."""
        if not (self.by_network.is_clear or self.by_power.is_clear):
            return None
        odd = self.odd_shells()
        listed = ", ".join(f"{k} ({self.ratio[k] - 1:+.1%})" for k in odd)
        return (
            f"at a box of {self.box} real images can be told from images of the true "
            f"maps ({self.areas}); "
            + (f"power differs in shells {listed}" if odd else "no shell stands out")
            + "; look at the noise, optics, shifts and views of the simulator"
        )

    @property
    def areas(self) -> str:
        """Both areas under the ROC curve, as text."""
        return f"AUC {self.by_network} by the network, {self.by_power} by power"

    def table(self) -> list[str]:
        """List the power of each shell, for people."""
        return [
            f"box {self.box}: power of real over simulated images, {self.scale:.4f} "
            "in all; by shell:",
            f"{'shell':>6} {'Å':>7} {'differs by':>11} {'error':>8}",
            *(
                f"{k:>6} {self.box * self.pixel_size / k:>7.1f} "
                f"{self.ratio[k] - 1:>+11.2%} {self.ratio_error[k]:>8.2%}"
                for k in range(1, self.box // 2)
            ),
        ]


def measure_mismatch(
    config: RunConfig,
    stack: ParticleStack,
    sign: int,
    maps: Tensor,
    weights: Tensor,
    box: int,
    device: str = "cpu",
) -> Mismatch:
    """Tell real images from images of the true maps, prepared as training does.

    Args:
        config: The run's config; its latent is replaced by one that picks a map.
        stack: Particles, at least 256.
        sign: +1 when protein is bright, -1 when it is dark.
        maps: (M, B, B, B) true densities, axes (z, y, x), over the field of view of
            the images; a projection sums B voxels to intensities of the images.
        weights: (M,) share of each map among the particles.
        box: Working box of the comparison.
        device: "cpu" or a CUDA device.

    Returns:
        What was found; the same for the same seed and threads.

    Raises:
        InputError: There are too few particles.
    """
    if len(stack) < FEWEST:
        raise InputError(
            f"{stack.path} holds {len(stack)} particles, too few to compare with the "
            f"truth; give {FEWEST} or more"
        )
    config = replace(config, latent=LatentConfig())
    # Noise that training adds would hide what differs.
    stage = open_stage(config, stack, sign, box, Shard(), device, math.inf)
    return compare(config, stage, true_generator(maps.to(device), weights, box))


def true_generator(maps: Tensor, weights: Tensor, box: int) -> Generator:
    """Make a generator that draws true maps by their weights.

    Args:
        maps: (M, B, B, B) densities, axes (z, y, x).
        weights: (M,) shares, not negative.
        box: Side D in voxels of what is made.

    Returns:
        A map from latents (V, 1) on the unit segment to volumes (V, D, D, D), whose
        projections are those of the maps, resized with their values kept.
    """
    resized = resize_density(maps, box)
    ends = weights.double().cumsum(0) / weights.double().sum()

    def generate(latent: Tensor) -> Tensor:
        place = torch.searchsorted(ends, latent[:, 0].double().cpu(), right=True)
        return resized[place.clamp(max=len(ends) - 1).to(resized.device)]

    return generate


def compare(config: RunConfig, stage: Stage, generator: Generator) -> Mismatch:
    """Train a discriminator on half of the particles and score the other half.

    What it learned by heart of its own half helps it nothing on the other.

    Args:
        config: The run's config, with a latent on the unit segment.
        stage: Data, simulator and noise.
        generator: Maps latents (V, 1) to volumes (V, D, D, D).

    Returns:
        What was found.
    """
    count = len(stage.sampler.stack)
    order = torch.randperm(count, generator=stream(config.train.seed, "truth/split"))
    seen, unseen = order[: count // 2], order[count // 2 :][:HELD_OUT]
    discriminator = _train(config, stage, generator, seen)
    scored: tuple[list[_Scored], list[_Scored]] = [], []
    for step, rows in enumerate(torch.split(unseen, math.prod(stage.batch))):
        raw, optics = stage.sampler.take(rows)
        with torch.no_grad():
            made, fake = stage.simulate(generator, stage.box, step, "truth/score")
            scored[0].append(_score(discriminator, raw, stage.view(raw, optics)))
            scored[1].append(_score(discriminator, made.noisy.flatten(0, 1), fake))
    real, fakes = (
        _Scored(*(torch.cat(parts) for parts in zip(*side, strict=True)))
        for side in scored
    )
    scale, ratio, ratio_error = compare_powers(real.power, fakes.power)
    return Mismatch(
        box=stage.box,
        pixel_size=stage.pixel_size,
        by_network=area_under_curve(real.score, fakes.score),
        by_power=area_by_power(real.shown[:, 1:-1], fakes.shown[:, 1:-1]),
        scale=scale,
        ratio=ratio,
        ratio_error=ratio_error,
    )


def area_under_curve(high: Tensor, low: Tensor) -> Area:
    """Estimate the probability that one score exceeds another.

    Args:
        high: (N,) scores that should be higher.
        low: (M,) scores that should be lower.

    Returns:
        The area under the ROC curve, ties counted as one half, with the standard
        error of DeLong et al. (1988).
    """

    def beaten(scores: Tensor, by: Tensor) -> Tensor:
        """Share of `by` that each score exceeds."""
        ordered = by.sort().values
        below = torch.searchsorted(ordered, scores)
        upto = torch.searchsorted(ordered, scores, right=True)
        return (below + upto).double() / (2 * len(by))

    wins, losses = beaten(high, low), beaten(low, high)
    error = (wins.var() / len(wins) + losses.var() / len(losses)).sqrt()
    return Area(float(wins.mean()), float(error))


def area_by_power(real: Tensor, fake: Tensor) -> Area:
    """Tell images apart by Fisher's linear discriminant on the power of their shells.

    A small change of a noise spectrum takes a network long to find; this finds it.
    Each half of the images is scored by the rule that the other half gives.

    Args:
        real: (N, S) power in each of S shells.
        fake: (M, S) the same of simulated images.

    Returns:
        The area under the ROC curve, averaged over the two halves.
    """
    halves = [(real[i::2].double(), fake[i::2].double()) for i in (0, 1)]
    areas = []
    for fitted, scored in (halves, halves[::-1]):
        spread = sum((torch.cov(x.T) for x in fitted), torch.zeros(()))
        rule = torch.linalg.solve(spread, fitted[0].mean(0) - fitted[1].mean(0))
        areas.append(area_under_curve(scored[0] @ rule, scored[1] @ rule))
    # Where nothing differs both are as lucky as the two halves are alike: averaging
    # does not make the error smaller.
    value = sum(area.value for area in areas) / 2
    return Area(value, sum(area.error for area in areas) / 2)


def compare_powers(real: Tensor, fake: Tensor) -> tuple[float, Tensor, Tensor]:
    """Compare the spectra of two sets of images, apart from their overall strength.

    The strength is left out since standardised images do not hold it.

    Args:
        real: (N, D//2+1) power per mode of each image's shells.
        fake: (M, D//2+1) the same of other images.

    Returns:
        Ratio of the powers over all of shells 1 to D / 2 - 1; (D//2+1,) ratio in each
        shell over that one, and its standard error.
    """
    real, fake = real.double(), fake.double()
    parts = [x.var(0) / len(x) / x.mean(0).square() for x in (real, fake)]
    raw = real.mean(0) / fake.mean(0)
    modes = torch.arange(real.shape[1], dtype=real.dtype)
    modes[-1] = 0
    scale = (real.mean(0) @ modes) / (fake.mean(0) @ modes)
    ratio = raw / scale
    return float(scale), ratio, ratio * (parts[0] + parts[1]).sqrt()


class _Scored(NamedTuple):
    """What is measured of B images."""

    score: Tensor  # (B,)
    power: Tensor  # (B, D//2+1) in each shell, intensities as in the file
    shown: Tensor  # (B, D//2+1) the same as the discriminator sees it


def _train(
    config: RunConfig, stage: Stage, generator: Generator, rows: Tensor
) -> Discriminator:
    """Train against one generator, with the learning rates of a whole run."""
    train, schedule, batch = config.train, Schedule(config), math.prod(stage.batch)
    discriminator = make_opponent(config, stage, rows=rows)
    discriminator.open_band(stage.box)
    optimizer = Adam(discriminator.parameters(), betas=(train.beta1, train.beta2))
    for step in range(UPDATES):
        rate = train.discriminator_rate * schedule.rate_factor(step / UPDATES)
        optimizer.param_groups[0]["lr"] = rate
        draws = stream(train.seed, "truth/rows", step=step)
        drawn = rows[torch.randint(len(rows), (batch,), generator=draws)]
        mix = torch.rand(batch, generator=stream(train.seed, "truth/mix", step=step))
        with torch.no_grad():
            _, fake = stage.simulate(generator, stage.box, step, "truth/train")
        discriminator_step(
            discriminator,
            optimizer,
            stage.view(*stage.sampler.take(drawn)),
            fake,
            train.penalty_weight,
            mix.to(fake.images.device),
        )
    return discriminator


def _score(discriminator: Discriminator, raw: Tensor, views: Views) -> _Scored:
    """Measure working images, raw (B, D, D) and as they are shown."""
    score = discriminator(views.images, views.transfer)
    powers = (_shell_powers(images).cpu() for images in (raw, views.images))
    return _Scored(score.cpu(), *powers)


def _shell_powers(images: Tensor) -> Tensor:
    """(B, D//2+1) power per mode of each image's shells."""
    spectrum = torch.fft.rfft2(images, norm="ortho").abs().square()
    return shell_mean(spectrum, images.shape[-1])
