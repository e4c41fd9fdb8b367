"""Recovered occupancy of a plane of two true coordinates, beside the true table.

The density over the latent is carried to the coordinates by maps fitted to which true
state each recovered volume resembles; occupancies play no part in the fit. Two maps:
a smooth one of the whole latent plane, which may turn, bend and mix it, and a monotone
relabelling, one function of one latent axis for each coordinate.

A relabelling chosen for the best table instead would always succeed: matching the
marginals of a latent that is drawn evenly gives the product of the true marginals,
whatever its volumes look like, and that product resembles most tables closely. So its
correlation with the true table stands beside the others, as does that of the density
through a straight map, which knows where volumes lie on average and nothing of how
densely. An even table correlates with nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.evaluation.latent_map import fit_map, fit_relabelling
from multicryogan.evaluation.order import Order

LEAST_NODES = 3  # of an axis: fewer are states, and no coordinate


@dataclass(frozen=True, slots=True)
class Density:
    """Where particles lie in the latent."""

    points: Tensor  # (Q, d) latents
    weights: Tensor  # (Q,) shares of the particles at them


@dataclass(frozen=True, slots=True)
class Occupancy:
    """Tables (a, b) of shares over two coordinates, and correlations with the true."""

    first: Tensor  # (a,) values of the first coordinate
    second: Tensor  # (b,)
    true: Tensor
    recovered: Tensor  # through the smooth map
    relabelled: Tensor  # through a monotone function of one latent axis each
    correlation: float
    relabelled_correlation: float
    straight_correlation: float  # baseline: through the straight map
    marginals_correlation: float  # baseline: of the product of the true marginals


@dataclass(frozen=True, slots=True)
class Plane:
    """States on a full grid of two coordinates."""

    first: Tensor  # (a,)
    second: Tensor  # (b,)

    @staticmethod
    def of(coordinates: Tensor) -> Plane | None:
        """Recognise the grid of (M, c) states; None if they are none."""
        if coordinates.shape[1] != 2:
            return None
        first, second = (torch.unique(column) for column in coordinates.T)
        is_full = len(first) * len(second) == len(coordinates)
        if not is_full or min(len(first), len(second)) < LEAST_NODES:
            return None
        return Plane(first, second)

    def table(self, coordinates: Tensor, weights: Tensor) -> Tensor:
        """Add up weights (Q,) at coordinates (Q, 2) by the nearest node: (a, b).

        What lies beyond the range counts at its border.
        """
        row, column = (
            torch.bucketize(values.contiguous(), (axis[1:] + axis[:-1]).to(values) / 2)
            for values, axis in zip(
                coordinates.T, (self.first, self.second), strict=True
            )
        )
        size = (len(self.first), len(self.second))
        flat = torch.zeros(size[0] * size[1], dtype=torch.float64)
        flat.index_add_(0, row * size[1] + column, weights.double())
        return (flat / flat.sum()).view(size)


def measure_occupancy(
    order: Order, coordinates: Tensor, weights: Tensor, density: Density
) -> Occupancy | None:
    """Compare the recovered occupancy of a plane with the true one.

    Args:
        order: Of the recovered volumes.
        coordinates: (M, c) of the true states.
        weights: (M,) their shares.
        density: Of the latent.

    Returns:
        Tables and correlations; None where the true states are no grid of two
        coordinates. Without a second latent axis nothing is relabelled: NaN.
    """
    plane = Plane.of(coordinates)
    if plane is None:
        return None
    true = plane.table(coordinates, weights)
    latents, matched = order.latents, order.matched_coordinate

    def through(predict: Callable[[Tensor], Tensor]) -> Tensor:
        return plane.table(predict(density.points), density.weights)

    recovered = through(fit_map(latents, matched).predict)
    relabelled = torch.full_like(true, math.nan)
    if latents.shape[1] > 1:
        relabelled = through(fit_relabelling(latents, matched))
    return Occupancy(
        first=plane.first,
        second=plane.second,
        true=true,
        recovered=recovered,
        relabelled=relabelled,
        correlation=pearson(recovered, true),
        relabelled_correlation=pearson(relabelled, true),
        straight_correlation=pearson(through(_straight(latents, matched)), true),
        marginals_correlation=pearson(true.sum(1)[:, None] * true.sum(0), true),
    )


def pearson(first: Tensor, second: Tensor) -> float:
    """Correlate two tables; NaN if one is even."""
    x, y = ((table - table.mean()).flatten().double() for table in (first, second))
    size = float(x.norm() * y.norm())
    least = 1e-9 * float(first.norm() * second.norm())
    return float(x @ y) / size if size > least else math.nan


def _straight(latents: Tensor, matched: Tensor) -> Callable[[Tensor], Tensor]:
    """Fit a straight map by least squares."""

    def design(z: Tensor) -> Tensor:
        return torch.cat((torch.ones(len(z), 1).to(z), z), dim=1).double()

    # Of several that fit, as where a latent axis does not vary, the least one.
    factors = torch.linalg.pinv(design(latents)) @ matched.double()
    return lambda z: design(z) @ factors
