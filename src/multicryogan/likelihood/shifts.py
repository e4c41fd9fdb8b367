"""In-plane shifts in square cells that divide in four, under a Gaussian prior."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

REACH = 2.5  # standard deviations that are searched
NONE_PX = 0.3  # standard deviation below which particles are taken as centred
STEP = 0.4  # spacing of the first grid times its last shell, of the box


@dataclass(frozen=True, slots=True)
class ShiftTree:
    """Shifts of centred particles (sigma 0: none), or a grid that grows finer.

    Cell c of a level has the children 4 c to 4 c + 3 at the next, a quarter of its
    spacing away along x and y.

    Attributes:
        sigma_px: Standard deviation of the shifts along each axis.
        spacing_px: Of the first grid.
    """

    sigma_px: float = 0.0
    spacing_px: float = 1.0

    @staticmethod
    def of(sigma_px: float, box: int, shell: int) -> ShiftTree:
        """Space the first grid for modes up to a shell."""
        return ShiftTree(sigma_px, STEP * box / shell)

    @property
    def children(self) -> int:
        """Cells that one divides into."""
        return 4 if self.sigma_px > 0 else 1

    @property
    def roots(self) -> Tensor:
        """(T, 2) shifts of the first grid, (x, y) in pixels."""
        if self.sigma_px <= 0:
            return torch.zeros(1, 2)
        reach = REACH * self.sigma_px
        count = math.ceil(reach / self.spacing_px)
        axis = self.spacing_px * torch.arange(-count, count + 1)
        grid = torch.cartesian_prod(axis, axis)
        return grid[grid.norm(dim=1) <= reach + self.spacing_px / 2]

    def count(self, level: int) -> int:
        """Count the cells of a level."""
        return len(self.roots) * int(self.children**level)

    def shifts(self, cell: Tensor, level: int) -> Tensor:
        """(N, 2) (x, y) in pixels of cells (N,) of a level."""
        places = self.roots.to(cell.device)[cell // self.children**level]
        for depth in range(1, level + 1 if self.children > 1 else 1):
            child = cell // 4 ** (level - depth) % 4
            sign = torch.stack((child // 2, child % 2), dim=1) * 2 - 1
            places = places + sign * (self.spacing_px / 2 ** (depth + 1))
        return places

    def width(self, shift_square: float, level: int) -> float:
        """Standard deviation in px of a mean |shift|² in px² over cells of a level.

        Cells blur shifts evenly: a twelfth of their spacing squared along each axis
        (Sheppard).
        """
        blur = (self.spacing_px / 2**level) ** 2 / 12
        return math.sqrt(max(shift_square / 2 - blur, 0.0))

    def refitted(self, shift_square: float, level: int) -> ShiftTree:
        """Take the width of what was found; shifts hardly told from none are none."""
        if self.sigma_px <= 0:
            return self
        sigma_px = self.width(shift_square, level)
        return replace(self, sigma_px=sigma_px if sigma_px > NONE_PX else 0.0)

    def nats(self, level: int) -> float:
        """Measure what it takes to name a cell of a level: the entropy of the prior."""
        if self.sigma_px <= 0:
            return 0.0
        cells = 2 * math.pi * math.e * (self.sigma_px * 2**level / self.spacing_px) ** 2
        return max(math.log(cells), 0.0)

    def log_prior(self, shift_px: Tensor, level: int) -> Tensor:
        """(N,) log probability of the cells about shifts (N, 2)."""
        if self.sigma_px <= 0:
            return torch.zeros_like(shift_px[:, 0])
        area = (self.spacing_px / 2**level) ** 2 / (2 * math.pi * self.sigma_px**2)
        return math.log(area) - 0.5 * (shift_px / self.sigma_px).square().sum(1)


CENTRED = ShiftTree()
