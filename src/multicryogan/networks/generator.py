"""Generators G: a latent to a volume."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from multicryogan.fourier import fourier_resize
from multicryogan.imaging import ASYMMETRIC, Symmetry, resampled_mask
from multicryogan.networks.blocks import UNet3d, legendre, soft_sphere, spectrum_shape
from multicryogan.networks.warp import Warp

LatentKind = Literal["segment", "uniform", "gaussian"]
Z_GAIN = 40.0  # brings the paper's z, U(0, 0.025), to the order of one


class Generator(nn.Module, ABC):
    """Map latents (V, d) to densities (V, D, D, D).

    Densities are those of the raw particle images; `scale` is the density of a voxel
    whose parameter is one, so that one learning rate suits every data set.
    """

    scale: Tensor
    sphere: Tensor
    band: Tensor
    focus: Tensor | None  # (D, D, D) mask outside of which nothing moves, if any

    def __init__(self, box: int, symmetry: Symmetry = ASYMMETRIC) -> None:
        """Set up what every generator has."""
        super().__init__()
        self.box, self.symmetry = box, symmetry
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("sphere", soft_sphere(box), persistent=False)
        self.register_buffer("band", spectrum_shape(box, box).clone())
        self.register_buffer("focus", None)

    @abstractmethod
    def forward(self, latent: Tensor) -> Tensor:
        """Make one volume per latent: (V, d) to (V, D, D, D)."""

    @abstractmethod
    def resized(self, box: int) -> Generator:
        """Copy to another box; the copy makes the same images, resized."""

    @abstractmethod
    def voxels(self) -> list[nn.Parameter]:
        """Parameters that are voxels; all others are network weights."""

    def open_motion(self, degrees: int) -> None:
        """Let so many degrees of the motion act; with none, all volumes are alike."""

    def open_band(self, shell: float) -> None:
        """Let free voxels hold frequencies up to a shell."""
        self.band.copy_(spectrum_shape(self.box, shell))

    def shaped(self, voxels: Tensor) -> Tensor:
        """Give voxels (..., D, D, D) the spectrum of a molecule."""
        size = voxels.shape[-3:]
        spectrum = torch.fft.rfftn(voxels, dim=(-3, -2, -1)) * self.band
        volume: Tensor = torch.fft.irfftn(spectrum, s=size, dim=(-3, -2, -1))
        return volume

    def symmetric(self, basis: Tensor) -> Tensor:
        """Impose the symmetry on a mean and its motions (C, D, D, D)."""
        if self.symmetry.group == "C1":
            return basis
        # What lies outside the sphere would wrap around into it.
        return self.symmetry.impose(self.sphere * basis)


class VolumeGenerator(Generator):
    """One free volume whatever the latent: CryoGAN."""

    def __init__(self, start: Tensor, symmetry: Symmetry = ASYMMETRIC) -> None:
        """Start from `start` (D, D, D)."""
        super().__init__(start.shape[-1], symmetry)
        self.mean = nn.Parameter(start.clone())

    def forward(self, latent: Tensor) -> Tensor:
        """Return the volume once per latent: (V, d) to (V, D, D, D)."""
        mean = self.symmetric(self.shaped(self.mean)[None])
        volume = self.scale * self.sphere * functional.relu(mean)
        return volume.expand(latent.shape[0], -1, -1, -1)

    def resized(self, box: int) -> VolumeGenerator:
        """Copy to another box."""
        mean = fourier_resize(self.mean.detach(), box, 3)
        other = VolumeGenerator(mean, self.symmetry)
        other.scale.copy_(self.scale * self.box / box)
        return other

    def voxels(self) -> list[nn.Parameter]:
        """Return the volume."""
        return [self.mean]


class ComponentGenerator(Generator):
    """A mean volume and linear components of the motion.

    `G(z) = sphere * relu(mean + sum_k a_k(w(z)) B_k)`, with `a_k` a Legendre
    polynomial plus a small network: a smooth curve of volumes. The monotone warp `w`
    says how the latent is spent along it: evenly for a continuous motion, in jumps
    for discrete states. A focus mask multiplies the B_k: outside of it nothing moves.
    """

    gate: Tensor

    def __init__(
        self,
        mean: Tensor,
        components: Tensor,
        dimensions: int,
        hidden: int,
        latent_kind: LatentKind,
        symmetry: Symmetry = ASYMMETRIC,
        focus: Tensor | None = None,
    ) -> None:
        """Start from a mean (D, D, D) and components (K, D, D, D)."""
        super().__init__(mean.shape[-1], symmetry)
        self.focus = None if focus is None else focus.clone()
        self.mean = nn.Parameter(mean.clone())
        self.components = nn.ParameterList(components.clone().unbind())
        self.dimensions, self.hidden = dimensions, hidden
        self.latent_kind: LatentKind = latent_kind
        count = components.shape[0]
        self.warp = Warp(dimensions)
        self.network = nn.Sequential(
            nn.Linear(dimensions, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, count),
        )
        last = self.network[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)  # start at the polynomials alone
        nn.init.zeros_(last.bias)
        self.register_buffer("gate", torch.ones(count))

    def coefficients(self, latent: Tensor) -> Tensor:
        """Weights of the components: (V, d) to (V, K)."""
        position = 2 * self.warp(self._unit(latent)) - 1
        count = len(self.components)
        degrees = math.ceil(count / self.dimensions)
        # Degree by degree over the dimensions, so that each has its linear term first.
        basis = legendre(position, degrees).transpose(-1, -2).flatten(-2)
        # The network acts last, once every degree does.
        last = self.gate.min() * self.network(position)
        weights: Tensor = self.gate * basis[..., :count] + last
        return weights

    def forward(self, latent: Tensor) -> Tensor:
        """Make one volume per latent: (V, d) to (V, D, D, D)."""
        basis = self.shaped(torch.stack([self.mean, *self.components]))
        mean, motions = self.symmetric(basis).tensor_split([1])
        if self.focus is not None:
            motions = self.focus * motions
        volume = mean + torch.tensordot(self.coefficients(latent), motions, 1)
        return self.scale * self.sphere * functional.relu(volume)

    def resized(self, box: int) -> ComponentGenerator:
        """Copy to another box."""
        other = ComponentGenerator(
            fourier_resize(self.mean.detach(), box, 3),
            fourier_resize(torch.stack(list(self.components)).detach(), box, 3),
            self.dimensions,
            self.hidden,
            self.latent_kind,
            self.symmetry,
            None if self.focus is None else resampled_mask(self.focus, box),
        )
        other.warp.load_state_dict(self.warp.state_dict())
        other.network.load_state_dict(self.network.state_dict())
        other.scale.copy_(self.scale * self.box / box)
        other.gate.copy_(self.gate)
        return other

    def voxels(self) -> list[nn.Parameter]:
        """Return the mean and the components."""
        return [self.mean, *self.components]

    def open_motion(self, degrees: int) -> None:
        """Let so many degrees of the motion act, and the network after the last.

        A curve that starts straight and bends later seldom folds back onto itself.
        What does not act has no gradients, so that Adam leaves it out: counting
        updates with gradient zero would make its first real ones several times too
        large.
        """
        for k, component in enumerate(self.components):
            is_open = k // self.dimensions < degrees
            self.gate[k] = float(is_open)
            component.requires_grad_(is_open)
        self.warp.requires_grad_(degrees > 0)
        self.network.requires_grad_(bool(self.gate.all()))

    def _unit(self, latent: Tensor) -> Tensor:
        """Bring latents of any law to the unit box."""
        if self.latent_kind != "gaussian":
            return latent
        share: Tensor = torch.special.ndtr(latent)
        return share


class ConvolutionGenerator(Generator):
    """A 3D network on the paper's segment: `G((1 - alpha) z0 + alpha z1)`."""

    endpoints: Tensor

    def __init__(
        self, endpoints: Tensor, channels: int, symmetry: Symmetry = ASYMMETRIC
    ) -> None:
        """Build for frozen `endpoints` z0, z1 (2, D, D, D)."""
        super().__init__(endpoints.shape[-1], symmetry)
        self.register_buffer("endpoints", endpoints.clone())
        self.network = UNet3d(channels)

    def forward(self, latent: Tensor) -> Tensor:
        """Make one volume per alpha: (V, 1) to (V, D, D, D)."""
        first, second = self.endpoints
        mixed = torch.lerp(first, second, latent[:, :, None, None])
        volume = self.symmetric(self.network(Z_GAIN * mixed))
        return self.scale * self.sphere * functional.relu(volume)

    def resized(self, box: int) -> ConvolutionGenerator:
        """Refuse: the network is bound to the box of its endpoints."""
        raise AssertionError(f"a 3D network cannot change its box to {box}")

    def voxels(self) -> list[nn.Parameter]:
        """Return nothing: all parameters are weights."""
        return []
