"""Noise: the term n of equation (1), white or with a radial power spectrum.

Power is per mode of the orthonormal transform: white noise of variance s² has power
s² in every shell.
"""

from __future__ import annotations

import torch
from torch import Tensor

from multicryogan.fourier import shell_index, shell_mean


def sample_noise(
    shape: tuple[int, ...], power: Tensor, generator: torch.Generator
) -> Tensor:
    """Draw Gaussian noise with a given radial power spectrum.

    Args:
        shape: (..., D, D) shape of the images.
        power: (D//2+1,) power of shells 0 to D // 2, or (..., D//2+1) that of each
            image; the corners get the last.
        generator: Stream to draw from.

    Returns:
        (..., D, D) noise images with the dtype and device of `power`.
    """
    box = shape[-1]
    white = torch.randn(
        shape, generator=generator, dtype=power.dtype, device=power.device
    )
    shells = shell_index(box, like=power).clamp(max=box // 2)
    amplitude = power.sqrt()[..., shells]  # (..., D, D//2+1)
    coloured: Tensor = torch.fft.irfft2(
        torch.fft.rfft2(white) * amplitude, s=(box, box)
    )
    return coloured


def radial_power(images: Tensor) -> Tensor:
    """Average the power of images over each shell.

    Args:
        images: (..., D, D) images.

    Returns:
        (D//2+1,) mean power per mode of shells 0 to D // 2.
    """
    box = images.shape[-1]
    spectrum = torch.fft.rfft2(images.reshape(-1, box, box), norm="ortho")
    return shell_mean(spectrum.abs().square().mean(0), box)


def masked_radial_power(images: Tensor, mask: Tensor) -> Tensor:
    """Estimate the power spectrum of noise from the masked pixels only.

    Args:
        images: (B, D, D) images.
        mask: (D, D) 1 for the pixels to use, 0 elsewhere.

    Returns:
        (D//2+1,) power per mode of shells 0 to D // 2, not negative.
    """
    return unbiased_masked_power(images, mask).clamp(min=0)


def unbiased_masked_power(images: Tensor, mask: Tensor) -> Tensor:
    """Estimate as `masked_radial_power` does; few images may give negative powers.

    The autocorrelation of the masked pixels over that of the mask is the noise's
    autocorrelation (up to 1 / number of masked pixels, since each image's own mean is
    removed); its transform is the power.
    """
    box = images.shape[-1]
    weights = mask.to(images.dtype)
    mean = (images * weights).sum((-2, -1), keepdim=True) / weights.sum()
    pairs = _autocorrelation((images - mean) * weights).mean(0)
    counts = _autocorrelation(weights).round()
    # A lag that no two masked pixels have tells nothing: taken as uncorrelated.
    correlation = torch.where(counts > 0, pairs / counts.clamp(min=1), 0.0)
    power = torch.fft.rfft2(correlation).real
    return shell_mean(power, box)


def _autocorrelation(x: Tensor) -> Tensor:
    """(..., D, D) products summed over all pairs at each lag, in the order of fftfreq.

    Padding keeps the two edges of an image from meeting.
    """
    box = x.shape[-1]
    spectrum = torch.fft.rfft2(x, s=(2 * box, 2 * box))
    lags = torch.fft.irfft2(spectrum.abs().square(), s=(2 * box, 2 * box))
    lag = torch.fft.fftfreq(box, 1 / box, device=x.device).round().long() % (2 * box)
    products: Tensor = lags[..., lag[:, None], lag]
    return products
