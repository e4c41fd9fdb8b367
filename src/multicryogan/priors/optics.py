"""The law of the optics: p_c of Algorithm 1, when it is not that of the particles."""

from __future__ import annotations

from dataclasses import replace

import torch

from multicryogan.imaging import CTFParams


def with_defocus_range(
    optics: CTFParams, range_um: tuple[float, float], generator: torch.Generator
) -> CTFParams:
    """Redraw the defocus of every row uniformly from a range, without astigmatism.

    Args:
        optics: Optics of N particles, each field (N,).
        range_um: Least and greatest defocus in µm, underfocus positive.
        generator: Stream to draw from.

    Returns:
        Optics of N particles; fields other than defocus are as they were.
    """
    low, high = (1e4 * x for x in range_um)
    share = torch.rand(optics.defocus_u_angstrom.shape, generator=generator)
    defocus = (low + (high - low) * share).to(optics.defocus_u_angstrom)
    return replace(
        optics,
        defocus_u_angstrom=defocus,
        defocus_v_angstrom=defocus,
        defocus_angle_deg=torch.zeros_like(defocus),
    )
