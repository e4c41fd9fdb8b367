"""The law of the latent: p_z of Algorithm 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


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
