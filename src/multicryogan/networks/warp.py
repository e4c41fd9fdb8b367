"""How the latent is spent along the curve of conformations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CELLS = 32  # a jump between two states takes at least one cell: 3 % of the latents
GAIN = 3.0  # speeds the logits up against other weights of the same learning rate


class Warp(nn.Module):
    """A monotone map of the unit box onto itself, dimension by dimension.

    Piecewise linear over CELLS cells of even width: cell j rises by
    `exp(GAIN w_j) / sum_i exp(GAIN w_i)`. Even logits w are the identity; discrete
    states put nearly all of the rise into the cells where the state changes. Being
    monotone it never folds a curve back.

    Attributes:
        logits: (d, CELLS) w of each dimension.
    """

    cells: Tensor

    def __init__(self, dimensions: int) -> None:
        """Start from the identity of (d) dimensions."""
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(dimensions, CELLS))
        self.register_buffer("cells", torch.arange(CELLS), persistent=False)

    def forward(self, position: Tensor) -> Tensor:
        """Map positions (V, d) in the unit box to others of the same shape."""
        rise = torch.softmax(GAIN * self.logits, dim=-1)
        passed = (CELLS * position[..., None] - self.cells).clamp(0, 1)
        return (passed * rise).sum(-1)
