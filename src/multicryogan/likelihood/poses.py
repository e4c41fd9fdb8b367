"""Poses in cells that divide: an even grid, and ever finer ones inside its cells.

A pose of level l has eight children at level l + 1: turns of it, in the image's frame,
about the corners of a cube a quarter of its spacing away. All cells of a level are
alike, so poses stay equally likely.

Poses 4 m to 4 m + 3 are mates: quarter turns in the plane of the first of them, at
every level. An image turned by a quarter has its own modes in other places, so that the
slices of one serve all four. The children of mates are mates: pose 4 m + q has the
children 4 (8 m + c) + q.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from multicryogan.likelihood.shifts import CENTRED, ShiftTree
from multicryogan.priors.views import rotation_towards, view_directions

CHILDREN = 8
ROOTS = 576
FINE = 3  # 3.7 degrees apart
# In the plane, counter-clockwise.
QUARTER_TURNS = (
    ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
    ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
    ((0, 1, 0), (-1, 0, 0), (0, 0, 1)),
)
QUARTERS = len(QUARTER_TURNS)


@dataclass(frozen=True, slots=True)
class PoseTree:
    """Grids over all rotations, each eight times as fine as the one before.

    Attributes:
        roots: Rotations of level 0, a multiple of four.
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

    def fine_level(self, max_shell: int) -> int:
        """Level that a shell asks for with half the spacing, or that tells particles.

        On a grid that is just fine enough for its shells, maps that blur by its steps
        explain images best, and single images tell their poses closer than that.
        """
        return max(self.levels(max_shell) + 1, FINE)

    def rotations(self, pose: Tensor, level: int) -> Tensor:
        """(N, 3, 3) matrices A, r_image = A r_volume, of poses (N,) of a level."""
        first, quarter = pose // QUARTERS, pose % QUARTERS
        matrix = _roots(self.roots).to(pose.device)[first // CHILDREN**level]
        for depth in range(1, level + 1):
            child = first // CHILDREN ** (level - depth) % CHILDREN
            turns = _corner_turns(self.spacing(depth - 1) / 4).to(matrix)
            matrix = turns[child] @ matrix
        return torch.tensor(QUARTER_TURNS).to(matrix)[quarter] @ matrix


def children(pose: Tensor) -> Tensor:
    """(N, 8) poses of the next level that poses (N,) divide into."""
    child = torch.arange(CHILDREN, device=pose.device)
    first = pose[:, None] // QUARTERS * CHILDREN + child
    return first * QUARTERS + pose[:, None] % QUARTERS


@lru_cache(maxsize=4)
def _roots(count: int) -> Tensor:
    """(M / 4, 3, 3) first mates of M even rotations: directions, turned in the plane.

    Angles in the plane are as far apart as directions, as nearly as M allows, and each
    direction has an offset of its own: M = 576 leaves no rotation farther off than a
    super-Fibonacci spiral does.
    """
    even = (math.pi * count) ** (1 / 3)
    fours = [n for n in range(QUARTERS, count + 1, QUARTERS) if count % n == 0]
    if not fours:
        raise ValueError(f"expected a multiple of {QUARTERS} roots, got {count}")
    angles = min(fours, key=lambda n: abs(math.log(n / even)))
    directions = view_directions(count // angles)
    step = 2 * math.pi / angles
    golden = (math.sqrt(5) - 1) / 2
    offset = golden * torch.arange(len(directions)) % 1
    turn = (offset[:, None] + torch.arange(angles // QUARTERS)) * step
    each = directions.repeat_interleave(angles // QUARTERS, 0)
    return rotation_towards(each, turn.flatten().float())


@lru_cache(maxsize=16)
def _corner_turns(angle: float) -> Tensor:
    """(8, 3, 3) rotations by the vectors (+-angle, +-angle, +-angle)."""
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
    turns = Rotation.from_rotvec(angle * signs.numpy()).as_matrix()
    return torch.from_numpy(turns).float()
