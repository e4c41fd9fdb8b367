"""Fourier grids, shells, crop and pad: the only file that shifts a transform.

Transforms are unnormalised ("backward") and in rfft layout: zero frequency in the
corner, the last axis halved. k below counts Fourier pixels (cycles per box).
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor


def frequency_grid(box: int, pixel_size: float, *, like: Tensor) -> Tensor:
    """List the spatial frequency of every rfft2 mode.

    Args:
        box: Side D of the image in pixels.
        pixel_size: Å per pixel.
        like: Tensor that gives dtype and device.

    Returns:
        (D, D//2+1, 2) frequencies (ky, kx) in 1/Å, zero in the corner.
    """
    kwargs = {"dtype": like.dtype, "device": like.device}
    ky = torch.fft.fftfreq(box, pixel_size, **kwargs)
    kx = torch.fft.rfftfreq(box, pixel_size, **kwargs)
    return torch.stack(torch.meshgrid(ky, kx, indexing="ij"), dim=-1)


def shell_index(box: int, ndim: int = 2, *, like: Tensor) -> Tensor:
    """Number the shell, round(|k|), of every rfft mode.

    Args:
        box: Side D in pixels or voxels.
        ndim: 2 for images, 3 for volumes.
        like: Tensor that gives the device.

    Returns:
        (D, D//2+1) or (D, D, D//2+1) int64 shells; corners exceed D // 2.
    """
    return _shell_index(box, ndim).to(like.device, copy=True)


def frequency_radius(box: int, ndim: int = 2, *, like: Tensor) -> Tensor:
    """Measure |k| of every rfft mode.

    Args:
        box: Side D in pixels or voxels.
        ndim: 2 for images, 3 for volumes.
        like: Tensor that gives dtype and device.

    Returns:
        (D, D//2+1) or (D, D, D//2+1) radii in Fourier pixels.
    """
    return _radius(box, ndim).to(device=like.device, dtype=like.dtype, copy=True)


def shell_weights(box: int, ndim: int = 2, *, like: Tensor | None = None) -> Tensor:
    """Count how often each rfft mode stands in the full transform.

    Args:
        box: Side D in pixels or voxels.
        ndim: 2 for images, 3 for volumes.
        like: Tensor that gives dtype and device; float32 on the CPU without it.

    Returns:
        (D, D//2+1) or (D, D, D//2+1) multiplicities, 1 or 2; they sum to D**ndim.
    """
    column = torch.full((box // 2 + 1,), 2.0)
    column[0] = 1
    if box % 2 == 0:
        column[-1] = 1
    if like is not None:
        column = column.to(device=like.device, dtype=like.dtype)
    return column.expand(*(box,) * (ndim - 1), -1).clone()


def shell_mean(values: Tensor, box: int, ndim: int = 2) -> Tensor:
    """Average over each shell of the full transform.

    Args:
        values: (..., D, D//2+1) or (..., D, D, D//2+1) real values of the rfft modes.
        box: Side D in pixels or voxels.
        ndim: 2 for images, 3 for volumes.

    Returns:
        (..., D//2+1) means of shells 0 to D // 2; the corners are left out.
    """
    batch = values.shape[: values.ndim - ndim]
    shells = shell_index(box, ndim, like=values).flatten().clamp(max=box // 2 + 1)
    weights = shell_weights(box, ndim, like=values).flatten()
    counts = weights.new_zeros(box // 2 + 2).index_add(0, shells, weights)
    flat = values.reshape(*batch, -1) * weights
    sums = flat.new_zeros(*batch, box // 2 + 2).index_add(-1, shells, flat)
    return (sums / counts.clamp(min=1))[..., :-1]


def disc_mask(
    box: int, radius_shell: float, *, like: Tensor, edge: float = 0.0
) -> Tensor:
    """Draw a disc about zero frequency: 1 where |k| <= radius.

    Args:
        box: Side D in pixels.
        radius_shell: Radius in Fourier pixels.
        like: Tensor that gives dtype and device.
        edge: Width in Fourier pixels of a raised cosine that falls to 0 outside.

    Returns:
        (D, D//2+1) values in [0, 1].
    """
    radius = _radius(box, 2).to(device=like.device, dtype=like.dtype)
    if edge <= 0:
        return (radius <= radius_shell).to(like.dtype)
    ramp = ((radius - radius_shell) / edge).clamp(0, 1)
    return 0.5 * (1 + torch.cos(math.pi * ramp))


def low_pass(images: Tensor, mask: Tensor) -> Tensor:
    """Multiply the transform of images by a mask.

    Args:
        images: (..., D, D) images.
        mask: (D, D//2+1) factor of every rfft2 mode.

    Returns:
        (..., D, D) filtered images.
    """
    box = images.shape[-1]
    filtered: Tensor = torch.fft.irfft2(torch.fft.rfft2(images) * mask, s=(box, box))
    return filtered


def fourier_resize(x: Tensor, new_box: int, ndim: int = 2) -> Tensor:
    """Crop or pad the transform: the same field of view with other pixels.

    The centre stays on pixel box // 2 and values are kept: a constant stays the same
    constant. The Nyquist rows of the smaller box, when even, are set to zero: it
    cannot hold both signs of that frequency.

    Args:
        x: (..., D, D) images or (..., D, D, D) volumes.
        new_box: Side in pixels of the result.
        ndim: Number of trailing axes to resize, 2 or 3.

    Returns:
        (..., new_box, ...) resized; `x` itself when the box does not change.
    """
    box = x.shape[-1]
    if box == new_box:
        return x
    axes = tuple(range(-ndim, 0))
    spectrum = torch.fft.rfftn(torch.fft.ifftshift(x, dim=axes), dim=axes)
    highest = (min(box, new_box) - 1) // 2
    for axis in axes[:-1]:
        spectrum = _keep_low(spectrum, axis, highest, new_box)
    spectrum = spectrum[..., : highest + 1]
    resized = torch.fft.irfftn(spectrum, s=(new_box,) * ndim, dim=axes)
    centred: Tensor = torch.fft.fftshift(resized, dim=axes)
    return centred * (new_box / box) ** ndim


@lru_cache(maxsize=64)
def resampling_matrix(box: int, new_box: int, field_ratio: float = 1.0) -> Tensor:
    """Make the matrix M of a Fourier crop: `M @ image @ M.T`.

    Where both fields of view are the same, it does what `fourier_resize` does. Where
    the image spans more, its modes below the new Nyquist frequency are sampled at the
    new pixels. Nothing is cut before: noise is as strong at the new edges as within.
    The centre stays on pixel box // 2 and a constant stays the same constant.

    Args:
        box: Side of the image in pixels.
        new_box: Side of the result, at most box / field_ratio.
        field_ratio: Side of the image in Å over that of the result, at least 1.

    Returns:
        (new_box, box) float32; not to be modified.
    """
    step = box / (field_ratio * new_box)  # pixels of the image from pixel to pixel
    new_place = step * (torch.arange(new_box, dtype=torch.float64) - new_box // 2)
    place = torch.arange(box, dtype=torch.float64) - box // 2
    turn = 2 * math.pi * (new_place[:, None] - place) / box
    highest = math.ceil(min(box, new_box * field_ratio) / 2 - 1e-3) - 1
    order = torch.arange(1, highest + 1)
    kernel = 1 + 2 * (order[:, None, None] * turn).cos().sum(0)
    return (kernel / box).float()


def resize_density(volume: Tensor, new_box: int) -> Tensor:
    """Resize volumes (..., D, D, D) so that their projections are resized with values.

    A projection sums over as many voxels as the box has: densities rise as it falls.
    """
    return fourier_resize(volume, new_box, 3) * (volume.shape[-1] / new_box)


def centre_to_corner(x: Tensor, ndim: int) -> Tensor:
    """Roll the centre, box // 2, of the last `ndim` axes to index zero."""
    rolled: Tensor = torch.fft.ifftshift(x, dim=tuple(range(-ndim, 0)))
    return rolled


def corner_to_centre(x: Tensor, ndim: int) -> Tensor:
    """Roll index zero of the last `ndim` axes to the centre, box // 2."""
    rolled: Tensor = torch.fft.fftshift(x, dim=tuple(range(-ndim, 0)))
    return rolled


def _keep_low(spectrum: Tensor, axis: int, highest: int, new_box: int) -> Tensor:
    """Keep |k| <= highest along a full axis and fill with zeros up to new_box."""
    low = spectrum.narrow(axis, 0, highest + 1)
    negative = spectrum.narrow(axis, spectrum.shape[axis] - highest, highest)
    shape = list(spectrum.shape)
    shape[axis] = new_box - 2 * highest - 1
    return torch.cat((low, spectrum.new_zeros(shape), negative), dim=axis)


@lru_cache(maxsize=32)
def _radius(box: int, ndim: int) -> Tensor:
    """|k| of every rfft mode in Fourier pixels, float64."""
    k = torch.fft.fftfreq(box, 1 / box, dtype=torch.float64)
    half = torch.fft.rfftfreq(box, 1 / box, dtype=torch.float64)
    grids = torch.meshgrid(*(k,) * (ndim - 1), half, indexing="ij")
    return torch.stack(grids).square().sum(0).sqrt()


@lru_cache(maxsize=32)
def _shell_index(box: int, ndim: int) -> Tensor:
    return _radius(box, ndim).round().to(torch.int64)
