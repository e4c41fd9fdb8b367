"""Density of the latent over particles, corrected for what single images leave open.

An image with the likelihoods l_iv of V conformations is a draw from the mixture
Σ_v w_v l_iv. The mean of the posteriors is no estimate of w: it is blurred by their
spread and drawn to the prior. The w of greatest likelihood is (Kiefer & Wolfowitz 1956,
Ann. Math. Stat. 27, 887; with one blur for all images it is Richardson and Lucy's
deconvolution), but it turns a continuous density into spikes. Density on neighbouring
conformations is therefore tied by the roughness of Good & Gaskins (1971, Biometrika 58,
255), as strongly as held-out images allow,

    (1/N) Σ_i log Σ_v w_v l_iv - Σ_v w_v - λ Σ_(v,u) (√w_v - √w_u)²,

a concave function with one maximum; Σ w comes to one when λ is 0 and is made one else.
Held-out images of two sharp states allow next to none: two stay two. The ends are not
tied to their neighbours: each also holds all that lies beyond it, and one step of that
height would forbid all smoothing elsewhere.

Near a trial w the sum over images is a parabola with V + V² coefficients: one pass over
the images makes a step of Newton's (Kim et al. 2020, J. Comput. Graph. Stat. 29, 261),
and one makes all bootstrap estimates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from multicryogan.errors import InputError
from multicryogan.inference.mixture import (
    ENTRIES_AT_ONCE,
    STILL,
    Parabola,
    Roughness,
    climb,
    fit_weights,
)
from multicryogan.rng import stream

PARTS = 3  # of the images, each held out once
STRENGTHS = (1.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4, 1e-5)
PATIENCE = 3  # strengths in a row that explain less than the best one
WORTH = 1e-3  # nats an image that a rougher density must explain better
WEAKER = 0.1  # part of the strength, for intervals and shares of groups


@dataclass(frozen=True, slots=True)
class Shares:
    """Share of N particles in each of V conformations, or of V groups of them.

    Attributes:
        weights: (V,) shares; they sum to one.
        low: (V,) lower ends of the intervals.
        high: (V,) upper ends.
        level: Probability of each interval by itself.
        images: N.
        smoothing: Strength λ that was chosen.
        rougher: (V,) shares smoothed a tenth as strongly.
        draws: (R, V) bootstrap estimates of these.
        overlap: (V, V) mean over images of p_v p_u, p their posteriors under `weights`.
    """

    weights: Tensor
    low: Tensor
    high: Tensor
    level: float
    images: int
    smoothing: float
    rougher: Tensor
    draws: Tensor
    overlap: Tensor

    @property
    def effective_images(self) -> float:
        """Count images by how far they tell conformations apart, from 0 to N.

        N times the variance of posteriors over that of known labels, p (1 - p): for two
        shares the ratio of Fisher information. Near 0 the intervals say nothing, and
        smoothing alone made the shares.
        """
        mean = self.overlap.sum(1)
        known = float((mean * (1 - mean)).sum())
        told = float((self.overlap.diagonal() - mean.square()).sum())
        return self.images * told / known if known > 0 else float(self.images)


def group_shares(density: Shares, groups: Tensor) -> Shares:
    """Add up the shares of groups of conformations.

    The rougher shares are added up: sums over groups need no smoothing, and less of it
    shifts less from group to group.

    Args:
        density: Over V conformations.
        groups: (V,) int64 group 0, 1, ... of each conformation.

    Returns:
        Over the groups, with intervals from the same bootstrap estimates.
    """
    one_hot = torch.nn.functional.one_hot(groups).to(density.weights)  # (V, G)
    weights, draws = density.rougher @ one_hot, density.draws @ one_hot
    low, high = _interval(weights, draws, density.level)
    overlap = one_hot.T @ density.overlap @ one_hot
    return replace(
        density,
        weights=weights,
        low=low,
        high=high,
        rougher=weights,
        draws=draws,
        overlap=overlap,
    )


def latent_density(
    conformation_weight: Tensor,
    prior: Tensor,
    grid: tuple[int, ...] | None,
    seed: int,
    *,
    level: float = 0.95,
    draws: int = 200,
) -> Shares:
    """Estimate the density of the latent, with intervals by bootstrap over images.

    Images weigh Poisson(1) in each bootstrap estimate (Hanley & MacGibbon 2006, Comput.
    Methods Programs Biomed. 83, 57). Those are smoothed a tenth as strongly: smoothing
    shifts peaks and edges, and what it still shifts is not in the intervals.

    Args:
        conformation_weight: (N, V) posterior weights; rows sum to one.
        prior: (V,) positive weights that the posteriors were made with, at any scale.
        grid: Steps along each latent dimension, their product V and the last dimension
            fastest; None: conformations without neighbours.
        seed: Of held-out parts and bootstrap.
        level: Probability of the intervals.
        draws: Number R of bootstrap estimates.

    Returns:
        The density, in double precision on the device of the posteriors.

    Raises:
        InputError: If a weight of the prior is not positive, or a posterior not finite.
    """
    _check(conformation_weight, prior, grid)
    likelihood = conformation_weight / prior.to(conformation_weight)
    likelihood = likelihood / likelihood.sum(1, keepdim=True)
    tie = _neighbours(grid, len(prior)).to(likelihood.device)
    images = torch.ones_like(likelihood[:, 0])
    strength, start = _choose(likelihood, tie, seed)
    best = fit_weights(likelihood, images, Roughness(strength, tie), start)
    weaker = Roughness(WEAKER * strength, tie)
    rough = fit_weights(likelihood, images, weaker, best.weights)
    estimates = _bootstrap(likelihood, rough, weaker, seed, draws)
    weights = best.weights / best.weights.sum()
    low, high = _interval(weights, estimates, level)
    return Shares(
        weights=weights,
        low=low,
        high=high,
        level=level,
        images=len(likelihood),
        smoothing=strength,
        rougher=rough.weights / rough.weights.sum(),
        draws=estimates,
        overlap=best.weights[:, None] * best.curvature * best.weights,
    )


def _check(
    conformation_weight: Tensor, prior: Tensor, grid: tuple[int, ...] | None
) -> None:
    """Refuse tables that are no posteriors on the grid."""
    count = len(prior) if grid is None else math.prod(grid)
    shape = tuple(conformation_weight.shape)
    if shape[1:] != (count,) or count != len(prior) or shape[0] < 2:
        raise ValueError(
            "expected posteriors (N, V) of 2 images or more, a prior (V,) and a grid "
            f"of V, got {shape}, {tuple(prior.shape)} and {grid}"
        )
    if not bool((prior > 0).all()):
        raise InputError("a conformation has no prior weight: leave it out")
    if not bool(conformation_weight.isfinite().all()):
        raise InputError("a posterior weight is not a number: assign again")


def _interval(weights: Tensor, draws: Tensor, level: float) -> tuple[Tensor, Tensor]:
    """Central intervals of (R, V) draws, widened to the (V,) weights."""
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2]).to(draws)
    low, high = draws.quantile(ends, dim=0)
    return torch.minimum(low, weights), torch.maximum(high, weights)


def _neighbours(grid: tuple[int, ...] | None, count: int) -> Tensor:
    """(V, V) ties of a grid, see `Roughness`; none at its ends, or without a grid."""
    tie = torch.zeros(count, count, dtype=torch.float64)
    index = torch.arange(count).reshape(grid or -1)
    for axis in range(len(grid or ())):
        inner = index.movedim(axis, 0)[1:-1]
        a, b = inner[:-1].flatten(), inner[1:].flatten()
        tie[a, b] = tie[b, a] = 1
    degree = tie.sum(1)
    return tie + torch.diag(degree.max() - degree)


def _choose(likelihood: Tensor, tie: Tensor, seed: int) -> tuple[float, Tensor]:
    """Pick the strength of smoothing, and (V,) weights to start from.

    The strongest is taken that explains held-out images as well as the best one, within
    a standard error (Breiman et al. 1984, Classification and Regression Trees, section
    3.4.3): which one is best is a matter of chance. Less than `WORTH` counts as nothing
    in any number of images: likelihoods under maps that were made of the same images
    are not exact, and ripples about the ends of a motion explain as much.
    """
    draws = stream(seed, "populations/parts")
    part = (
        torch.randperm(len(likelihood), generator=draws).to(likelihood.device) % PARTS
    )
    starts = [torch.full_like(tie[0], 1 / len(tie))] * PARTS
    if not bool(tie.any()):
        return 0.0, starts[0]
    tried: list[tuple[float, Tensor, Tensor]] = []
    best = 0
    for strength in STRENGTHS:
        held_out = torch.zeros_like(likelihood[:, 0])
        for i in range(PARTS):
            kept = (part != i).to(likelihood)
            found = fit_weights(likelihood, kept, Roughness(strength, tie), starts[i])
            starts[i] = found.weights
            log_mixture = found.log_mixture - found.weights.sum().log()
            held_out = torch.where(part == i, log_mixture.to(held_out), held_out)
        tried.append((strength, starts[0], held_out))
        if float((held_out - tried[best][2]).double().sum()) > 0:
            best = len(tried) - 1
        if len(tried) - 1 - best == PATIENCE:
            break
    loss = torch.stack([tried[best][2] - held_out for _, _, held_out in tried]).double()
    chance = loss.std(1, correction=0) / math.sqrt(loss.shape[1])
    is_as_good = loss.mean(1) <= chance.clamp(min=WORTH)
    strength, start, _ = tried[int(is_as_good.int().argmax())]  # the first
    return strength, start


def _bootstrap(
    likelihood: Tensor, best: Parabola, roughness: Roughness, seed: int, draws: int
) -> Tensor:
    """Estimate (R, V) shares of images that weigh Poisson(1).

    Only the slope of the parabola is drawn anew: its curvature and what lies beyond
    change the estimates by a share 1 / √N of their spread.
    """
    generator = stream(seed, "populations/bootstrap", device=str(likelihood.device))
    slope = likelihood.new_zeros(draws, likelihood.shape[1], dtype=torch.float64)
    total = slope.new_zeros(draws, 1)
    rows = max(1, ENTRIES_AT_ONCE // draws)
    for some in torch.split(likelihood, rows):
        mean = torch.ones(draws, len(some), device=some.device)
        counts = torch.poisson(mean, generator=generator).double()
        ratio = some.double() / (some.double() @ best.weights)[:, None]
        slope += counts @ ratio
        total += counts.sum(1, keepdim=True)
    linear = slope / total - 1 + best.curvature @ best.weights
    start = best.weights.expand(draws, -1)
    still = STILL / len(likelihood)
    weights = climb(linear, best.curvature, roughness, start, still)
    return weights / weights.sum(1, keepdim=True)
