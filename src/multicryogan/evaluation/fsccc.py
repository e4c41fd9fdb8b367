"""FSC cross-conformation matrix (equation 7): how alike are all pairs of volumes."""

from __future__ import annotations

import torch
from torch import Tensor

from multicryogan.evaluation.fsc import check_cubes, fsc_area, normalised
from multicryogan.evaluation.neighbours import align_neighbours
from multicryogan.fourier import shell_index, shell_weights


def fsccc(volumes: Tensor) -> Tensor:
    """Measure the area under the FSC of every pair of volumes.

    M[m, n] = fsc_area(fsc(volumes[m], volumes[n])). The matrix is not blind to a
    rotation that drifts from volume to volume: see `fsccc_aligned`.

    Args:
        volumes: (N, D, D, D) densities in the order of the latent.

    Returns:
        (N, N) symmetric matrix, ones on its diagonal (less where a shell is empty).
    """
    check_cubes(volumes)
    count, box = volumes.shape[0], volumes.shape[-1]
    shells = shell_index(box, 3, like=volumes).flatten()
    weights = shell_weights(box, 3).to(volumes).flatten()
    # One Hermitian pair counts twice: scaling by the root puts that into products.
    modes = torch.fft.rfftn(volumes, dim=(-3, -2, -1)).flatten(1) * weights.sqrt()
    modes = torch.view_as_real(modes)  # (N, modes, 2)
    order = torch.argsort(shells, stable=True)
    sizes = torch.bincount(shells)[: box // 2 + 1].tolist()
    crosses = []
    for part in torch.split(order[: sum(sizes)], sizes):
        shell_modes = modes[:, part].reshape(count, -1)
        crosses.append(shell_modes @ shell_modes.T)
    cross = torch.stack(crosses, dim=-1)  # (N, N, D//2+1)
    power = cross.diagonal(dim1=0, dim2=1).T  # (N, D//2+1)
    return fsc_area(normalised(cross, power[:, None], power[None]))


def fsccc_aligned(volumes: Tensor, latents: Tensor | None = None) -> Tensor:
    """Measure the area under the FSC of every pair after aligning neighbours.

    Each volume is moved as a rigid body onto its neighbour, and mirrored where that is
    much more like it: a frame that drifts or jumps along the latent goes, and every
    other motion stays.

    Args:
        volumes: (N, D, D, D) densities in the order of the latent.
        latents: (N,) or (N, d) positions that say who is whose neighbour; the order
            of the volumes when missing.

    Returns:
        (N, N) symmetric matrix.
    """
    return fsccc(align_neighbours(volumes, latents)[0])
