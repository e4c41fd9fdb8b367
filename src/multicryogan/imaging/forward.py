"""Image formation without noise: the operator H_φ of equation (1)."""

from __future__ import annotations

import torch
from torch import Tensor

from multicryogan.imaging.ctf import ctf
from multicryogan.imaging.params import ImagingParams
from multicryogan.imaging.projection import place_modes, sample_modes, slice_modes
from multicryogan.imaging.shift import shift_phase


def form_images(
    volume: Tensor,
    params: ImagingParams,
    voxel_size: float,
    max_shell: int | None = None,
) -> Tensor:
    """Apply y = s C_c S_t P_θ x, s the contrast, to volumes with many poses each.

    Args:
        volume: (V, D, D, D) densities, axes (z, y, x), centred on voxel D // 2.
        params: Pose, shift, optics and contrast, batch shape (V, P).
        voxel_size: Å per voxel, and per pixel of the image.
        max_shell: Leave out Fourier modes beyond this radius (in Fourier pixels).

    Returns:
        (V, P, D, D) noise-free images, axes (y, x), without the modes |k| >= D / 2.
    """
    box = volume.shape[-1]
    modes = slice_modes(box, max_shell, like=volume)
    # Everything happens on the K modes of the slice, seen as a grid of one row.
    freqs = modes.frequency.to(volume.dtype)[None] / (box * voxel_size)  # (1, K, 2)
    values = sample_modes(volume, params.rotation, modes)  # (V, P, K)
    if params.shift_angstrom is not None:
        values = values * shift_phase(params.shift_angstrom, freqs)[..., 0, :]
    if params.ctf is not None:
        values = values * ctf(params.ctf, freqs)[..., 0, :]
    if params.contrast is not None:
        values = values * params.contrast[..., None]
    images: Tensor = torch.fft.irfft2(place_modes(values, modes), s=(box, box))
    return images
