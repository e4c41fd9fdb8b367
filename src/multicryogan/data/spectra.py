"""Power spectra of the particles: of noise at their rims, and in all."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.data.preprocess import (
    Preprocessing,
    background_mask,
    below_nyquist,
    working_images,
)
from multicryogan.fourier import shell_index, shell_weights
from multicryogan.imaging.noise import masked_radial_power, radial_power
from multicryogan.io import ParticleStack
from multicryogan.rng import stream

SURVEYED = 20_000  # images that the spectra are measured on
SURVEY_BATCH = 500


@dataclass(frozen=True, slots=True)
class Spectra:
    """Mean power per mode of each shell of working images, all (D//2+1,).

    Attributes:
        rim: Outside the background radius, smoothed: noise and a little delocalised
            signal.
        raw: Of whole images.
    """

    rim: Tensor
    raw: Tensor

    def standard_noise(self) -> Tensor:
        """(D//2+1,) power of noise after `standardise`.

        Its pixels have unit variance once modes at Nyquist and beyond are gone.
        """
        box = 2 * (len(self.rim) - 1)
        shells = shell_index(box, like=self.rim).clamp(max=box // 2)
        inside = below_nyquist(box).to(self.rim)
        modes = shell_weights(box, like=self.rim) * inside
        return self.rim * box**2 / (self.rim[shells] * modes).sum()

    def shell_snr(self) -> Tensor:
        """(D//2+1,) mean power of signal over that of noise in each shell."""
        return (self.raw - self.rim) / self.rim

    def snr(self) -> float:
        """Signal variance over noise variance of working images, at least 0."""
        modes = torch.arange(1, len(self.raw) - 1).to(self.raw)
        noise = self.rim[1:-1] @ modes
        return max(float((self.raw[1:-1] @ modes - noise) / noise), 0.0)


def survey(
    stack: ParticleStack,
    preprocessing: Preprocessing,
    seed: int,
    device: str,
    *,
    is_white: bool = False,
    most: int = SURVEYED,
) -> Spectra:
    """Measure the spectra on random particles.

    Args:
        stack: Particles.
        preprocessing: Working box, sign and background radius.
        seed: Of the choice of particles.
        device: Where to compute.
        is_white: Take the rim's power as the same in every shell.
        most: At most so many particles are read.

    Returns:
        The spectra.
    """
    mask = background_mask(preprocessing).to(device)
    order = torch.randperm(len(stack), generator=stream(seed, "survey"))[:most]
    sums = torch.zeros(2, preprocessing.box // 2 + 1, device=device)
    for rows in torch.split(order, SURVEY_BATCH):
        raw = torch.from_numpy(stack.images(rows.numpy())).to(device)
        images = working_images(raw, preprocessing)
        powers = (
            masked_radial_power(images, mask),
            radial_power(images),
        )
        sums += len(rows) * torch.stack(powers)
    rim, total = sums / len(order)
    rim = smooth(rim)
    if is_white:
        rim = torch.full_like(rim, float(rim[1:-1].mean()))
    return Spectra(rim, total)


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
