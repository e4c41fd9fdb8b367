"""In-plane shift: the operator S_t of equation (1)."""

from __future__ import annotations

import torch
from torch import Tensor

from multicryogan.fourier import frequency_grid


def shift_phase(shift_angstrom: Tensor, freqs: Tensor) -> Tensor:
    """Compute the factors exp(-2πi k·t) that move an image by t.

    Args:
        shift_angstrom: (..., 2) displacements (x, y) in Å: where the particle sits.
        freqs: (D, W, 2) spatial frequencies (ky, kx) in 1/Å.

    Returns:
        (..., D, W) complex factors of modulus one.
    """
    # flip: frequencies are (ky, kx), shifts (x, y).
    cycles = shift_angstrom @ freqs.flip(-1).reshape(-1, 2).T  # (..., D*W)
    angle = (-2 * torch.pi * cycles).view(*cycles.shape[:-1], *freqs.shape[:2])
    return torch.polar(torch.ones_like(angle), angle)


def shift_images(images: Tensor, shift_angstrom: Tensor, pixel_size: float) -> Tensor:
    """Move images, around the edge, by a fraction of a pixel or more.

    Args:
        images: (..., D, D) images, axes (y, x).
        shift_angstrom: (..., 2) displacements (x, y) in Å.
        pixel_size: Å per pixel.

    Returns:
        (..., D, D) moved images.
    """
    box = images.shape[-1]
    freqs = frequency_grid(box, pixel_size, like=images)
    spectrum = torch.fft.rfft2(images) * shift_phase(shift_angstrom, freqs)
    moved: Tensor = torch.fft.irfft2(spectrum, s=(box, box))
    return moved
