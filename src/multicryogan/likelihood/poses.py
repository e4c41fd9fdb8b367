"""Poses in cells that divide: an even grid, and ever finer ones inside its cells.

A pose of level l has eight children at level l + 1: turns of it, in the image's frame,
about the corners of a cube a quarter of its spacing away. Pose p has the children
8 p to 8 p + 7. All cells of a level are alike, so poses stay equally likely.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from multicryogan.likelihood.shifts import CENTRED, ShiftTree
from multicryogan.rotations import super_fibonacci

CHILDREN = 8
ROOTS = 576


@dataclass(frozen=True, slots=True)
class PoseTree:
    """Grids over all rotations, each eight times as fine as the one before.

    Attributes:
        roots: Rotations of level 0.
        shifts: In-plane shifts, a grid for each level as well.
    """

    roots: int = ROOTS
    shifts: ShiftTree = CENTRED

    def spacing(self, level: int) -> float:
        """Side in radians of a cell: all rotations measure 8 π²."""
        return float((8 * math.pi**2 / self.roots) ** (1 / 3) / 2**level)

    def with_shifts(self, sigma_px: float, box: int) -> PoseTree:
        """Search shifts as well, of this standard deviation along each axis."""
        return replace(self, shifts=ShiftTree.of(sigma_px, box, self.shell(0)))

    def count(self, level: int) -> int:
        """Count the rotations of a level."""
        return self.roots * int(CHILDREN**level)

    def shell(self, level: int) -> int:
        """Last shell whose modes move by less than a third of a turn inside a cell."""
        return max(1, round(2 / self.spacing(level)))

    def levels(self, max_shell: int) -> int:
        """Count the divisions that a shell asks for; one at least."""
        wanted = math.ceil(math.log2(self.spacing(0) * max_shell / 2) - 0.1)
        return max(1, wanted)

    def rotations(self, pose: Tensor, level: int) -> Tensor:
        """(N, 3, 3) matrices A, r_image = A r_volume, of poses (N,) of a level."""
        at = pose // CHILDREN**level
        matrix = _roots(self.roots).to(pose.device)[at]
        for depth in range(1, level + 1):
            child = pose // CHILDREN ** (level - depth) % CHILDREN
            turns = _corner_turns(self.spacing(depth - 1) / 4).to(matrix)
            matrix = turns[child] @ matrix
        return matrix


@lru_cache(maxsize=4)
def _roots(count: int) -> Tensor:
    return super_fibonacci(count)


@lru_cache(maxsize=16)
def _corner_turns(angle: float) -> Tensor:
    """(8, 3, 3) rotations by the vectors (+-angle, +-angle, +-angle)."""
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
    turns = Rotation.from_rotvec(angle * signs.numpy()).as_matrix()
    return torch.from_numpy(turns).float()
