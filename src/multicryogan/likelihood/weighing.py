"""Posterior weights of poses and conformations, and the laws that they count."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.likelihood.factors import ImageFactors, Scorer
from multicryogan.likelihood.manifold import Manifold
from multicryogan.likelihood.marginal import PosePosterior
from multicryogan.likelihood.poses import PoseTree
from multicryogan.likelihood.posterior import Placement
from multicryogan.likelihood.search import Cells, Division, divide
from multicryogan.priors.views import CELLS, view_cells

MOST_SPREAD = 0.5  # of contrasts

# What a cell's images bring to the products (n T, 2K) and (n, K), and the weight of
# each of its poses and conformations (n T, 8, V), times the mean of the contrast and of
# its square.
Weighed = tuple[tuple[Tensor, Tensor], Tensor, Tensor]


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
) -> Iterator[tuple[Division, Iterator[Weighed]]]:
    """Yield some cells at a time with their posterior weights, which are counted.

    The weights of a cell are made, and counted, as they are taken.

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
    rows, own_rows = cells.divided(tree, images)
    evidence = placement.log_likelihood.to(prior)[rows.image]
    distance = rows.shift_px.square().sum(1).to(prior)
    offset = prior + (rows.log_prior - evidence)[:, None]  # (R, V)

    is_uneven = scorer.manifold.contrast_spread > 0

    def weigh_cells(division: Division) -> Iterator[Weighed]:
        directions = view_cells(division.rotation)
        for own, row, log_weight, slices in division.cells():
            factors = rows.factors(row)
            if is_uneven:
                weight, mean, square = scorer.moments(factors, slices)
            else:
                weight = scorer.log_ratios(factors, slices)
            weight += division.log_prior[own] + log_weight[:, None, None]
            weight.add_(offset[row][:, None]).exp_()
            counts.views.index_add_(1, directions[own], weight.sum(0).T)
            counts.shift_square += weight.sum((1, 2)) @ distance[row]
            if not is_uneven:
                yield factors, weight, weight
                continue
            first, second = weight * mean, weight * square
            counts.contrast += torch.stack((first.sum(), second.sum()))
            yield factors, first, second

    for division in divide(cells, own_rows, scorer, tree):
        yield division, weigh_cells(division)
    counts.weights += placement.conformation_weight.sum(0)
    counts.log_likelihood += float(placement.log_likelihood.double().sum())
    counts.images += len(images)
