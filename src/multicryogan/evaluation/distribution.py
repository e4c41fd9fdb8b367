"""How particles are distributed along one true coordinate: recovered beside true.

Every volume is placed between true states, and its particles are spread evenly from
half way to the volume before it to half way to the one after it: a histogram of few
volumes would move by the weight of one whenever a best match changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

FEW = 4  # states that are counted one by one
PARTS = 3  # of the true range


@dataclass(frozen=True, slots=True)
class Distribution:
    """Shares of the particles along a coordinate."""

    coordinate: Tensor  # (N,) of each volume
    shares: tuple[float, ...]  # in equal parts of the true range
    true_shares: tuple[float, ...]
    largest_difference: float  # of the cumulative shares (Kolmogorov-Smirnov)


@dataclass(frozen=True, slots=True)
class Cumulative:
    """Share of the particles below each value of a coordinate, linear between edges."""

    edges: Tensor  # (K,) ascending; particles at one value have two edges there
    below: Tensor  # (K,) from 0 to 1

    @staticmethod
    def spread(
        coordinate: Tensor, weights: Tensor, limits: tuple[float, float]
    ) -> Cumulative:
        """Spread weights evenly between neighbours.

        Args:
            coordinate: (N,) values in any order.
            weights: (N,) shares; they need not sum to one.
            limits: Least and greatest value: what would lie beyond gathers there.
        """
        order = coordinate.argsort()
        value, share = coordinate[order].double(), weights[order].double()
        step = value.diff() if len(value) > 1 else value.new_zeros(1)
        first, last = value[:1] - step[:1] / 2, value[-1:] + step[-1:] / 2
        edges = torch.cat((first, (value[:-1] + value[1:]) / 2, last)).clamp(*limits)
        total = torch.cat((share.new_zeros(1), share.cumsum(0)))
        return Cumulative(edges, total / total[-1])

    def at(self, value: Tensor) -> Tensor:
        """Read the share below each of (P,) values that are no edges of two."""
        import numpy as np

        found = np.interp(value.numpy(), self.edges.numpy(), self.below.numpy())
        return torch.from_numpy(found)

    def shares(self, limits: tuple[float, float]) -> tuple[float, ...]:
        """List the shares of equal parts between limits."""
        inner = torch.linspace(*limits, PARTS + 1, dtype=torch.float64)[1:-1]
        ends = self.at(inner).clamp(0, 1)
        steps = torch.cat((ends.new_zeros(1), ends, ends.new_ones(1))).diff()
        return tuple(steps.tolist())

    def largest_difference(self, other: Cumulative) -> float:
        """Measure the largest difference: between edges both are linear."""
        edges = torch.cat((self.edges, other.edges))
        tiny = 1e-9 * float(edges.max() - edges.min())
        near = torch.cat((edges - tiny, edges + tiny))
        return float((self.at(near) - other.at(near)).abs().max())


def compare_distributions(
    correlation: Tensor,
    latents: Tensor,
    weights: Tensor,
    coordinates: Tensor,
    state_weights: Tensor,
) -> Distribution | None:
    """Compare the shares of the particles along a coordinate with the true ones.

    Args:
        correlation: (N, M) of volumes and true states.
        latents: (N, d) of the volumes, evenly spaced. At 0 and 1, the ends of a
            segment, a volume stands for the latents to one side: half as many.
        weights: (N,) of the volumes.
        coordinates: (M, c) of the states.
        state_weights: (M,) their shares.

    Returns:
        The shares; None of several coordinates, or of few states, which are counted
        one by one.
    """
    if coordinates.shape[1] != 1 or len(coordinates) <= FEW:
        return None
    true = coordinates[:, 0]
    place = between_states(correlation, true)
    limits = (float(true.min()), float(true.max()))
    is_end = ((latents == 0) | (latents == 1)).any(1)
    halved, is_used = torch.where(is_end, weights / 2, weights), weights > 0
    found = Cumulative.spread(place[is_used], halved[is_used], limits)
    expected = Cumulative.spread(true, state_weights, limits)
    return Distribution(
        coordinate=place,
        shares=found.shares(limits),
        true_shares=expected.shares(limits),
        largest_difference=found.largest_difference(expected),
    )


def between_states(correlation: Tensor, coordinate: Tensor) -> Tensor:
    """Place volumes at the top of the parabola about their best match: (N,).

    Args:
        correlation: (N, M) of volumes and states, M at least 3.
        coordinate: (M,) of the states.
    """
    order = coordinate.argsort()
    height, value = correlation[:, order].double(), coordinate[order].double()
    best = height.argmax(1)
    middle = best.clamp(1, len(value) - 2)
    near = middle[:, None] + torch.arange(-1, 2)  # (N, 3)
    (x0, x1, x2), (y0, y1, y2) = value[near].unbind(1), height.gather(1, near).unbind(1)
    left, right = (x1 - x0) * (y1 - y2), (x2 - x1) * (y1 - y0)
    bend = left + right  # above 0 where the parabola has a top
    top = x1 - ((x1 - x0) * left - (x2 - x1) * right) / (2 * bend)
    place = torch.where(bend > 0, top.clamp(min=x0, max=x2), value[best])
    return place.to(coordinate)
