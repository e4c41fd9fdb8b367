"""Heterogeneity itself: maps of the differences from the mean."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.evaluation.baselines import mean_map
from multicryogan.evaluation.fsc import normalised
from multicryogan.evaluation.matching import band_modes
from multicryogan.fourier import shell_index, shell_mean, shell_weights

NO_MOTION = 1e-4  # spread ratio below which the differences are rounding errors


@dataclass(frozen=True, slots=True)
class Motion:
    """Recovered differences from the mean beside the true ones."""

    difference_fsc: Tensor  # (D//2+1,)
    difference_correlation: float  # over all shells but the zeroth
    spread_ratio: float  # 1: as much motion as there is; 0: none


def compare_motion(
    volumes: Tensor,
    latent_weights: Tensor,
    states: Tensor,
    state_weights: Tensor,
    matched_state: Tensor,
    max_shell: int,
) -> Motion:
    """Compare what moves: each volume minus the mean, with its state minus the mean.

    All volumes are pooled: the correlation is that of the stacked difference maps,
    weighted by the latents. A map without motion has correlation 0.

    Args:
        volumes: (N, D, D, D) recovered densities, aligned.
        latent_weights: (N,) shares.
        states: (M, D, D, D) true densities.
        state_weights: (M,) shares.
        matched_state: (N,) the state that each volume matches best.
        max_shell: Last shell of the spread ratio; noise beyond is no motion.

    Returns:
        Curve, overall correlation and ratio of spreads. The spread is the root mean
        square norm of the differences, the recovered one after scaling the recovered
        mean to the true mean.
    """
    mean_volume = mean_map(volumes, latent_weights)
    mean_state = mean_map(states, state_weights)
    moved, moves = volumes - mean_volume, states - mean_state

    band_volume = band_modes(mean_volume[None], max_shell)[0]
    band_state = band_modes(mean_state[None], max_shell)[0]
    scale = (band_volume @ band_state) / band_volume.square().sum().clamp(min=1e-30)
    recovered = _spread(moved, latent_weights, max_shell) * scale.abs().item()
    true = _spread(moves, state_weights, max_shell)
    ratio = recovered / true if true > 0 else math.nan

    curve, overall = _pooled_correlation(moved, moves[matched_state], latent_weights)
    if not ratio > NO_MOTION:
        curve, overall = torch.zeros_like(curve), 0.0
    return Motion(curve, overall, ratio)


def _spread(differences: Tensor, weights: Tensor, max_shell: int) -> float:
    """Root of the weighted mean square norm, in shells 1..max_shell."""
    power = band_modes(differences, max_shell).square().sum(dim=1)
    return ((power * weights).sum() / weights.sum()).sqrt().item()


def _pooled_correlation(a: Tensor, b: Tensor, weights: Tensor) -> tuple[Tensor, float]:
    """Correlate stacks (N, D, D, D): per shell (D//2+1,), and over shells 1 on."""
    box = a.shape[-1]
    axes = (-3, -2, -1)
    spectrum_a, spectrum_b = torch.fft.rfftn(a, dim=axes), torch.fft.rfftn(b, dim=axes)
    row = weights[:, None, None, None]
    products = (
        (spectrum_a.conj() * spectrum_b).real,
        spectrum_a.abs().square(),
        spectrum_b.abs().square(),
    )
    cross, power_a, power_b = (
        shell_mean((row * product).sum(dim=0), box, 3) for product in products
    )
    modes = _shell_modes(box, like=a)
    total = normalised(*((modes * x)[1:].sum() for x in (cross, power_a, power_b)))
    return normalised(cross, power_a, power_b), total.item()


def _shell_modes(box: int, like: Tensor) -> Tensor:
    """Count the modes of each shell of the full transform, (D//2+1,)."""
    shells = shell_index(box, 3, like=like).flatten()
    weights = shell_weights(box, 3, like=like).flatten()
    return torch.bincount(shells, weights)[: box // 2 + 1].to(like)
