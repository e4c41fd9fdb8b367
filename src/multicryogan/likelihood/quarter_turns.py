"""Quarter turns of images: their own modes in other places.

Slices of volumes at one pose so serve four poses.

An image y at the pose R_q A, R_q a turn by q quarters in the plane, is y(R_q r) at the
pose A. About the centre pixel the transform of y(R_q r) at the mode j is that of y at
the mode R_q j.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.imaging.projection import SliceModes
from multicryogan.likelihood.poses import QUARTER_TURNS


@dataclass(frozen=True, slots=True)
class QuarterTurns:
    """Where modes come from when images are turned back, and times what.

    The factors are the signs of conjugates, and how often a mode counts for how often
    the one counts that it comes from: modes with kx = 0 stand beside their opposites,
    all others for both.

    Attributes:
        linear: (4, 2K) indices of real and imaginary parts.
        linear_factor: (4, 2K).
        squares: (4, K) indices.
        squares_factor: (4, K).
    """

    linear: Tensor
    linear_factor: Tensor
    squares: Tensor
    squares_factor: Tensor

    @staticmethod
    def of(modes: SliceModes, like: Tensor) -> QuarterTurns:
        """Find those of K modes that hold all of each length; factors are as `like`."""
        box, width = modes.box, modes.box // 2 + 1
        turns = torch.tensor(QUARTER_TURNS, device=modes.frequency.device)[:, :2, :2]
        ky, kx = modes.frequency.unbind(1)
        plane = torch.stack((kx, ky))  # R_q acts on (x, y)
        # Integer matrix products are for the CPU alone.
        source = (turns[:, :, :, None] * plane).sum(2)  # (4, 2, K)
        is_opposite = source[:, 0] < 0
        source = torch.where(is_opposite[:, None], -source, source)
        place = torch.full((box * width,), -1, device=plane.device)
        place[modes.flat_index] = torch.arange(len(kx), device=plane.device)
        index = place[source[:, 1] % box * width + source[:, 0]]
        times = (2 - (kx == 0).long()) / (2 - (source[:, 0] == 0).long())
        sign = 1 - 2 * is_opposite.long()
        return QuarterTurns(
            linear=torch.cat((index, index + len(kx)), 1),
            linear_factor=torch.cat((times, times * sign), 1).to(like),
            squares=index,
            squares_factor=times.to(like),
        )

    def turned(
        self, linear: Tensor, squares: Tensor, quarter: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Turn images back.

        Args:
            linear: (N, 2K) as of `ImageFactors`.
            squares: (N, K).
            quarter: (N,) quarters that each is turned by.

        Returns:
            The same of the turned images.
        """
        out, out_squares = torch.empty_like(linear), torch.empty_like(squares)
        for q in range(len(self.linear)):
            own = (quarter == q).nonzero()[:, 0]
            part = linear[own].index_select(1, self.linear[q])
            out[own] = part.mul_(self.linear_factor[q])
            part = squares[own].index_select(1, self.squares[q])
            out_squares[own] = part.mul_(self.squares_factor[q])
        return out, out_squares
