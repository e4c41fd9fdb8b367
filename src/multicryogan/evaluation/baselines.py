"""What a homogeneous map would score: the baseline beside every result."""

from __future__ import annotations

from torch import Tensor

from multicryogan.evaluation.fsc import fsc


def mean_map(states: Tensor, weights: Tensor) -> Tensor:
    """Average the states: the best that a reconstruction without motion can reach.

    Args:
        states: (M, D, D, D) densities.
        weights: (M,) shares of the particles; they need not sum to one.

    Returns:
        (D, D, D) weighted mean.
    """
    shares = (weights / weights.sum()).to(states)
    return (shares[:, None, None, None] * states).sum(dim=0)


def mean_map_fsc(states: Tensor, weights: Tensor) -> Tensor:
    """Correlate the mean map with every state.

    Args:
        states: (M, D, D, D) densities.
        weights: (M,) shares of the particles.

    Returns:
        (M, D//2+1) FSC curves.
    """
    return fsc(mean_map(states, weights), states)
