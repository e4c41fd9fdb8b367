"""Conformations spaced so that a particle is equally likely to be any of them.

The prior gives conformations fixed weights. Where more posterior weight gathers at one
than is due, its neighbours are wanted there; weight that gathers at an end says that
the motion goes on. Conformations are moved along their path, and a little beyond, to
the quantiles of this weight: no particle moves, the path is walked at another pace.

One step by the weight itself and not by a density that explains it: details finer than
what images tell apart never form, and the next iteration goes on from there.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from multicryogan.likelihood.manifold import Manifold

BEYOND = 2.0  # steps between conformations that an end may move at once
TINY = 1e-12


def respace(manifold: Manifold, share: Tensor) -> Manifold:
    """Move the conformations of a line to where particles are.

    Args:
        manifold: V conformations in the order of their latents. Latents of several
            dimensions, or fewer than three conformations, are left as they are.
        share: (V,) posterior weight of all particles.

    Returns:
        The manifold with other coefficients.
    """
    count, dimensions = manifold.latents.shape
    if dimensions > 1 or count < 3:
        return manifold
    place = quantiles(share.double().cpu(), manifold.weights.double().cpu())
    moved = along(manifold.coefficients, place)
    return dataclasses.replace(manifold, coefficients=moved)


def quantiles(share: Tensor, weights: Tensor) -> Tensor:
    """Find the places that have as much of the shares before them as of the weights.

    A share is spread evenly from v - 1/2 to v + 1/2. That of an end conformation is
    spread outwards as thinly as its neighbours are: particles beyond it gather there.

    Args:
        share: (V,) of the particles, V at least 3.
        weights: (V,) of the prior; half of each counts as before it.

    Returns:
        (V,) places, ascending, from -1/2 - `BEYOND` to V - 1/2 + `BEYOND`.
    """
    import numpy as np

    share, weights = share / share.sum(), weights / weights.sum()
    edges = torch.cat((share.new_zeros(1), share.cumsum(0)))
    where = torch.arange(len(edges)) - 0.5
    for end, neighbours, sign in ((0, share[1:3], -1), (-1, share[-3:-1], 1)):
        crowd = float(share[end] / neighbours.mean().clamp(min=TINY))
        where[end] += sign * min(max(crowd - 1, 0), BEYOND)
    before = weights.cumsum(0) - weights / 2
    return torch.from_numpy(np.interp(before.numpy(), edges.numpy(), where.numpy()))


def along(coefficients: Tensor, place: Tensor) -> Tensor:
    """Read (V, C) coefficients between conformations at places (W,): (W, C).

    Piecewise cubic without overshoot (Fritsch & Carlson 1980, SIAM J. Numer. Anal. 17,
    238), so that two states that a line jumps between are left alone; straight on
    beyond the ends.
    """
    import numpy as np
    from scipy.interpolate import PchipInterpolator

    values = coefficients.double().cpu().numpy()
    path = PchipInterpolator(np.arange(len(values)), values, axis=0)
    inside = place.clamp(0, len(values) - 1).numpy()
    beyond = (place.numpy() - inside)[:, None] * path.derivative()(inside)
    return torch.from_numpy(path(inside) + beyond).to(coefficients)
