"""Errors of poses whose frame, and hand, images do not show."""

from __future__ import annotations

import torch
from torch import Tensor

from multicryogan.evaluation.rigid import REFLECT
from multicryogan.rotations import geodesic_distance_deg

OFFERS = 500  # images whose poses are tried as the turn of all


def pose_errors_deg(
    found: Tensor, true: Tensor, conformation: Tensor | None = None
) -> Tensor:
    """Measure poses up to one turn, and one hand, of all of them.

    A mirrored volume has the same images at poses M A M, M the mirror in z. Images do
    not show how conformations are turned to each other either: with a turn for each,
    only what images show counts.

    Args:
        found: (B, 3, 3) matrices A of a volume in any frame and hand.
        true: (B, 3, 3) matrices A.
        conformation: (B,) int64, where each is to have a turn of its own.

    Returns:
        (B,) errors in degrees, in the hand and after the turn of least median.
    """
    mirror = torch.diag(REFLECT)
    if conformation is None:
        conformation = torch.zeros(len(found), dtype=torch.int64)
    tried = []
    for hand in (found, mirror @ found @ mirror):
        errors = torch.empty(len(found))
        for own in torch.unique(conformation):
            some = conformation == own
            errors[some] = _turned_errors(hand[some], true[some])
        tried.append(errors)
    return min(tried, key=lambda errors: float(errors.median()))


def _turned_errors(found: Tensor, true: Tensor) -> Tensor:
    """Errors (B,) after the turn Q that makes most of A Q true."""
    offered = found.mT @ true  # (B, 3, 3), all Q where poses are right
    medians = [
        geodesic_distance_deg(offered, turn).median() for turn in offered[:OFFERS]
    ]
    turn = offered[int(torch.stack(medians).argmin())]
    for _ in range(5):
        errors = geodesic_distance_deg(offered, turn)
        u, _s, v = torch.linalg.svd(offered[errors <= errors.median()].mean(0))
        turn = u @ torch.diag(torch.tensor([1.0, 1.0, float(torch.det(u @ v))])) @ v
    return geodesic_distance_deg(offered, turn)
