"""Slices of several volumes at shared rotations, and the transpose of taking them.

`projection.sample_modes` gives every volume rotations of its own. Where volumes share
their rotations, as the mean and the components of a linear manifold do, neighbours and
kernel weights are worked out once and the volumes are interpolated side by side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from multicryogan.imaging.projection import (
    PADDING,
    SliceModes,
    gridded_transform,
    neighbours,
)


@dataclass(frozen=True, slots=True)
class Slicer:
    """Takes slices of C volumes of one box at the K modes of `modes`.

    Slices count from the centre pixel: `centre_phase` moves them to the corner, from
    which an rfft2 counts.
    """

    modes: SliceModes

    def table(self, volumes: Tensor) -> Tensor:
        """(G, 2C) padded transforms of (C, D, D, D) volumes, grid points first."""
        grids = gridded_transform(volumes, self._reach).flatten(1)  # (C, G)
        return torch.view_as_real(grids.T.contiguous()).flatten(1)

    def sample(self, table: Tensor, rotation: Tensor) -> Tensor:
        """Take slices.

        Args:
            table: (G, 2C) as of `table`.
            rotation: (M, 3, 3) matrices A with r_image = A r_volume.

        Returns:
            (M, K, C) complex values, those of `sample_modes` but for `centre_phase`.
        """
        index, weight, is_opposite = self._neighbours(rotation.to(table))
        values = torch.nn.functional.embedding_bag(
            index, table, mode="sum", per_sample_weights=weight
        )
        shape = (len(rotation), len(self.modes.frequency), -1, 2)
        values = torch.view_as_complex(values.view(shape))
        return torch.where(is_opposite[..., None], values.conj(), values)

    def insert(self, values: Tensor, rotation: Tensor, total: Tensor) -> None:
        """Add the transpose of `sample`, in place.

        <sample(t), v> = <t, insert(v)> with the real inner product of complex numbers.

        Args:
            values: (M, K, C) complex.
            rotation: (M, 3, 3) as in `sample`.
            total: (G, 2C) sums to add to.
        """
        index, weight, is_opposite = self._neighbours(rotation.to(total))
        values = torch.where(is_opposite[..., None], values.conj(), values)
        flat = torch.view_as_real(values.contiguous()).flatten(0, 1).flatten(1)
        _scatter_rows(total, index, weight, flat)

    def insert_nearest(self, values: Tensor, rotation: Tensor, total: Tensor) -> None:
        """Add values of slices to the nearest voxels of a transform, in place.

        The values stand for a mode and for its opposite: where the layout has both
        (x = 0), both places get them.

        Args:
            values: (M, K, P) real.
            rotation: (M, 3, 3) as in `sample`.
            total: (D * D * (D//2+1), P) sums in rfftn layout to add to.
        """
        box = self.modes.box
        points = self._points(rotation).flatten(0, 1).round().long()
        points = torch.where(points[:, :1] < 0, -points, points)
        x, y, z = points.unbind(-1)
        place = (z % box * box + y % box) * (box // 2 + 1) + x
        flat, one = values.flatten(0, 1), values.new_ones(())
        _scatter_rows(total, place[:, None], one.expand(len(place), 1), flat)
        both = (x == 0).nonzero()[:, 0]  # the opposite is in the layout as well
        place = (-z % box * box + -y % box) * (box // 2 + 1)
        weight = one.expand(len(both), 1)
        _scatter_rows(total, place[both, None], weight, flat[both])

    def transpose_table(self, total: Tensor) -> Tensor:
        """(C, D, D, D) transpose of `table` of (G, 2C) sums."""
        box, count = self.modes.box, total.shape[1] // 2
        zero = total.new_zeros(count, box, box, box).requires_grad_()
        with torch.enable_grad():
            table = self.table(zero)
        (volumes,) = torch.autograd.grad(table, zero, total)
        return volumes

    @property
    def _reach(self) -> int:
        # One grid point to spare: a rounding error may cross the outermost one.
        return math.floor(self.modes.radius * PADDING) + 2

    def _points(self, rotation: Tensor) -> Tensor:
        """(M, K, 3) (x, y, z) places of the modes in Fourier pixels."""
        # A central slice samples the volume's transform at [kx, ky, 0] @ A.
        plane = self.modes.frequency.flip(-1).to(rotation.dtype)
        return plane @ rotation[:, :2]

    def _neighbours(self, rotation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(M K, 64) grid points and weights, and (M, K) where the opposite is taken."""
        points = self._points(rotation) * PADDING
        # The volume is real: where x < 0, the opposite point has the conjugate value.
        is_opposite = points[..., 0] < 0
        points = torch.where(is_opposite[..., None], -points, points)
        index, weight = neighbours(points.flatten(0, 1), self._reach)
        return index, weight, is_opposite


def _scatter_rows(total: Tensor, index: Tensor, weight: Tensor, values: Tensor) -> None:
    """Add (n, c) values times (n, t) weights to the rows (n, t) of (N, c) totals."""
    if total.device.type != "cpu":
        spread = weight[..., None] * values[:, None]
        total.index_add_(0, index.flatten(), spread.flatten(0, 1))
        return
    # SciPy's loop is 25 times faster than index_add_ of short rows.
    starts = np.arange(0, index.numel() + 1, index.shape[1])
    matrix = csr_array(
        (weight.flatten().numpy(), index.flatten().numpy(), starts),
        shape=(len(index), len(total)),
    )
    total += torch.from_numpy(matrix.T @ values.numpy())
