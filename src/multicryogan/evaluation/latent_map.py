"""A smooth map from the latent to the true coordinates, fitted to matches.

A latent of several dimensions may be turned, bent and mixed against the coordinates,
and no axis of it need order any of them. A thin-plate spline follows all of this; how
smooth it is, left-out matches choose: each is predicted from all the others. What it
explains of left-out matches says how far the latent tells the coordinate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SMOOTHINGS = (0.01, 0.1, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 1e4)
SMALL = 1e-9


@dataclass(frozen=True, slots=True)
class LatentMap:
    """Coordinates as smooth functions of the latent.

    Attributes:
        predict: Takes (Q, d) latents to (Q, c) coordinates, in double precision.
        explained: (c,) share of the variance of left-out matches that it predicts; NaN
            where nothing varies or the latents are too few. It may be negative.
    """

    predict: Callable[[Tensor], Tensor]
    explained: tuple[float, ...]


def fit_map(latents: Tensor, matched: Tensor) -> LatentMap:
    """Fit a thin-plate spline to every coordinate.

    Args:
        latents: (N, d) latents.
        matched: (N, c) coordinates of their best matches.

    Returns:
        The map; where latents are too few, or do not vary, it is the mean.
    """
    from scipy.interpolate import RBFInterpolator

    places, values = (x.double().cpu().numpy() for x in (latents, matched))
    spread = places.std(0)
    used = spread > SMALL * (1 + abs(places).max())
    axes = int(used.sum())
    if axes == 0 or len(places) < 2 * (axes + 1):
        mean = matched.double().mean(0)
        return LatentMap(lambda z: mean.expand(len(z), -1), (math.nan,) * len(mean))
    # Neighbours on an even grid lie about one apart: smoothing is in these units.
    scale = len(places) ** (1 / axes) / (math.sqrt(12) * spread[used])
    places = places[:, used] * scale
    errors, residuals = [], np.eye(len(places))
    for smoothing in SMOOTHINGS:
        hat = RBFInterpolator(places, residuals, smoothing=smoothing)(places)
        left_out = (values - hat @ values) / (1 - hat.diagonal()).clip(SMALL)[:, None]
        errors.append((left_out**2).sum(0))
    best = np.argmin(errors, axis=0)
    splines = [
        RBFInterpolator(places, column[:, None], smoothing=SMOOTHINGS[k])
        for column, k in zip(values.T, best, strict=True)
    ]
    total = ((values - values.mean(0)) ** 2).sum(0)
    explained = tuple(
        float(1 - error / whole) if whole > SMALL else math.nan
        for error, whole in zip(np.min(errors, axis=0), total, strict=True)
    )

    def predict(latents: Tensor) -> Tensor:
        points = latents.double().cpu().numpy()[:, used] * scale
        columns = [spline(points) for spline in splines]
        return torch.from_numpy(np.concatenate(columns, axis=1))

    return LatentMap(predict, explained)


def fit_relabelling(latents: Tensor, matched: Tensor) -> Callable[[Tensor], Tensor]:
    """Fit every coordinate by a monotone function of one latent axis of its own.

    Of all ways to give the coordinates different axes, rising or falling, the one that
    fits the matches best. Beyond the outermost latents the functions go straight on.

    Args:
        latents: (N, d) latents, d at least c.
        matched: (N, c) coordinates of their best matches.

    Returns:
        A function that takes (Q, d) latents to (Q, c) coordinates.
    """
    places, values = (x.double().cpu().numpy() for x in (latents, matched))
    fits = [[_Monotone.of(axis, y) for axis in places.T] for y in values.T]
    axes = min(
        permutations(range(places.shape[1]), len(fits)),
        key=lambda order: sum(fits[c][axis].error for c, axis in enumerate(order)),
    )

    def predict(latents: Tensor) -> Tensor:
        points = latents.double().cpu().numpy()
        columns = [
            np.interp(points[:, axis], fits[c][axis].knots, fits[c][axis].levels)
            for c, axis in enumerate(axes)
        ]
        return torch.from_numpy(np.stack(columns, axis=1))

    return predict


@dataclass(frozen=True, slots=True)
class _Monotone:
    """A piecewise linear monotone function, and the squares that it leaves."""

    knots: NDArray[np.float64]
    levels: NDArray[np.float64]
    error: float

    @classmethod
    def of(cls, place: NDArray[np.float64], value: NDArray[np.float64]) -> _Monotone:
        """Fit values (N,) at places (N,); rising or falling, as fits better."""
        from scipy.optimize import isotonic_regression

        knots, knot = np.unique(place, return_inverse=True)
        count = np.bincount(knot)
        mean = np.bincount(knot, value) / count
        rising, falling = (
            isotonic_regression(mean, weights=count, increasing=is_rising).x
            for is_rising in (True, False)
        )
        errors = [float(((value - x[knot]) ** 2).sum()) for x in (rising, falling)]
        levels = rising if errors[0] <= errors[1] else falling
        reach = knots[-1] - knots[0]
        if reach > 0:  # straight on, as far again
            first, last = (np.diff(levels) / np.diff(knots))[[0, -1]]
            knots = np.r_[knots[0] - reach, knots, knots[-1] + reach]
            levels = np.r_[levels[0] - reach * first, levels, levels[-1] + reach * last]
        return cls(knots, levels, min(errors))
