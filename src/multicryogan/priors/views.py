"""The law of viewing directions: p_theta of Algorithm 1, learned where it is uneven.

Directions are cells of an even grid on the sphere, with a weight for each conformation:
a molecule may lie down differently when it opens. Angles in the plane are uniform.

Images of a symmetric volume do not tell a direction from its mates under the point
group: of all laws that explain them alike, the symmetric one is taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from multicryogan.rotations import point_group

CELLS = 192  # 15 degrees across
OWN = 500.0  # particles of a conformation that outweigh the directions of all
SMOOTH = 1_000.0  # particles of all that outweigh their own law, blurred
EXPECTED = 3_000.0  # of a conformation that outweigh the law expected of it
EVEN = 200.0  # particles that outweigh the prior that all directions are as likely
BLUR_DEG = 15.0  # standard deviation: single cells hold few particles
NEAR_DEG = 4.0  # standard deviation about a mate, which lies between cells
BALANCINGS = 20  # Sinkhorn & Knopp 1967, Pacific J. Math. 21, 343


@dataclass(frozen=True, slots=True)
class ViewLaw:
    """Probabilities of the cells, given the conformation.

    Attributes:
        weights: (V, K) of K directions for each of V conformations; rows sum to one.
            One row stands for all conformations.
    """

    weights: Tensor

    @staticmethod
    def uniform() -> ViewLaw:
        """Take all directions as equally likely."""
        return ViewLaw(torch.full((1, CELLS), 1 / CELLS))

    @staticmethod
    def of_counts(
        counts: Tensor, group: str = "C1", alike: Tensor | None = None
    ) -> ViewLaw:
        """Estimate the law from posterior weights, (V, K), of particles.

        The mean of a Dirichlet posterior at four levels. The blurred counts of all lean
        towards uniform; the counts of all lean towards these, so that many particles
        have the law that they show, however sharp. Of one conformation that of all is
        expected, times the ratio of its blurred counts to theirs, which leans towards
        one; its counts lean towards what is expected, so that many of its particles
        have the law that they show, too.

        Args:
            counts: Of each direction in each conformation.
            group: Point group that every conformation has, a name as of
                `rotations.point_group`: counts are shared among its directions.
            alike: (V, V) how much the counts of others say of a conformation, 1 as much
                as its own; none: nothing.
        """
        every = counts.sum(0, keepdim=True)
        blur, near = (_spread(group, x).to(counts) for x in (BLUR_DEG, NEAR_DEG))
        smooth = (every @ blur + EVEN / CELLS) / (every.sum() + EVEN)
        common = (every @ near + SMOOTH * smooth) / (every.sum() + SMOOTH)
        near_by = counts if alike is None else alike.to(counts) @ counts
        ratio = OWN + (near_by @ blur) / smooth
        expected = common * ratio
        expected = expected / expected.sum(1, keepdim=True)
        shown = near_by @ near + EXPECTED * expected
        return ViewLaw(shown / shown.sum(1, keepdim=True))

    def log_density(self, rotation: Tensor) -> Tensor:
        """(M, V) log density at poses (M, 3, 3) over that of uniform poses."""
        cell = view_cells(rotation)
        density = self.weights.to(rotation) * self.weights.shape[1]
        return density.log()[:, cell].T

    def mean(self, weights: Tensor) -> Tensor:
        """(K,) directions of all conformations, weighed by (V,)."""
        if len(self.weights) == 1:
            return self.weights[0]
        return (weights / weights.sum()).to(self.weights) @ self.weights

    def sample(self, conformation: Tensor, generator: torch.Generator) -> Tensor:
        """Draw rotations for conformations (B,): (B, 3, 3).

        Directions are spread evenly over a disc as large as a cell.
        """
        rows = self.weights[conformation.clamp(max=len(self.weights) - 1)].cpu()
        cell = torch.multinomial(rows, 1, generator=generator)[:, 0]
        radius, around, psi = torch.rand((3, len(cell)), generator=generator)
        away = 2 / math.sqrt(rows.shape[1]) * radius.sqrt()
        around, psi = 2 * math.pi * around, 2 * math.pi * psi
        axis = _frames(view_directions(rows.shape[1])[cell])  # (B, 3, 3) rows
        offset = torch.stack(
            (away.sin() * around.cos(), away.sin() * around.sin(), away.cos()), dim=-1
        )
        direction = (offset[:, None] @ axis)[:, 0]
        return rotation_towards(direction, psi)


def view_cells(rotation: Tensor) -> Tensor:
    """Number the cell, (...), from which poses (..., 3, 3) are seen.

    The direction from which the volume is seen is the last row of A.
    """
    return (rotation[..., 2, :] @ view_directions(CELLS).to(rotation).T).argmax(-1)


@lru_cache(maxsize=4)
def view_directions(count: int) -> Tensor:
    """(K, 3) unit vectors (x, y, z) spread evenly on a spiral; not to be modified."""
    place = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    z = 1 - 2 * place
    turn = math.pi * (3 - math.sqrt(5)) * torch.arange(count)
    across = (1 - z.square()).sqrt()
    return torch.stack((across * turn.cos(), across * turn.sin(), z), dim=1).float()


@lru_cache(maxsize=32)
def _spread(group: str, width_deg: float) -> Tensor:
    """(K, K) shares that a cell gives to others, about all its mates alike.

    The mates lie between cells, where the spread is taken from: no cell is one of them.
    Rows sum to one, and columns as well: even counts stay even.
    """
    directions = view_directions(CELLS)
    concentration = 1 / math.radians(width_deg) ** 2  # von Mises-Fisher
    kernel = torch.zeros(CELLS, CELLS)
    for rotation in point_group(group).float():
        cosine = directions @ rotation @ directions.T
        about = (concentration * (cosine - 1)).exp()
        kernel += about / about.sum(1, keepdim=True)
    for _ in range(BALANCINGS):
        kernel = kernel / kernel.sum(0)
        kernel = kernel / kernel.sum(1, keepdim=True)
    return kernel


def rotation_towards(direction: Tensor, angle: Tensor) -> Tensor:
    """(B, 3, 3) poses that see volumes from (B, 3), turned in the plane by (B,)."""
    x, y, z = _frames(direction).unbind(-2)
    c, s = angle.cos()[:, None], angle.sin()[:, None]
    return torch.stack((c * x - s * y, s * x + c * y, z), dim=-2)


def _frames(direction: Tensor) -> Tensor:
    """(B, 3, 3) rotations whose last rows are unit vectors (B, 3)."""
    # The axis that is furthest from the direction is never parallel to it.
    helper = torch.nn.functional.one_hot(direction.abs().argmin(-1), 3).to(direction)
    x = torch.nn.functional.normalize(
        torch.linalg.cross(helper, direction, dim=-1), dim=-1
    )
    y = torch.linalg.cross(direction, x, dim=-1)
    return torch.stack((x, y, direction), dim=-2)
