"""Shares of the conformations, without the truth: two rules, and a count by labels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.evaluation.fsc import fsc, fsc_area
from multicryogan.evaluation.fsccc import fsccc, fsccc_aligned

FIRST, SECOND, TRANSITION = 0, 1, 2
SAME = 0.99  # area above which two ends are one conformation
NEAR = 1 / 3  # place beyond which a volume is near an end; the ends are at 1 and -1


@dataclass(frozen=True, slots=True)
class Populations:
    """Both FSCCC matrices, and the shares that rules read from them.

    Shares are those of the first end, of the second, and of the transition.
    """

    fsccc_raw: Tensor  # (N, N)
    fsccc_aligned: Tensor  # (N, N), after aligning neighbours
    paper_shares: tuple[float, ...]  # of the raw matrix
    paper_shares_aligned: tuple[float, ...]
    relative_shares: tuple[float, ...]  # of the aligned matrix


def populations(volumes: Tensor, latents: Tensor, weights: Tensor) -> Populations:
    """Count the conformations by the paper's rule and by the relative one.

    Args:
        volumes: (N, D, D, D) recovered densities in the order of the latent.
        latents: (N, d) latents.
        weights: (N,) shares of the particles.

    Returns:
        Matrices and shares, made without the truth.
    """
    raw, straight = fsccc(volumes), fsccc_aligned(volumes, latents)
    by_rule, by_rule_straight, by_place = (
        tuple(shares(labels, weights, 3).tolist())
        for labels in (paper_rule(raw), paper_rule(straight), relative_rule(straight))
    )
    return Populations(
        fsccc_raw=raw,
        fsccc_aligned=straight,
        paper_shares=by_rule,
        paper_shares_aligned=by_rule_straight,
        relative_shares=by_place,
    )


def widest_step(volumes: Tensor) -> tuple[int, float]:
    """Find where volumes in the order of the latent change most from one to the next.

    Args:
        volumes: (N, D, D, D) densities, each laid on its neighbour, N >= 2.

    Returns:
        The number of the last volume before the step, and the FSC area across it.
    """
    alike = fsc_area(fsc(volumes[:-1], volumes[1:]))
    first = int(alike.argmin())
    return first, float(alike[first])


def paper_rule(matrix: Tensor, threshold: float = 0.5) -> Tensor:
    """Assign every row of an FSCCC matrix to one of two ends.

    Row n belongs to the first conformation if M[0, n] > threshold > M[L, n], to the
    second if reversed, and is in transition otherwise.

    Args:
        matrix: (N, N) FSCCC matrix in the order of the latent, L = N - 1.
        threshold: Area that divides alike from unlike; 0.5 in the paper.

    Returns:
        (N,) int64 labels FIRST, SECOND or TRANSITION.
    """
    first, last = matrix[0], matrix[-1]
    labels = torch.full_like(first, TRANSITION, dtype=torch.int64)
    labels[(first > threshold) & (last < threshold)] = FIRST
    labels[(last > threshold) & (first < threshold)] = SECOND
    return labels


def relative_rule(matrix: Tensor) -> Tensor:
    """Assign every row to the end that it clearly resembles more.

    The paper's threshold depends on resolution: two states whose maps have an FSC area
    above 0.5 with each other are all transition to it, however sharply they divide.
    Here a row has a place `(M[0, n] - M[L, n]) / (1 - M[0, L])`, 1 at the first end and
    -1 at the last, and the third between is the transition: that much of an even
    motion lies there, and none of two states.

    Args:
        matrix: (N, N) FSCCC matrix in the order of the latent, L = N - 1.

    Returns:
        (N,) int64 labels FIRST, SECOND or TRANSITION; all TRANSITION where both ends
        are the same.
    """
    first, last = matrix[0], matrix[-1]
    labels = torch.full_like(first, TRANSITION, dtype=torch.int64)
    if first[-1] > SAME:
        return labels
    place = (first - last) / (1 - first[-1])
    labels[place > NEAR] = FIRST
    labels[place < -NEAR] = SECOND
    return labels


def shares(labels: Tensor, weights: Tensor, count: int) -> Tensor:
    """Add up the weight behind every label.

    With the labels of `paper_rule` and count 3 these are the paper's populations.
    With the index of the best-matching true state and count M they are the share
    of every true state among the recovered conformations.

    Args:
        labels: (N,) integer labels below count.
        weights: (N,) weights of the latents; they need not sum to one.
        count: Number of labels.

    Returns:
        (count,) shares that sum to one.
    """
    totals = torch.zeros(count, dtype=weights.dtype, device=weights.device)
    return totals.index_add(0, labels, weights) / weights.sum()
