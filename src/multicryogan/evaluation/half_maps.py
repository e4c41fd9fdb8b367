"""Gold-standard resolution: two maps made from two halves of the particles.

Maps that share no image share no noise, so where they agree is signal (equation 6 on
half-sets). A mask takes solvent noise away and adds agreement of its own: the edge that
both maps are cut along. How much is seen on maps whose phases were randomised (Chen et
al. 2013, Ultramicroscopy 135, 24).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.errors import InputError
from multicryogan.evaluation.fsc import (
    check_cubes,
    fsc,
    last_shell_above,
    resolution_angstrom,
)
from multicryogan.fourier import shell_index
from multicryogan.rng import stream

GOLD_STANDARD = 0.143  # Rosenthal & Henderson 2003, J. Mol. Biol. 333, 721
SURE = 0.8  # phases are kept where the unmasked correlation reaches this
MARGIN = 2  # shells after the first random one that are not corrected
CLEAR = 3.0  # spreads of the solvent that density has to rise above it
PIECE = 0.1  # smallest part of the mask that is kept, of the largest one
BINS = 256
TINY = 1e-6


@dataclass(frozen=True, slots=True)
class HalfSetFSC:
    """Correlation of two half maps; each curve has shape (D//2+1,).

    Attributes:
        unmasked: Of the maps as they are.
        masked: Of the maps under the mask.
        randomised: Of the maps under the mask, after their phases were randomised from
            `first_random_shell` on; mean over several randomisations.
        corrected: (masked - randomised) / (1 - randomised) from two shells after that
            one on, and masked before.
        first_random_shell: First shell where `unmasked` is below 0.8; D // 2 + 1 where
            none is, and then nothing is corrected.
        box: Side D of the maps in voxels.
        voxel_size: Å per voxel.
    """

    unmasked: Tensor
    masked: Tensor
    randomised: Tensor
    corrected: Tensor
    first_random_shell: int
    box: int
    voxel_size: float

    @property
    def resolution_angstrom(self) -> float:
        """Resolution in Å at 0.143 of the corrected curve."""
        return gold_standard_angstrom(self.corrected, self.box, self.voxel_size)

    @property
    def resolution_shell(self) -> int:
        """Last shell before the first whose corrected correlation is below 0.143."""
        return _last_sure_shell(self.corrected, GOLD_STANDARD)

    @property
    def unmasked_resolution_angstrom(self) -> float:
        """Resolution in Å at 0.143 of the unmasked curve."""
        return gold_standard_angstrom(self.unmasked, self.box, self.voxel_size)

    @property
    def reaches_nyquist(self) -> bool:
        """Whether the corrected curve never falls: voxels, not noise, are the limit."""
        return _last_sure_shell(self.corrected, GOLD_STANDARD) == self.box // 2


def half_set_fsc(
    first: Tensor,
    second: Tensor,
    mask: Tensor,
    voxel_size: float,
    seed: int,
    *,
    randomisations: int = 8,
) -> HalfSetFSC:
    """Correlate two half maps, and correct for what their common mask adds.

    Each map is taken less its own mean outside the mask: the grey level of a map is
    arbitrary, and under a mask a common one would look like signal.

    Args:
        first: (D, D, D) density, axes (z, y, x), from one half of the particles.
        second: (D, D, D) density from the other half, laid on the first.
        mask: (D, D, D) values in [0, 1], as from `solvent_mask`.
        voxel_size: Å per voxel.
        seed: Of the random phases.
        randomisations: How often phases are randomised.

    Returns:
        The four curves.
    """
    check_cubes(first, second, mask)
    halves = torch.stack((first, second))
    outside = 1 - mask
    level = (halves * outside).sum((1, 2, 3)) / outside.sum().clamp(min=TINY)
    halves = halves - level[:, None, None, None]
    unmasked, masked = fsc(*halves), fsc(*(halves * mask))
    start = _last_sure_shell(unmasked, SURE) + 1
    randomised = torch.zeros_like(masked)
    for i in range(randomisations):
        draws = stream(seed, "half maps/phases", step=i, device=str(mask.device))
        scrambled = randomise_phases(halves, start, draws)
        randomised += fsc(*(scrambled * mask)) / randomisations
    return HalfSetFSC(
        unmasked=unmasked,
        masked=masked,
        randomised=randomised,
        corrected=_corrected(masked, randomised, start + MARGIN),
        first_random_shell=start,
        box=mask.shape[-1],
        voxel_size=voxel_size,
    )


def _corrected(masked: Tensor, randomised: Tensor, start: int) -> Tensor:
    """Take from (D//2+1,) correlations what the mask adds, from shell start on."""
    rest = 1 - randomised
    fair = torch.where(rest > TINY, (masked - randomised) / rest.clamp(min=TINY), 0)
    return torch.cat((masked[:start], fair[start:].clamp(-1, 1)))


def randomise_phases(
    volumes: Tensor, first_shell: int, generator: torch.Generator
) -> Tensor:
    """Give modes random phases and keep their amplitudes.

    Args:
        volumes: (N, D, D, D) densities; each has phases of its own.
        first_shell: Modes with round(|k|) of at least this are changed.
        generator: Stream to draw from.

    Returns:
        (N, D, D, D) densities with the same power in every mode.
    """
    box, axes = volumes.shape[-1], (-3, -2, -1)
    noise = torch.randn(
        volumes.shape, generator=generator, dtype=volumes.dtype, device=volumes.device
    )
    # The transform of real noise has the symmetry that random numbers would lack.
    phase = torch.sgn(torch.fft.rfftn(noise, dim=axes))
    spectrum = torch.fft.rfftn(volumes, dim=axes)
    is_random = shell_index(box, 3, like=volumes) >= first_shell
    spectrum = torch.where(is_random, spectrum.abs() * phase, spectrum)
    scrambled: Tensor = torch.fft.irfftn(spectrum, s=(box,) * 3, dim=axes)
    return scrambled


def gold_standard_angstrom(curve: Tensor, box: int, voxel_size: float) -> float:
    """Find where the correlation of half maps first falls below 0.143.

    Shell 0 plays no part: it is only the sign of two grey levels.

    Args:
        curve: (D//2+1,) correlations per shell.
        box: Side D of the maps in voxels.
        voxel_size: Å per voxel.

    Returns:
        Resolution in Å, linearly interpolated between shells; that of the last shell
        where the curve stays above, and inf where shell 1 is below.
    """
    if _last_sure_shell(curve, GOLD_STANDARD) == 0:
        return math.inf
    return resolution_angstrom(_without_level(curve), GOLD_STANDARD, box, voxel_size)


def _last_sure_shell(curve: Tensor, threshold: float) -> int:
    """Count the last shell before the first of 1, 2, ... below a threshold."""
    return last_shell_above(_without_level(curve), threshold)


def _without_level(curve: Tensor) -> Tensor:
    """(D//2+1,) curve with shell 0 set to one."""
    return torch.cat((torch.ones_like(curve[:1]), curve[1:]))


def solvent_mask(
    volume: Tensor,
    voxel_size: float,
    *,
    low_pass_angstrom: float = 20.0,
    dilation_angstrom: float = 10.0,
    edge_angstrom: float = 15.0,
) -> Tensor:
    """Draw a soft mask about the molecule.

    Density is what rises, after a Gaussian low-pass, half-way from the solvent to
    Otsu's threshold, so that weak parts stay, and above the solvent by three of its
    spreads; the solvent lies outside the sphere in the box. A noisy map needs the
    second, one without noise the first. Pieces below a tenth of the largest are left
    out.

    Args:
        volume: (D, D, D) mean of the two half maps, protein positive.
        voxel_size: Å per voxel.
        low_pass_angstrom: Where the low-pass falls to one half.
        dilation_angstrom: How far the mask is 1 beyond the density.
        edge_angstrom: Width of the cosine edge that follows.

    Returns:
        (D, D, D) values in [0, 1].

    Raises:
        InputError: If nothing rises above the solvent.
    """
    from scipy import ndimage

    check_cubes(volume)
    # A Gaussian of this spread has a transform of one half at 1 / low_pass.
    spread = low_pass_angstrom * math.sqrt(math.log(2) / 2) / math.pi
    smooth = ndimage.gaussian_filter(volume.double().cpu().numpy(), spread / voxel_size)
    is_density = torch.from_numpy(smooth > _threshold(torch.from_numpy(smooth)))
    labels, count = ndimage.label(is_density.numpy())
    if count == 0:
        raise InputError(
            f"no density rises {CLEAR:g} spreads above the solvent of the mean half "
            "map: train longer, or give a mask"
        )
    pieces = torch.from_numpy(labels).long()
    size = torch.bincount(pieces.flatten())
    size[0] = 0  # the solvent
    core = (size >= PIECE * size.max())[pieces] & is_density
    away = ndimage.distance_transform_edt(~core.numpy(), sampling=voxel_size)
    ramp = (torch.from_numpy(away) - dilation_angstrom) / max(edge_angstrom, TINY)
    mask: Tensor = 0.5 * (1 + torch.cos(math.pi * ramp.clamp(0, 1)))
    return mask.to(volume)


def _threshold(smooth: Tensor) -> float:
    """Density level that a smooth (D, D, D) map has to exceed."""
    axis = torch.arange(smooth.shape[-1]) - smooth.shape[-1] // 2
    radius2 = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2).double()
    solvent = smooth[radius2 > (smooth.shape[-1] / 2) ** 2]
    level = solvent.median()
    # Of a normal law the median deviation is 0.6745 standard deviations.
    spread = (solvent - level).abs().median() / 0.6745
    half_way = 0.5 * (float(level) + _otsu(smooth))
    return max(float(level + CLEAR * spread), half_way)


def _otsu(values: Tensor) -> float:
    """Threshold that divides values into two classes farthest apart.

    Otsu 1979, IEEE Trans. Syst. Man Cybern. 9, 62: the variance between the classes,
    (m w - s)² / (w (1 - w)), is largest; w and s are share and sum of the lower class,
    m is the mean of all.
    """
    low, high = float(values.min()), float(values.max())
    counts = torch.histc(values, BINS, low, high)
    edges = torch.linspace(low, high, BINS + 1, dtype=values.dtype)
    middle = (edges[1:] + edges[:-1]) / 2
    share = (counts / counts.sum()).cumsum(0)[:-1]
    total = (counts * middle / counts.sum()).cumsum(0)
    between = (total[-1] * share - total[:-1]).square() / (share * (1 - share))
    return float(edges[1:-1][between.nan_to_num().argmax()])
