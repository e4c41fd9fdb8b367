"""Power spectra of the particles: of noise at their rims, and in all."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multicryogan.data.inspection import refuse_masked
from multicryogan.data.preprocess import (
    Preprocessing,
    background_mask,
    below_nyquist,
    read_working,
)
from multicryogan.fourier import shell_index, shell_weights
from multicryogan.imaging.noise import masked_radial_power, radial_power
from multicryogan.io import ParticleStack
from multicryogan.rng import stream

SURVEYED = 20_000  # images that the spectra are measured on
SURVEY_BATCH = 500
OWN = 200  # images of a group that count as much as all the others' spectrum


@dataclass(frozen=True, slots=True)
class Spectra:
    """Mean power per mode of each shell of working images in G optics groups.

    Attributes:
        rim: (G, D//2+1) outside the background radius, smoothed: noise and a little
            delocalised signal; or of patches of background.
        raw: (G, D//2+1) of whole images.
        share: (G,) of the particles.
    """

    rim: Tensor
    raw: Tensor
    share: Tensor

    @property
    def noise(self) -> Tensor:
        """(D//2+1,) mean noise, to which images are brought for the discriminator."""
        return self.share @ self.rim

    @property
    def excess(self) -> Tensor:
        """(D//2+1,) mean power beyond the noise: signal."""
        return self.share @ (self.raw - self.rim)

    def clarity(self) -> Tensor:
        """(G,) nats that an image holds, its pose known: half the sum of the SNR."""
        box = 2 * (self.rim.shape[1] - 1)
        shells = shell_index(box, like=self.rim).clamp(max=box // 2)
        modes = shell_weights(box, like=self.rim) * below_nyquist(box).to(self.rim)
        snr = ((self.raw - self.rim) / self.rim.clamp(min=1e-30)).clamp(min=0)
        return (snr[:, shells] * modes).sum((1, 2)) / 2

    def dither(self, most: float) -> Tensor:
        """(G, D//2+1) power of noise that leaves at most so many nats in an image."""
        return self.rim * (self.clarity() / most - 1).clamp(min=0)[:, None]

    def with_noise(self, power: Tensor) -> Spectra:
        """Add noise of (G, D//2+1) power."""
        return replace(self, rim=self.rim + power, raw=self.raw + power)

    def equaliser(self) -> Tensor:
        """(G, D//2+1) factor of the transform that gives every group the mean noise."""
        return (self.noise / self.rim.clamp(min=1e-30)).sqrt()

    def standard_noise(self) -> Tensor:
        """(D//2+1,) power of noise after `standardise`.

        Its pixels have unit variance once modes at Nyquist and beyond are gone.
        """
        noise = self.noise
        box = 2 * (len(noise) - 1)
        shells = shell_index(box, like=noise).clamp(max=box // 2)
        inside = below_nyquist(box).to(noise)
        modes = shell_weights(box, like=noise) * inside
        return noise * box**2 / (noise[shells] * modes).sum()

    def shell_snr(self) -> Tensor:
        """(D//2+1,) mean power of signal over that of noise in each shell."""
        return self.share @ ((self.raw - self.rim) / self.rim)

    def snr(self) -> float:
        """Signal variance over noise variance of working images, at least 0."""
        modes = torch.arange(1, self.rim.shape[1] - 1).to(self.rim)
        return max(float(self.excess[1:-1] @ modes / (self.noise[1:-1] @ modes)), 0.0)


def survey(
    stack: ParticleStack,
    group: NDArray[np.int64],
    preprocessing: Preprocessing,
    seed: int,
    device: str,
    *,
    is_white: bool = False,
    most: int = SURVEYED,
) -> Spectra:
    """Measure the spectra on random particles.

    Args:
        stack: N particles.
        group: (N,) optics group of each.
        preprocessing: Working box, sign and background radius.
        seed: Of the choice of particles.
        device: Where to compute.
        is_white: Take the rim's power as the same in every shell.
        most: At most so many particles are read.

    Returns:
        The spectra. Those of a group of which few images were read lean towards those
        of all.

    Raises:
        InputError: The images are masked.
    """
    refuse_masked(stack)
    mask = background_mask(preprocessing).to(device)
    order = torch.randperm(len(stack), generator=stream(seed, "survey"))[:most]
    share = torch.from_numpy(np.bincount(group) / len(group)).float().to(device)
    sums = torch.zeros(2, len(share), preprocessing.box // 2 + 1, device=device)
    seen = torch.zeros_like(share)
    for rows in torch.split(order, SURVEY_BATCH):
        images = read_working(stack, rows, preprocessing, device)
        of_rows = group[rows.numpy()]
        for number in np.unique(of_rows):
            some = images[torch.from_numpy(of_rows == number).to(device)]
            powers = masked_radial_power(some, mask), radial_power(some)
            sums[:, number] += len(some) * torch.stack(powers)
            seen[number] += len(some)
    rim, raw = steadied(sums, seen)
    rim = torch.stack([smooth(power) for power in rim])
    if is_white:
        rim = rim[:, 1:-1].mean(1, keepdim=True).expand_as(rim).contiguous()
    return Spectra(rim, raw, share)


def steadied(sums: Tensor, seen: Tensor) -> Tensor:
    """(2, G, S) mean powers; the shapes of small groups lean towards that of all.

    Args:
        sums: (2, G, S) of the powers of rims and whole images.
        seen: (G,) images that were summed.
    """
    own = sums / seen.clamp(min=1)[:, None]
    level = own[0, :, 1:-1].mean(-1, keepdim=True)  # of each rim
    common = sums.sum(1) / seen.sum()
    level = torch.where(seen[:, None] > 0, level, common[0, 1:-1].mean())
    weight = seen[:, None] / OWN
    all_shapes = common[:, None] / common[0, 1:-1].mean()
    shape = (weight * own / level + all_shapes) / (weight + 1)
    return own if len(seen) == 1 else level * shape


def smooth(power: Tensor) -> Tensor:
    """Fit a cubic to the logarithm of a noise spectrum, shells weighted by their modes.

    Single shells of the rim are uncertain by a percent or two, as much as the signal
    in the higher ones; the spectrum of noise is smooth.

    Args:
        power: (D//2+1,) power per shell; the first (removed mean) and the last
            (emptied by a Fourier crop) are not used.

    Returns:
        (D//2+1,) smooth power.
    """
    position = torch.linspace(0, 1, len(power), dtype=torch.float64)
    powers = torch.stack([position**n for n in range(4)], dim=1)
    weight = position[1:-1, None].sqrt()
    used = power[1:-1].double().cpu()
    # A shell whose estimate came out at zero must not bend the others.
    target = used.clamp(min=float(used.median()) / 10).clamp(min=1e-30).log()[:, None]
    fit = torch.linalg.lstsq(weight * powers[1:-1], weight * target).solution
    smoothed: Tensor = (powers @ fit)[:, 0].exp().to(power)
    return smoothed
