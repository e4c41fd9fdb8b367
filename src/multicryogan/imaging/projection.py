"""Tomographic projection: the operator P_θ of equation (1).

By the projection-slice theorem the transform of a projection is a central slice of
the volume's transform. The slice is interpolated with a Kaiser-Bessel kernel of width
4 from a transform padded by 3/16; the volume is first divided by the kernel's
transform (gridding), so that interpolating is exact but for aliasing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PADDING = 1.1875
KAISER_BETA = 7.9
POLYNOMIAL_DEGREE = 7  # 4e-8 of the peak
TAPS = (-1, 0, 1, 2)  # grid points under the kernel, from the one below
SAMPLES_AT_ONCE = 8192  # of 64 taps each: bounds the memory of one gather


@dataclass(frozen=True, slots=True)
class SliceModes:
    """The K rfft2 modes of a slice that are sampled."""

    box: int
    frequency: Tensor  # (K, 2) (ky, kx) in Fourier pixels, int64, kx >= 0

    @property
    def radius(self) -> float:
        """Largest |k| in Fourier pixels."""
        return math.sqrt(int(self.frequency.square().sum(-1).max()))

    @property
    def flat_index(self) -> Tensor:
        """(K,) places in the flattened (D, D//2+1) layout."""
        ky, kx = self.frequency.unbind(-1)
        return ky % self.box * (self.box // 2 + 1) + kx


def project(volume: Tensor, rotation: Tensor) -> Tensor:
    """Sum rotated volumes over voxels along z.

    P(x, y) = Σ_z V(Aᵀ (x, y, z)), without the modes |k| >= D / 2.

    Args:
        volume: (V, D, D, D) densities, axes (z, y, x), centred on voxel D // 2.
        rotation: (V, P, 3, 3) matrices A with r_image = A r_volume, (x, y, z) order.

    Returns:
        (V, P, D, D) projections, axes (y, x), centred on pixel D // 2.
    """
    box = volume.shape[-1]
    spectrum = project_spectrum(volume, rotation)
    projection: Tensor = torch.fft.irfft2(spectrum, s=(box, box))
    return projection


def project_spectrum(
    volume: Tensor, rotation: Tensor, max_shell: int | None = None
) -> Tensor:
    """Compute the transform of projections: irfft2 of it is `project`.

    Modes beyond max_shell are zero and cost nothing. So are the modes |k| >= D / 2:
    the corners of a turned slice lie outside the volume's transform, and an even box
    cannot hold both signs of its Nyquist frequency.

    Args:
        volume: (V, D, D, D) densities, axes (z, y, x), centred on voxel D // 2.
        rotation: (V, P, 3, 3) matrices A with r_image = A r_volume, (x, y, z) order.
        max_shell: Largest |k| in Fourier pixels.

    Returns:
        (V, P, D, D//2+1) complex rfft2, zero frequency in the corner.
    """
    modes = slice_modes(volume.shape[-1], max_shell, like=volume)
    return place_modes(sample_modes(volume, rotation, modes), modes)


def slice_modes(box: int, max_shell: int | None, *, like: Tensor) -> SliceModes:
    """List the modes |k| <= max_shell and |k| < D / 2 on the device of `like`."""
    table = _mode_table(box, box if max_shell is None else max_shell)
    return SliceModes(box, table.to(like.device))


def place_modes(values: Tensor, modes: SliceModes) -> Tensor:
    """Put (..., K) mode values into a (..., D, D//2+1) spectrum, zero elsewhere."""
    box, width = modes.box, modes.box // 2 + 1
    spectrum = values.new_zeros(*values.shape[:-1], box * width)
    spectrum = spectrum.index_copy(-1, modes.flat_index, values)
    return spectrum.view(*values.shape[:-1], box, width)


def sample_modes(volume: Tensor, rotation: Tensor, modes: SliceModes) -> Tensor:
    """Sample the central slices of volumes.

    Args:
        volume: (V, D, D, D) densities, axes (z, y, x), centred on voxel D // 2.
        rotation: (V, P, 3, 3) matrices A with r_image = A r_volume, (x, y, z) order.
        modes: The K modes to sample.

    Returns:
        (V, P, K) complex values of the modes.
    """
    if volume.shape[1:] != (modes.box,) * 3 or rotation.shape[0] != volume.shape[0]:
        raise ValueError(
            f"expected V cubic volumes (V, D, D, D) and rotations (V, P, 3, 3), got "
            f"{tuple(volume.shape)} and {tuple(rotation.shape)}"
        )
    # A central slice samples the volume's transform at [kx, ky, 0] @ A.
    plane = modes.frequency.flip(-1).to(volume.dtype) * PADDING
    points = plane @ rotation[..., :2, :].to(volume.dtype)  # (V, P, K, 3) (x, y, z)
    # The volume is real: where x < 0, the opposite point has the conjugate value.
    is_opposite = points[..., 0] < 0
    points = torch.where(is_opposite[..., None], -points, points)
    # One grid point to spare: a rounding error may cross the outermost one.
    reach = math.floor(modes.radius * PADDING) + 2
    grids = gridded_transform(volume, reach)

    together = max(1, SAMPLES_AT_ONCE // is_opposite[0].numel())  # volumes
    pairs = zip(
        torch.split(grids, together),
        torch.split(points.flatten(1, 2), together),
        strict=True,
    )
    values = torch.cat([_interpolate(grid, at, reach) for grid, at in pairs])
    values = values.view_as(is_opposite)
    values = torch.where(is_opposite, values.conj(), values)
    return values * centre_phase(modes, values.real)


def centre_phase(modes: SliceModes, like: Tensor) -> Tensor:
    """(K,) factors that move the centre of a slice to pixel D // 2.

    A slice turns about the centre voxel, an rfft2 counts from the corner pixel.
    """
    turns = modes.frequency.sum(-1) * (modes.box // 2) % modes.box  # of 1 / D
    angle = turns.to(like.dtype) * (-2 * math.pi / modes.box)
    return torch.polar(torch.ones_like(angle), angle)


def gridded_transform(volume: Tensor, reach: int) -> Tensor:
    """(V, S, S, H) padded transforms of volumes divided by the kernel's transform.

    z and y run from -reach to reach + 1, x from -1 to reach + 1. So few frequencies
    are needed that matrix products are faster than a padded FFT.
    """
    box, count = volume.shape[-1], volume.shape[0]
    matrix = _transform_matrix(box, reach).to(volume.device)  # (D, S)
    matrix = matrix.to(volume.dtype.to_complex())
    half = matrix[:, reach - 1 :].contiguous()  # (D, H)
    real_half = torch.view_as_real(half).flatten(1)  # (D, 2H)
    along_x = torch.view_as_complex(
        (volume.reshape(-1, box) @ real_half).view(count, box, box, -1, 2)
    )  # (V, D, D, H)
    along_y = matrix.T @ along_x  # (V, D, S, H)
    along_z = matrix.T @ along_y.flatten(2)  # (V, S, S*H)
    return along_z.view(count, *matrix.shape[1:], *along_y.shape[2:])


def _interpolate(grids: Tensor, points: Tensor, reach: int) -> Tensor:
    """(v, N) values of v gridded transforms at points (v, N, 3), x >= 0."""
    count, points_each = len(grids), grids[0].numel()
    first = torch.arange(count, device=grids.device)[:, None] * points_each
    flat = grids.flatten()
    values = []
    for part in torch.split(points, max(1, SAMPLES_AT_ONCE // count), dim=1):
        own = first.expand(part.shape[:2]).flatten()
        index, weights = neighbours(part.flatten(0, 1), reach, own)
        nearby = flat.index_select(0, index.flatten())
        summed = (nearby.view_as(weights) * weights).sum(-1)
        values.append(summed.view(part.shape[:2]))
    return torch.cat(values, dim=1)


def neighbours(
    points: Tensor, reach: int, first: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """List the grid points under the kernel at each of N points, and their weights.

    Args:
        points: (N, 3) (x, y, z) in padded Fourier pixels, x >= 0.
        reach: As of `gridded_transform`.
        first: (N,) where the grid of each point starts, when there are several.

    Returns:
        (N, 64) int64 places in flattened (S, S, H) grids, and (N, 64) weights.
    """
    side, width, device = 2 * reach + 2, reach + 3, points.device
    strides = torch.tensor((1, width, side * width), device=device)
    taps = torch.tensor(TAPS, device=device)
    # Offsets of the 64 neighbours, counted from the voxel of zero frequency.
    zy = (taps + reach)[:, None] * strides[2] + (taps + reach) * strides[1]
    around = (zy.flatten()[:, None] + (taps + 1)).flatten()  # (64,)
    below = points.floor()  # its gradient is zero
    x, y, z = _kernel_weights(points - below).unbind(1)  # (N, 4)
    weights = (z[:, :, None] * y[:, None, :]).flatten(1)  # (N, 16)
    weights = (weights[:, :, None] * x[:, None, :]).flatten(1)  # (N, 64)
    start = (below.long() * strides).sum(-1)
    if first is not None:
        start = start + first
    return start[:, None] + around, weights


def _kernel_weights(fraction: Tensor) -> Tensor:
    """(..., 4) kernel at the taps of points that lie `fraction` above a grid point."""
    coefficients = torch.from_numpy(_kernel_polynomials()).to(fraction)
    fraction = fraction[..., None]
    weights = coefficients[-1]
    for coefficient in coefficients[:-1].flip(0):  # Horner's rule
        weights = torch.addcmul(coefficient, weights, fraction)
    return weights


def _kernel(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kaiser-Bessel kernel without its step at the edge: 1 at 0, 0 from 2 on."""
    root = np.sqrt(np.clip(1 - (distance / 2) ** 2, 0, None))
    peak = float(np.i0(KAISER_BETA)) - 1
    kernel: NDArray[np.float64] = (np.i0(KAISER_BETA * root) - 1) / peak
    return kernel


@lru_cache(maxsize=1)
def _kernel_polynomials() -> NDArray[np.float64]:
    """(degree + 1, 4) coefficients of the kernel at each tap as a power series."""
    nodes = 0.5 + 0.5 * np.cos(np.pi * (np.arange(64) + 0.5) / 64)
    fits = [
        np.polynomial.polynomial.polyfit(nodes, _kernel(nodes - tap), POLYNOMIAL_DEGREE)
        for tap in TAPS
    ]
    return np.stack(fits, axis=-1)


@lru_cache(maxsize=64)
def _transform_matrix(box: int, reach: int) -> Tensor:
    """(D, S) centred transform of one axis at -reach .. reach + 1, complex128.

    It divides by the kernel's transform on the way.
    """
    position = (np.arange(box) - box // 2) / (PADDING * box)
    distance = np.linspace(-2, 2, 2001)
    waves = np.cos(2 * np.pi * position[:, None] * distance)
    kernel_transform = waves @ _kernel(distance) * (distance[1] - distance[0])
    turns = position[:, None] * np.arange(-reach, reach + 2)
    return torch.from_numpy(np.exp(-2j * np.pi * turns) / kernel_transform[:, None])


@lru_cache(maxsize=64)
def _mode_table(box: int, limit: int) -> Tensor:
    """(K, 2) (ky, kx) with |k| <= limit and |k| < D / 2, kx >= 0."""
    ky = torch.fft.fftfreq(box, 1 / box).round().long()
    kx = torch.arange(box // 2 + 1)
    table = torch.cartesian_prod(ky, kx)
    square = table.square().sum(-1)
    return table[(square <= limit**2) & (4 * square < box**2)]
