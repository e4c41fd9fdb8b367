"""Which true state a recovered conformation resembles most."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from multicryogan.evaluation.fsc import check_cubes
from multicryogan.fourier import shell_index, shell_weights


def correlation_matrix(volumes: Tensor, states: Tensor, max_shell: int) -> Tensor:
    """Correlate every recovered volume with every state up to a shell.

    The zeroth shell is left out and norms divided by: neither the mean value nor
    the scale of a volume counts.

    Args:
        volumes: (N, D, D, D) recovered densities, aligned.
        states: (M, D, D, D) true densities.
        max_shell: Last shell compared. Beyond the shell where the mean map stops to
            resemble the states a recovered map holds mostly noise, so `score` takes
            that one.

    Returns:
        (N, M) correlations in [-1, 1].
    """
    check_cubes(volumes, states)
    recovered, true = unit_modes(volumes, max_shell), unit_modes(states, max_shell)
    correlations: Tensor = recovered @ true.T
    return correlations


def laid_correlations(
    lay: Callable[[int, Tensor], Tensor], count: int, states: Tensor, max_shell: int
) -> Tensor:
    """Correlate volumes with states, laid anew on each.

    Args:
        lay: Lays picked volumes (P,) on a state: (P, D, D, D).
        count: Number N of volumes.
        states: (M, D, D, D) true densities.
        max_shell: Last shell compared.

    Returns:
        (N, M) correlations in [-1, 1].
    """
    everyone = torch.arange(count)
    columns = [
        correlation_matrix(lay(m, everyone), states[m : m + 1], max_shell)
        for m in range(len(states))
    ]
    return torch.cat(columns, dim=1)


def unit_modes(volumes: Tensor, max_shell: int) -> Tensor:
    """Write volumes as unit vectors of their Fourier modes in shells 1..max_shell."""
    vectors = band_modes(volumes, max_shell)
    unit: Tensor = vectors / vectors.norm(dim=1, keepdim=True).clamp(min=1e-30)
    return unit


def band_modes(volumes: Tensor, max_shell: int) -> Tensor:
    """Write volumes as vectors whose products are those of their pass bands.

    Args:
        volumes: (N, D, D, D) densities.
        max_shell: Last shell kept; the first is 1.

    Returns:
        (N, modes) real vectors: products sum over voxels of the filtered volumes.
    """
    box = volumes.shape[-1]
    shells = shell_index(box, 3, like=volumes)
    weights = shell_weights(box, 3, like=volumes)
    is_kept = (shells >= 1) & (shells <= max_shell)
    spectrum = torch.fft.rfftn(volumes, dim=(-3, -2, -1), norm="ortho")
    modes = spectrum[:, is_kept] * weights[is_kept].sqrt()
    vectors: Tensor = torch.view_as_real(modes).flatten(1)
    return vectors
