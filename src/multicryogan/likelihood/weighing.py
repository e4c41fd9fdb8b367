"""Posterior weights of poses and conformations, and the laws that they count."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.likelihood.cells import Cells, Division
from multicryogan.likelihood.factors import ImageFactors, Scorer
from multicryogan.likelihood.manifold import Manifold
from multicryogan.likelihood.marginal import PosePosterior
from multicryogan.likelihood.poses import PoseTree
from multicryogan.likelihood.posterior import Placement
from multicryogan.priors.views import CELLS, view_cells

MOST_SPREAD = 0.5  # of contrasts


@dataclass(slots=True)
class Counts:
    """What images say of the laws that they are drawn from.

    Attributes:
        weights: (V,) posterior weight of each conformation.
        views: (V, K) of it, by direction.
        shift_square: () posterior mean of |shift|² in px², summed over the images.
        contrast: (2,) those of the contrast and of its square.
        log_likelihood: Of all images, in nats over noise alone.
        images: Their number.
    """

    weights: Tensor
    views: Tensor
    shift_square: Tensor
    contrast: Tensor
    log_likelihood: float = 0.0
    images: int = 0

    @staticmethod
    def empty(manifold: Manifold) -> Counts:
        """Start from nothing."""
        zeros, count = manifold.basis.new_zeros, len(manifold.latents)
        return Counts(zeros(count), zeros(count, CELLS), zeros(()), zeros(2))

    def __add__(self, other: Counts) -> Counts:
        """Count two sets of images together."""
        return Counts(
            self.weights + other.weights,
            self.views + other.views,
            self.shift_square + other.shift_square,
            self.contrast + other.contrast,
            self.log_likelihood + other.log_likelihood,
            self.images + other.images,
        )


def contrast_spread(sums: Tensor, images: float) -> float:
    """Standard deviation of contrasts over their mean.

    What volumes have too much or too little of is in all images: no spread.

    Args:
        sums: (2,) of contrasts and of their squares, of so many images.
        images: Their number.
    """
    mean, square = (float(total) / images for total in sums)
    return min(math.sqrt(max(square - mean**2, 0.0)) / mean, MOST_SPREAD)


@torch.no_grad()
def weigh(
    counts: Counts,
    cells: Cells,
    images: ImageFactors,
    scorer: Scorer,
    tree: PoseTree,
    found: PosePosterior,
    placement: Placement,
) -> Iterator[tuple[Division, Tensor, Tensor]]:
    """Yield some cells at a time with their posterior weights, which are counted.

    The weights are those of each row, pose and conformation (N, 8, V), times the mean
    of the contrast, and of its square.

    Args:
        counts: Changed in place.
        cells: Of the level that was searched.
        images: All modes of B images.
        scorer: Of the manifold.
        tree: Poses.
        found: Of `search`.
        placement: Of `place`.
    """
    # log p(y, pose, v) - log p(y), less the log ratio itself.
    prior = scorer.manifold.weights.log() - math.log(found.poses)
    parts = cells.divided(tree, images)
    evidence = placement.log_likelihood.to(prior)[parts.image]
    distance = parts.shift_px.square().sum(1).to(prior)
    offset = prior + (parts.log_prior - evidence)[:, None]  # (R, V)
    is_uneven = scorer.manifold.contrast_spread > 0
    for division in parts.divisions(scorer):
        compared = division.images, division.slices, division.counts
        if is_uneven:
            weight, mean, square = scorer.moments(*compared)
        else:
            weight = scorer.log_ratios(*compared)
        rows = division.rows
        weight += (offset[rows] + division.log_weight[:, None])[:, None]
        division.add_log_prior(weight).exp_()
        each = torch.cat([part.sum(0) for part in division.by_group(weight)])  # (m, V)
        counts.views.index_add_(1, view_cells(division.rotation), each.T)
        counts.shift_square += weight.sum((1, 2)) @ distance[rows]
        if not is_uneven:
            yield division, weight, weight
            continue
        first, second = weight * mean, weight * square
        counts.contrast += torch.stack((first.sum(), second.sum()))
        yield division, first, second
    counts.weights += placement.conformation_weight.sum(0)
    counts.log_likelihood += float(placement.log_likelihood.double().sum())
    counts.images += len(images)
