"""How the latent is spent along the curve of conformations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CELLS = 32  # a jump between two states takes at least one cell: 3 % of the latents
GAIN = 3.0  # speeds the logits up against other weights of the same learning rate


class Warp(nn.Module):
    """A monotone map of the unit box onto itself, dimension by dimension.

    Piecewise linear over CELLS cells of even width: cell j rises by
    `exp(3 w_j) / sum_i exp(3 w_i)`. Even logits w are the identity, a continuous
    motion at even speed; a discrete one puts nearly all of the rise into the cells
    where the state changes. Being monotone it never folds a curve back.
    """

    def __init__(self, dimensions: int) -> None:
        """Start from the identity of (d) dimensions."""
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(dimensions, CELLS))

    def forward(self, position: Tensor) -> Tensor:
        """Map positions (V, d) in the unit box to others of the same shape."""
        rise = torch.softmax(GAIN * self.logits, dim=-1)
        cells = torch.arange(CELLS, device=position.device)
        passed = (CELLS * position[..., None] - cells).clamp(0, 1)  # of every cell
        return (passed * rise).sum(-1)
