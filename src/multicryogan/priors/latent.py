"""The laws of the latent: p_z of Algorithm 1, and that of a table of conformations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

VIEW_STEPS = 5  # cells along each latent dimension that have views of their own


class LatentLaw(Protocol):
    """What the simulator asks of a law of latents."""

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw latents: (count, d)."""
        ...

    def view_row(self, latent: Tensor) -> Tensor:
        """Number the row of the law of views that each latent (B, d) has: (B,)."""
        ...


@dataclass(frozen=True, slots=True)
class LatentPrior:
    """Law of latents; `segment` is the paper's alpha ~ U(0, 1)."""

    kind: Literal["segment", "uniform", "gaussian"]
    dimensions: int

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw latents: (count, d)."""
        shape = (count, self.dimensions)
        if self.kind == "gaussian":
            return torch.randn(shape, generator=generator)
        return torch.rand(shape, generator=generator)

    def holds(self, latent: Tensor) -> bool:
        """Whether all latents (B, d) may be drawn."""
        if self.kind == "gaussian":
            return bool(latent.isfinite().all())
        return bool(((latent >= 0) & (latent <= 1)).all())

    def grid(self, count: int) -> Tensor:
        """Place one latent in the middle of each of equally probable cells.

        Args:
            count: Cells along each dimension.

        Returns:
            (count^d, d) latents; the last dimension runs fastest.
        """
        middle = (torch.arange(count) + 0.5) / count
        axes = torch.meshgrid([middle] * self.dimensions, indexing="ij")
        latents = torch.stack(axes, dim=-1).reshape(-1, self.dimensions)
        if self.kind != "gaussian":
            return latents
        quantiles: Tensor = torch.special.ndtri(latents)
        return quantiles

    def cell(self, latent: Tensor, count: int) -> Tensor:
        """Number the cell of `grid` that each latent (B, d) lies in: (B,)."""
        share = torch.special.ndtr(latent) if self.kind == "gaussian" else latent
        along = (share * count).long().clamp(0, count - 1)
        place = count ** torch.arange(self.dimensions - 1, -1, -1).to(along)
        return (along * place).sum(1)

    def view_row(self, latent: Tensor) -> Tensor:
        """Number the row of the law of views that each latent (B, d) has: (B,)."""
        return self.cell(latent, VIEW_STEPS)

    def path(self, count: int) -> Tensor:
        """Place evenly probable steps along the first dimension: (count, d).

        The ends are 0 and 1 on a segment or box, the 1st and 99th percentile of a
        Gaussian; other dimensions stay at their median.
        """
        position = torch.linspace(0, 1, count)
        latents = torch.full((count, self.dimensions), 0.5)
        latents[:, 0] = position
        if self.kind != "gaussian":
            return latents
        quantiles: Tensor = torch.special.ndtri(latents.clamp(0.01, 0.99))
        return quantiles


@dataclass(frozen=True, slots=True)
class TablePrior:
    """Law of the numbers of conformations in a table; each has views of its own.

    Attributes:
        weights: (V,) probabilities, at any scale.
    """

    weights: Tensor

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw numbers: (count, 1)."""
        drawn = torch.multinomial(self.weights, count, True, generator=generator)
        return drawn[:, None].to(self.weights)

    def view_row(self, latent: Tensor) -> Tensor:
        """Number the row of the law of views that each number (B, 1) has: (B,)."""
        return latent[:, 0].long()
