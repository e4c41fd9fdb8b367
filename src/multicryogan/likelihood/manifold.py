"""A linear manifold of conformations: what refinement works on.

The volume of conformation v is x_v = Σ_c a_vc B_c. Images depend on it linearly, and
the likelihood quadratically, so that a few basis volumes stand for any number of
conformations:

    Σ_k |S_v|² = Σ_{c <= d} A_v,cd Re(S_c conj S_d),  A_v,cd = (2 - δ_cd) a_vc a_vd
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from multicryogan.priors import ViewLaw

TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Manifold:
    """V conformations spanned by C basis volumes.

    Attributes:
        latents: (V, d) places of the conformations.
        weights: (V,) prior probabilities; they sum to one.
        coefficients: (V, C) a.
        basis: (C, D, D, D) B, densities (z, y, x); the first is the mean.
        pairs: (2, P) int64 the products of basis volumes that occur, c <= d.
        views: From where each conformation is seen.
        contrast_spread: Standard deviation of the contrast of the images, which is
            Gaussian about 1.
    """

    latents: Tensor
    weights: Tensor
    coefficients: Tensor
    basis: Tensor
    pairs: Tensor
    views: ViewLaw = field(default_factory=ViewLaw.uniform)
    contrast_spread: float = 0.0

    @staticmethod
    def span(
        volumes: Tensor, latents: Tensor, weights: Tensor, components: int
    ) -> Manifold:
        """Fit a mean and the first principal components to (V, D, D, D) volumes.

        The coefficients of each component have variance one under the weights.
        """
        flat = volumes.flatten(1)
        mean = weights.to(flat) @ flat
        root = weights.to(flat).sqrt()[:, None]
        left, size, right = torch.linalg.svd(root * (flat - mean), full_matrices=False)
        # Volumes that are alike differ by rounding errors of the mean.
        least = 1e-5 * torch.maximum(size[0], mean.norm())
        count = min(components, int((size > least).sum()))
        left, size, right = left[:, :count], size[:count], right[:count]
        coefficients = torch.cat(
            (torch.ones_like(root), left / root.clamp(min=TINY)), dim=1
        )
        basis = torch.cat((mean[None], size[:, None] * right))
        basis = basis.view(-1, *volumes.shape[1:])
        return Manifold(latents, weights, coefficients, basis, all_pairs(len(basis)))

    @staticmethod
    def separate(volumes: Tensor, latents: Tensor, weights: Tensor) -> Manifold:
        """Take (V, D, D, D) volumes that have nothing in common."""
        own = torch.arange(len(volumes), device=volumes.device).expand(2, -1)
        alone = torch.eye(len(volumes)).to(volumes)
        return Manifold(latents, weights, alone, volumes, own)

    @property
    def quadratic(self) -> Tensor:
        """(V, P) A."""
        first, second = self.coefficients[:, self.pairs[0]], self.pairs[1]
        twice = torch.where(self.pairs[0] == second, 1.0, 2.0).to(first)
        return twice * first * self.coefficients[:, second]

    @property
    def volumes(self) -> Tensor:
        """(V, D, D, D) densities of the conformations."""
        flat = self.coefficients @ self.basis.flatten(1)
        return flat.view(-1, *self.basis.shape[1:])

    def seen_from(self, views: ViewLaw) -> Manifold:
        """Take another law of views."""
        return replace(self, views=views)

    def of_contrasts(self, spread: float) -> Manifold:
        """Take another law of the contrast."""
        return replace(self, contrast_spread=spread)

    def to(self, device: str | torch.device) -> Manifold:
        """Move it to a device."""
        return Manifold(
            self.latents.to(device),
            self.weights.to(device),
            self.coefficients.to(device),
            self.basis.to(device),
            self.pairs.to(device),
            ViewLaw(self.views.weights.to(device)),
            self.contrast_spread,
        )


def all_pairs(count: int) -> Tensor:
    """(2, P) c <= d of `count` basis volumes."""
    return torch.triu_indices(count, count)
