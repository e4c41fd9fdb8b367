"""Least squares of volumes that are zero outside a window.

Where images show a mode little and its neighbours well, as at the edge of the views
that a state is seen from, one mode after the other is the wrong way to solve: slices
run between voxels, and what a voxel of the transform lacks, its neighbours tell, as the
volume ends within its box. Each voxel by itself takes steps that are far too long.
"""

from __future__ import annotations

import torch
from torch import Tensor

from multicryogan.fourier import (
    centre_to_corner,
    corner_to_centre,
    shell_index,
    shell_mean,
)

ITERATIONS = 5  # more win 0.03 nats of an image at most, and follow noise
RIDGE = 0.1  # of the mean precision of a shell, in what speeds iterations up


def solve(right: Tensor, precision: Tensor, window: Tensor, shown: Tensor) -> Tensor:
    """Solve W P W y = W b for x = W y by a few conjugate gradients.

    P multiplies the transforms of volumes, mode by mode. Iterations are preconditioned
    by its inverse (Golub & Van Loan, Matrix Computations, 11.5).

    Args:
        right: (C, D, D, D) b.
        precision: (D, D, D//2+1, C, C) P, symmetric, not negative.
        window: W, broadcasts to (C, D, D, D).
        shown: (C, D, D, D//2+1) modes that b and P tell of; others follow from where x
            ends.

    Returns:
        (C, D, D, D) x.
    """
    box = shown.shape[1]
    own = precision.diagonal(dim1=-2, dim2=-1).movedim(-1, 0) * shown
    shells = shell_index(box, 3, like=own).clamp(max=box // 2)
    ridge = RIDGE * shell_mean(own, box, 3)[:, shells].movedim(0, -1)
    firm = precision + torch.diag_embed(torch.where(ridge > 0, ridge, 1))
    # A ridge that is weak beside the precision makes single precision fail.
    inverse = torch.linalg.inv(firm.double()).to(precision)

    rest = window * from_spectrum(to_spectrum(right) * shown)
    found, direction = torch.zeros_like(rest), torch.zeros_like(rest)
    size = rest.new_zeros(())
    for _ in range(ITERATIONS):
        ready = through(inverse, rest, shown)
        left = (rest * ready).sum()
        direction = ready + torch.where(size > 0, left / size, 0) * direction
        size = left
        curve = window * through(precision, window * direction, shown)
        bent = (direction * curve).sum()
        length = torch.where(bent > 0, size / bent, 0)  # 0: solved already
        found = found + length * direction
        rest = rest - length * curve
    return window * found


def through(matrix: Tensor, volumes: Tensor, shown: Tensor) -> Tensor:
    """Multiply the modes of (C, D, D, D) volumes that are shown by matrices.

    Args:
        matrix: (D, D, D//2+1, C, C), symmetric.
        volumes: (C, D, D, D).
        shown: Broadcasts to (C, D, D, D//2+1); other modes count, and end, as zero.
    """
    spectrum = (to_spectrum(volumes) * shown).movedim(0, -1).contiguous()
    product = matrix.to(volumes) @ torch.view_as_real(spectrum)
    return from_spectrum(
        torch.view_as_complex(product.contiguous()).movedim(-1, 0) * shown
    )


def from_spectrum(spectrum: Tensor) -> Tensor:
    """(C, D, D, D) volumes of (C, D, D, D//2+1) transforms."""
    box = spectrum.shape[1]
    volumes: Tensor = torch.fft.irfftn(spectrum, s=(box,) * 3, dim=(-3, -2, -1))
    return corner_to_centre(volumes, 3)


def to_spectrum(volumes: Tensor) -> Tensor:
    """(C, D, D, D//2+1) rfftn, the centre at the corner."""
    spectrum: Tensor = torch.fft.rfftn(centre_to_corner(volumes, 3), dim=(-3, -2, -1))
    return spectrum
