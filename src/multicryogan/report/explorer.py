"""Conformations packed for the page: a few byte volumes and their coefficients."""

from __future__ import annotations

import base64
from typing import Any

import torch
from torch import Tensor

from multicryogan.fourier import fourier_resize
from multicryogan.likelihood import Manifold
from multicryogan.report.contents import Shapes

LEAST_BOX = 32  # of surfaces that look smooth
MOST = 6  # components beside the mean: seven volumes of 64 voxels are 2.4 MB
ENOUGH = 0.99  # of the variance about the mean
CLEAR = 0.999  # quantile of the mean map that stands for its peak
SUGGESTED, LOWEST, HIGHEST = 0.3, 0.08, 0.9  # levels, of that peak
BYTES = 255


def pack(shapes: Shapes) -> dict[str, Any]:
    """Pack conformations for the page's surface.

    Small volumes are interpolated, and what lies beyond the density that can be shown
    is cut off. The rest is spanned by a mean and principal components, enough for 99 %
    of the variance if six are, each as bytes between its extremes.

    Returns:
        What the page reads: plain lists, numbers and text.
    """
    weights, latents = shapes.shares, shapes.latents.tolist()
    volumes, box = shapes.volumes, shapes.volumes.shape[-1]
    finer = -(-LEAST_BOX // box)
    if finer > 1:
        volumes = fourier_resize(volumes, finer * box, 3)
    peak = peak_of(torch.einsum("v,vzyx->zyx", weights, volumes))
    volumes = cropped(volumes, LOWEST * peak)
    spanned, shown = spanned_by_few(volumes, shapes.latents, weights)
    middle = weights @ spanned.coefficients
    mean = torch.einsum("c,czyx->zyx", middle, spanned.basis)
    return {
        "box": volumes.shape[-1],
        "voxel_size": shapes.voxel_size / finer,
        "latents": latents,
        "shares": weights.tolist(),
        "names": ["latent " + ", ".join(f"{x:.2f}" for x in one) for one in latents],
        "steps": grid_of(*shapes.latents.shape),
        "mean": middle.tolist(),
        "coefficients": spanned.coefficients.tolist(),
        "components": [as_bytes(volume) for volume in spanned.basis],
        "variance_shown": shown,
        "threshold": SUGGESTED * peak,
        "lowest": LOWEST * peak,
        "highest": HIGHEST * peak,
        "largest_difference": float((spanned.volumes - mean).abs().max()),
    }


def peak_of(volume: Tensor) -> float:
    """Give the density that few voxels exceed."""
    rank = max(1, round(CLEAR * volume.numel()))
    return float(volume.flatten().kthvalue(rank).values)


def grid_of(count: int, dimensions: int) -> list[int]:
    """Count conformations along each slider: two, where they are a square grid."""
    along = round(count**0.5)
    return [along, along] if dimensions == 2 and along**2 == count else [count]


def cropped(volumes: Tensor, level: float) -> Tensor:
    """Cut (V, D, D, D) volumes to the smallest even cube that shows all of a level.

    The centre stays at half the side; one voxel is left around.
    """
    box = volumes.shape[-1]
    inside = (volumes > level).any(0).nonzero() - box // 2
    if not len(inside):
        return volumes
    reach = int(inside.abs().max()) + 2
    if 2 * reach >= box:
        return volumes
    kept = slice(box // 2 - reach, box // 2 + reach)
    return volumes[:, kept, kept, kept]


def spanned_by_few(
    volumes: Tensor, latents: Tensor, weights: Tensor
) -> tuple[Manifold, float]:
    """Span (V, D, D, D) volumes by as few components as show them.

    Returns:
        The volumes so spanned, and the share of their variance that is shown.
    """
    whole = Manifold.span(volumes, latents, weights, MOST)
    variance = whole.basis[1:].flatten(1).square().sum(1)
    spread = volumes - whole.basis[0]
    total = torch.einsum("v,vzyx->", weights, spread.square()).clamp(min=1e-30)
    shown = (variance.cumsum(0) / total).tolist()
    count = next((n for n, x in enumerate(shown, start=1) if x >= ENOUGH), len(shown))
    few = Manifold.span(volumes, latents, weights, count)
    return few, min(1.0, shown[count - 1]) if shown else 1.0


def as_bytes(volume: Tensor) -> dict[str, Any]:
    """(D, D, D) volume as scale * byte + zero, z, y, x with x fastest, in base64."""
    low, high = float(volume.min()), float(volume.max())
    scale = (high - low) / BYTES or 1.0
    values = ((volume - low) / scale).round().to(torch.uint8)
    text = base64.b64encode(values.contiguous().numpy().tobytes()).decode("ascii")
    return {"scale": scale, "zero": low, "values": text}
