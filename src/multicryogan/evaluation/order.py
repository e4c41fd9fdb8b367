"""Does the latent follow the true coordinate, and over which range."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.evaluation.latent_map import fit_map


@dataclass(frozen=True, slots=True)
class Order:
    """How the latent orders the true coordinates; one value per coordinate (c)."""

    latents: Tensor  # (N, d)
    matched_state: Tensor  # (N,) best-matching true state of every latent
    matched_coordinate: Tensor  # (N, c) its coordinate
    rank_correlation: tuple[float, ...]  # of the latent axis that orders it best
    explained: tuple[float, ...]  # of left-out matches, by a smooth map: `fit_map`
    coverage_min: tuple[float, ...]
    coverage_max: tuple[float, ...]
    coverage_share: tuple[float, ...]  # of the true range


def measure_order(
    latents: Tensor, weights: Tensor, coordinates: Tensor, matched_state: Tensor
) -> Order:
    """Measure how the latent follows the coordinate of the best-matching state.

    Args:
        latents: (N, d) latents.
        weights: (N,) shares of the particles; latents of weight 0 are left out.
        coordinates: (M, c) true coordinates.
        matched_state: (N,) index of the best-matching state.

    Returns:
        Spearman correlations, signed (the latent may run backwards) and NaN where
        nothing varies; what a smooth map of the whole latent explains; least and
        greatest matched coordinate; share of the true range.
    """
    is_used = weights > 0
    matched = coordinates[matched_state]
    low, high = matched[is_used].amin(dim=0), matched[is_used].amax(dim=0)
    span = coordinates.amax(dim=0) - coordinates.amin(dim=0)
    share = torch.where(span > 0, (high - low) / span, torch.nan)
    return Order(
        latents=latents,
        matched_state=matched_state,
        matched_coordinate=matched,
        rank_correlation=rank_correlations(latents[is_used], matched[is_used]),
        explained=fit_map(latents[is_used], matched[is_used]).explained,
        coverage_min=tuple(low.tolist()),
        coverage_max=tuple(high.tolist()),
        coverage_share=tuple(share.tolist()),
    )


def rank_correlations(latents: Tensor, matched: Tensor) -> tuple[float, ...]:
    """Measure how well some axis of the latent orders each true coordinate.

    Args:
        latents: (N, d) latents.
        matched: (N, c) true coordinate of the best match of every latent.

    Returns:
        One Spearman correlation per coordinate, that of the axis with the largest
        magnitude; NaN where nothing varies.
    """
    return tuple(
        spearman(latents[:, best_axis(latents, coordinate)], coordinate)
        for coordinate in matched.T
    )


def best_axis(latents: Tensor, coordinate: Tensor) -> int:
    """Pick the axis of (N, d) latents that orders a (N,) coordinate best; else 0."""
    ranks = [abs(spearman(axis, coordinate)) for axis in latents.T]
    ranks = [-1.0 if math.isnan(rank) else rank for rank in ranks]
    return max(range(len(ranks)), key=lambda axis: ranks[axis])


def spearman(a: Tensor, b: Tensor) -> float:
    """Rank correlation of two (N,) series, ties sharing a rank; NaN if one is flat."""
    from scipy.stats import rankdata

    pair = [torch.from_numpy(rankdata(x.cpu().numpy())).double() for x in (a, b)]
    x, y = (ranks - ranks.mean() for ranks in pair)
    scale = (x.norm() * y.norm()).item()
    return (x @ y).item() / scale if scale > 0 else math.nan
