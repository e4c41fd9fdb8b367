"""Fourier shell correlation (equation 6) and the figures read from its curve."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from multicryogan.fourier import shell_mean


def fsc(a: Tensor, b: Tensor) -> Tensor:
    """Correlate two volumes shell by shell in Fourier space.

    FSC(s) = Re sum_s conj(A) B / sqrt(sum_s |A|² sum_s |B|²), over round(|k|) = s.

    Args:
        a: (..., D, D, D) real volumes.
        b: (..., D, D, D) real volumes; leading axes broadcast against those of a.

    Returns:
        (..., D//2+1) correlations in [-1, 1], from zero frequency to Nyquist.
        A shell in which either volume is empty has correlation 0. FSC sees no
        scale: a and 2 a correlate to 1.
    """
    check_cubes(a, b)
    box = a.shape[-1]
    spectrum_a = torch.fft.rfftn(a, dim=(-3, -2, -1))
    spectrum_b = torch.fft.rfftn(b, dim=(-3, -2, -1))
    cross = shell_mean((spectrum_a.conj() * spectrum_b).real, box, 3)
    power_a = shell_mean(spectrum_a.abs().square(), box, 3)
    power_b = shell_mean(spectrum_b.abs().square(), box, 3)
    return normalised(cross, power_a, power_b)


def normalised(cross: Tensor, power_a: Tensor, power_b: Tensor) -> Tensor:
    """Return cross / sqrt(power_a power_b), and 0 where a power is 0."""
    scale = power_a.sqrt() * power_b.sqrt()
    quotient = (cross / torch.where(scale > 0, scale, 1)).clamp(-1, 1)
    return torch.where(scale > 0, quotient, torch.zeros_like(quotient))


def fsc_area(curve: Tensor) -> Tensor:
    """Average an FSC curve from zero frequency to Nyquist.

    Args:
        curve: (..., D//2+1) correlations per shell.

    Returns:
        (...) areas by the trapezoidal rule; 1 for a perfect curve.
    """
    return torch.trapezoid(curve, dim=-1) / (curve.shape[-1] - 1)


def resolution_angstrom(
    curve: Tensor, threshold: float, box: int, voxel_size: float
) -> float:
    """Find where a curve first falls below a threshold.

    Args:
        curve: (D//2+1,) correlations per shell.
        threshold: Correlation, usually 0.5 or 0.143.
        box: Side of the volumes in voxels.
        voxel_size: Å per voxel.

    Returns:
        Resolution in Å, linearly interpolated between shells; that of the last
        shell where the curve stays above, and inf where it begins below.
    """
    values = curve.tolist()
    last = last_shell_above(curve, threshold)
    if last < 0:
        return math.inf
    crossing = float(last)
    if last + 1 < len(values):
        crossing += (values[last] - threshold) / (values[last] - values[last + 1])
    return box * voxel_size / crossing if crossing > 0 else math.inf


def last_shell_above(curve: Tensor, threshold: float) -> int:
    """Count the last shell before the curve first falls below a threshold.

    Args:
        curve: (D//2+1,) correlations per shell.
        threshold: Correlation that the shell still reaches.

    Returns:
        Shell number; -1 where even the zeroth is below.
    """
    below = torch.nonzero(curve < threshold).flatten()
    return int(below[0]) - 1 if len(below) else curve.shape[-1] - 1


def check_cubes(*volumes: Tensor) -> None:
    """Refuse volumes that are not cubes of one size."""
    sides = volumes[0].shape[-1:] * 3
    for volume in volumes:
        if volume.dim() < 3 or volume.shape[-3:] != sides:
            raise ValueError(
                f"expected cubic volumes of one box {tuple(sides)}, "
                f"got {tuple(volume.shape)}; crop or pad them to one box"
            )
