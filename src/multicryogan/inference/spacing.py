"""A prior over conformations that follows the particles.

Those of a line are spaced so that a particle is equally likely to be any of them. The
prior gives conformations fixed weights. Where more posterior weight gathers at one
than is due, its neighbours are wanted there; weight that gathers at an end says that
the motion goes on. Conformations are moved along their path, and a little beyond, to
the quantiles of this weight: no particle moves, the path is walked at another pace.

One step by the weight itself and not by a density that explains it: details finer than
what images tell apart never form, and the next iteration goes on from there.

On a grid of several dimensions there is no such pace, and the weights themselves are
learned, by smoothed expectation-maximisation (Silverman et al. 1990, J. R. Stat. Soc. B
52, 271): the mean posterior, of which each conformation then gives a little to its
neighbours. Images tell a coarse detail apart at once, and it grows by far more in an
iteration than it gives away; detail finer than posteriors are wide grows by next to
nothing, and is given away before it forms a spike.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from multicryogan.likelihood.manifold import Manifold

BEYOND = 2.0  # steps between conformations that an end may move at once
GIVEN = 0.02  # of its weight, that a conformation gives to each neighbour
EVEN = 0.01  # of all weight, spread evenly: what is left out once, never comes back
ALIKE = 0.1  # standard deviation, of the largest distance of two conformations
TINY = 1e-12


def follow(manifold: Manifold, share: Tensor) -> Manifold:
    """Fit the prior over conformations to the particles.

    Args:
        manifold: V conformations, at the points of a grid of latents (the last
            dimension fastest); fewer than three are left as they are.
        share: (V,) posterior weight of all particles.

    Returns:
        The manifold with other coefficients if it is a line, else with other weights.
    """
    count, dimensions = manifold.latents.shape
    if count < 3:
        return manifold
    if dimensions > 1:
        steps = round(count ** (1 / dimensions))
        weights = shared_out(share.double(), (steps,) * dimensions)
        return dataclasses.replace(manifold, weights=weights.to(manifold.weights))
    place = quantiles(share.double().cpu(), manifold.weights.double().cpu())
    moved = along(manifold.coefficients, place)
    return dataclasses.replace(manifold, coefficients=moved)


def unrest(manifold: Manifold, share: Tensor) -> float:
    """Tell how many particles a line has yet to follow: a share, 0 where it rests.

    The largest difference of the cumulative shares, of the particles and of the prior.

    Args:
        manifold: V conformations along a line.
        share: (V,) posterior weight of all particles.
    """
    found, prior = (
        x.double().cpu() / float(x.sum()) for x in (share, manifold.weights)
    )
    return float((found - prior).cumsum(0).abs().max())


def alike(manifold: Manifold) -> Tensor:
    """Tell how far V conformations are one, as their views are: (V, V), 1 for the same.

    By a Gaussian of the distance of their volumes: two states that a line jumps between
    are not alike, those of one state are.
    """
    basis = manifold.basis.flatten(1).double()
    places = manifold.coefficients.double()
    products = places @ (basis @ basis.T) @ places.T
    size = products.diagonal()
    square = (size[:, None] + size - 2 * products).clamp(min=0)
    largest = torch.maximum(square.max(), TINY * size.max())
    width = (ALIKE**2 * largest).clamp(min=torch.finfo(square.dtype).tiny)
    return (-0.5 * square / width).exp().to(manifold.coefficients)


def shared_out(share: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Let every conformation of a grid give some of its share to its neighbours.

    Args:
        share: (V,) posterior weight, at any scale; the last dimension runs fastest.
        grid: Steps along each dimension, their product V.

    Returns:
        (V,) weights that sum to one. An even share stays even: at a border there is
        no neighbour to give to, nor one to receive from.
    """
    table = (share / share.sum()).view(grid)
    for axis in range(len(grid)):
        flow = GIVEN * table.diff(dim=axis)
        none = torch.zeros_like(table.narrow(axis, 0, 1))
        table = table + torch.cat((none, flow, none), dim=axis).diff(dim=axis)
    return (1 - EVEN) * table.flatten() + EVEN / table.numel()


def weight_table(manifold: Manifold) -> dict[str, list[float]]:
    """List the latent and the prior weight of every conformation."""
    columns = {f"latent_{i}": values for i, values in enumerate(manifold.latents.T)}
    columns |= {"weight": manifold.weights}
    return {name: column.tolist() for name, column in columns.items()}


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
