"""Signal above the noise, band by band, and how many images a map of it needs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.data.preprocess import (
    Preprocessing,
    background_mask,
    read_working,
    spread_rows,
)
from multicryogan.data.spectra import Spectra, smooth
from multicryogan.imaging.noise import radial_power, unbiased_masked_power
from multicryogan.io import ParticleStack

BLOCKS = 16  # their scatter tells the uncertainty
AT_ONCE = 250  # images in memory
CLEAR = 3.0  # standard errors above zero from which a signal counts as measured


@dataclass(frozen=True, slots=True)
class Band:
    """Mean signal over noise of neighbouring shells."""

    shell: float  # mean |k| of its modes in Fourier pixels
    snr: float
    error: float  # standard error of `snr`

    @property
    def is_measured(self) -> bool:
        """Whether the signal stands out of the uncertainty."""
        return self.snr > CLEAR * self.error

    @property
    def images_needed(self) -> float:
        """Images that bring a map with known poses to as much signal as noise.

        N views lay N 2πk modes over the 4πk² voxels of shell k: N / 2k pass through
        each. A mode has the signal-to-noise ratio `snr` (the squared CTF is in it), a
        voxel of the map N snr / 2k; this is 1, and the FSC of two halves 1/3, at

            N = 2k / snr.

        Of one conformation and of the whole box. Unknown poses need more; n-fold
        symmetry and a mask that keeps 1/n of the box need n times fewer. Where the
        signal is not measured, the most that it can be gives a number that is too low.
        """
        most = max(self.snr, 0.0) + CLEAR * self.error
        snr = self.snr if self.is_measured else most
        return 2 * self.shell / snr if snr > 0 else float("inf")


@dataclass(frozen=True, slots=True)
class Power:
    """Mean power per mode of each shell in blocks of working images, (B, D//2+1).

    Attributes:
        rim: Outside the background radius, as it was measured: noise.
        raw: Of whole images.
    """

    rim: Tensor
    raw: Tensor

    def spectra(self) -> Spectra:
        """Means over the blocks, the noise smoothed."""
        rim = smooth(self.rim.mean(0).clamp(min=0))
        return Spectra(rim[None], self.raw.mean(0)[None], torch.ones(1))

    def band(self, low: int, high: int) -> Band:
        """Signal over noise of shells low .. high.

        The noise is not smoothed here: Thon rings of the ice are a tenth of it, and no
        signal. Each block counts as one measurement.
        """
        shells = torch.arange(low, high + 1)
        modes = shells.to(self.rim)
        noise = self.rim[:, shells] @ modes
        excess = (self.raw[:, shells] @ modes - noise) / noise.mean()
        error = excess.std() / len(excess) ** 0.5
        shell = float(modes.square().sum() / modes.sum())
        return Band(shell, float(excess.mean()), float(error))

    def bands(self) -> tuple[Band, Band]:
        """Bands at half of Nyquist and at the last shells before it."""
        half = self.rim.shape[1] - 1  # D // 2
        width = max(half // 8, 1)
        return (
            self.band(half // 2 - width, half // 2 + width),
            self.band(half - 1 - width, half - 1),
        )


def measure_power(
    stack: ParticleStack, preprocessing: Preprocessing, most: int
) -> Power:
    """Measure the power of images spread evenly over the stack.

    Args:
        stack: At least two particles.
        preprocessing: Working box, sign and background radius.
        most: At most so many are read.

    Returns:
        The power in blocks that each spread over the stack.
    """
    count = min(most, len(stack))
    rows = spread_rows(len(stack), count)
    mask = background_mask(preprocessing)
    rims, raws = [], []
    for block in range(min(BLOCKS, count)):
        sums, mine = torch.zeros(2, preprocessing.box // 2 + 1), rows[block::BLOCKS]
        for start in range(0, len(mine), AT_ONCE):
            some = mine[start : start + AT_ONCE]
            images = read_working(stack, some, preprocessing, "cpu")
            powers = (unbiased_masked_power(images, mask), radial_power(images))
            sums += len(images) * torch.stack(powers)
        rim, whole = sums / len(mine)
        rims.append(rim)
        raws.append(whole)
    return Power(torch.stack(rims), torch.stack(raws))
