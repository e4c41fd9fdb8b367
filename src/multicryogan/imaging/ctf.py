"""Contrast transfer function: the operator C_c of equation (1).

Sign, astigmatism and units follow RELION's ctf.cpp.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from multicryogan.imaging.params import CTFParams
from multicryogan.units import ANGSTROM_PER_MM, electron_wavelength_angstrom

__all__ = ["CTFParams", "ctf", "ring_ctf"]


def ctf(params: CTFParams, freqs: Tensor) -> Tensor:
    """Evaluate the CTF of every particle on one frequency grid.

    CTF = -sin(γ) scale exp(-B s²/4),
    γ = -πλ df(az) s² + (π/2) Cs λ³ s⁴ - phase shift - asin(w),
    df(az) = (U + V)/2 + (U - V)/2 cos 2(az - angle).

    Args:
        params: Optics, fields (...).
        freqs: (H, W, 2) spatial frequencies (ky, kx) in 1/Å.

    Returns:
        (..., H, W) CTF values, +w at zero frequency.
    """
    ky, kx = freqs.reshape(-1, 2).unbind(-1)
    s2 = kx.square() + ky.square()
    # s² cos 2az and s² sin 2az: no angle is formed, so zero frequency is no exception.
    grid = torch.stack((s2, kx.square() - ky.square(), 2 * kx * ky, s2.square()))
    gamma = _phase_coefficients(params) @ grid - _constant_phase(params)[..., None]
    values = -torch.sin(gamma)  # (..., H*W)
    if params.bfactor_angstrom2 is not None:
        values = values * torch.exp(-params.bfactor_angstrom2[..., None] / 4 * s2)
    if params.scale is not None:
        values = values * params.scale[..., None]
    return values.view(*values.shape[:-1], *freqs.shape[:2])


def ring_ctf(params: CTFParams, rings: int, field_angstrom: float) -> Tensor:
    """Evaluate the CTF of every particle on rings, at its mean defocus.

    Args:
        params: Optics, fields (...).
        rings: Rings k = 1 .. rings, in Fourier pixels.
        field_angstrom: Side of the image in Å: ring k lies at k / field.

    Returns:
        (..., rings) CTF values, exact where there is no astigmatism.
    """
    mean = (params.defocus_u_angstrom + params.defocus_v_angstrom) / 2
    ring = torch.arange(1, rings + 1).to(mean) / field_angstrom
    freqs = torch.stack((torch.zeros_like(ring), ring), dim=-1)[None]
    round_params = replace(params, defocus_u_angstrom=mean, defocus_v_angstrom=mean)
    return ctf(round_params, freqs)[..., 0, :]


def _phase_coefficients(params: CTFParams) -> Tensor:
    """(..., 4) what s², s² cos 2az, s² sin 2az and s⁴ contribute to γ."""
    wavelength = electron_wavelength_angstrom(params.voltage_kv)
    cs_angstrom = params.cs_mm * ANGSTROM_PER_MM
    u, v = params.defocus_u_angstrom, params.defocus_v_angstrom
    twice_angle = 2 * params.defocus_angle_deg.deg2rad()
    mean, half_difference = (u + v) / 2, (u - v) / 2
    return torch.stack(
        (
            -torch.pi * wavelength * mean,
            -torch.pi * wavelength * half_difference * twice_angle.cos(),
            -torch.pi * wavelength * half_difference * twice_angle.sin(),
            torch.pi / 2 * cs_angstrom * wavelength**3,
        ),
        dim=-1,
    )


def _constant_phase(params: CTFParams) -> Tensor:
    """(...) the part of -γ that does not depend on frequency, in radians."""
    return params.phase_shift_deg.deg2rad() + torch.asin(params.amplitude_contrast)
