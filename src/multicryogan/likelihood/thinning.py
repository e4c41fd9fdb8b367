"""Choose by chance among the cells that may hold an image, so that sums stay right.

An image that says little suits hundreds of cells alike. A cell of mass q is kept with
probability p = min(1, q / c), c such that about N of an image's are, and counts for
1 / p cells. The expected sum over the cells stays what it is, and no other choice of
independent chances disturbs it less (Fearnhead and Clifford, J. R. Stat. Soc. B 65,
887, 2003).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

ROUNDS = 8  # of the search for c, which falls from above; any c is unbiased
PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29)  # of levels, whose draws are unrelated


SAMPLE = (256, 32)  # cells of an image that are divided, of the first grid and others
CLOSE = (512, 64)  # the same where each image counts


@dataclass(frozen=True, slots=True)
class Chance:
    """How many cells of each of B images are kept, and by what draws.

    Attributes:
        rows: (B,) int64 numbers of the images, to draw by: what one keeps does not
            depend on which others are looked at.
        most: Cells of the first grid and of the others.
    """

    rows: Tensor
    most: tuple[int, int]

    def thin(
        self, level: int, image: Tensor, log_mass: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Thin the cells of a level, see `thin`."""
        draws = even_draws(self.rows, level)
        return thin(image, log_mass, self.most[min(level, 1)], draws)


def even_draws(rows: Tensor, level: int) -> Tensor:
    """(B,) float64 on 0 to 1: rows cover it evenly, and levels their square."""
    return (rows.double() * math.sqrt(PRIMES[level]) + 0.5).remainder(1)


def thin(
    image: Tensor, log_mass: Tensor, most: int, draws: Tensor
) -> tuple[Tensor, Tensor]:
    """Keep about `most` cells of each image.

    Args:
        image: (P,) int64 image of each cell.
        log_mass: (P,) of the cells, known up to a constant of the image.
        most: N. An image with so few cells keeps them all.
        draws: (B,) uniform on 0 to 1, one for each image.

    Returns:
        (Q,) int64 cells that are kept, by image and then as they came, and the (Q,)
        logarithm of how many cells each counts for.
    """
    image, order = image.sort(stable=True)
    peak = log_mass.new_full((len(draws),), -torch.inf)
    peak.scatter_reduce_(0, image, log_mass[order], "amax")
    mass = (log_mass[order] - peak[image]).double().exp()
    chance = _chances(image, mass, most, len(draws))
    is_sure = chance >= 1
    reached = torch.where(is_sure, 0.0, chance).cumsum(0)
    count = torch.bincount(image, minlength=len(draws))
    before = torch.cat((reached.new_zeros(1), reached))[count.cumsum(0) - count]
    # One comb of unit spacing for each image: a cell is kept where it holds a tooth.
    reached += (draws.to(reached) - before)[image]
    start = (reached - torch.where(is_sure, 0.0, chance)).floor()
    kept = (is_sure | (reached.floor() > start)).nonzero()[:, 0]
    return order[kept], -chance[kept].log().to(log_mass)


def _chances(image: Tensor, mass: Tensor, most: int, images: int) -> Tensor:
    """(P,) min(1, mass / c) with c such that they sum to about `most` an image."""
    count = torch.bincount(image, minlength=images)
    limit = mass.new_zeros(images).scatter_add(0, image, mass) / most
    for _ in range(ROUNDS):
        is_small = mass < limit[image]
        small = torch.bincount(image[is_small], minlength=images)
        rest = mass.new_zeros(images)
        rest.scatter_add_(0, image[is_small], mass[is_small])
        limit = rest / (most - (count - small)).clamp(min=1)
    chance = (mass / limit[image]).clamp(max=1)
    return torch.where(count[image] <= most, 1.0, chance)
