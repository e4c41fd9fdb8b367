"""Measured noise: patches of empty ice in place of noise drawn from a spectrum.

A patch goes through the operations of a particle and keeps its intensity: the noise of
one micrograph may be stronger than that of another, and both files are extracted alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multicryogan.data.background import Background, Codes
from multicryogan.data.preprocess import Preprocessing, spread_rows
from multicryogan.data.spectra import SURVEY_BATCH, SURVEYED, smooth, steadied
from multicryogan.errors import InputError
from multicryogan.fourier import shell_mean
from multicryogan.io import ParticleStack
from multicryogan.rng import stream

TURNS = 8  # by multiples of 90 degrees, and mirrored
COMPARED = 400  # particles whose rims are compared with patches
LEVELS = (0.5, 2.0)  # patches' variance over that of rims; beyond: not the same noise
AT_ONCE = 50  # images of full size in memory


@dataclass(frozen=True, slots=True)
class PatchNoise:
    """Real noise for simulated images, drawn with the optics of a particle.

    Patches are turned by multiples of 90 degrees and mirrored, so that each stands for
    eight: a network with many weights would learn few patches by heart. The law of
    uniformly seen particles has the same symmetries. Where the CTF is astigmatic, the
    Thon rings of a turned patch no longer have the axes of the optics that it is drawn
    with. Their mean over each ring stays, which is all that templates and likelihood
    look at.

    Attributes:
        background: The patches.
        preprocessing: That of the particles.
        device: Where images go.
    """

    background: Background
    preprocessing: Preprocessing
    device: str = "cpu"

    def draw(
        self, row: Tensor | None, count: int, generator: torch.Generator
    ) -> Tensor:
        """Draw the noise of some images.

        Args:
            row: (B,) particles whose optics the images have; None: any particles.
            count: Number of images B.
            generator: Stream to draw from, on the CPU.

        Returns:
            (B, D, D) noise of working images, with the grey level of the file.
        """
        if row is None:
            every = len(self.background.pool)
            row = torch.randint(every, (count,), generator=generator)
        patches = self.background.choose(row, generator)
        turns = torch.randint(TURNS, (count,), generator=generator)
        return turned(self._read(patches), turns)

    def power(self, group: Codes, seed: int) -> Tensor:
        """Measure the noise that is drawn for each optics group.

        A patch counts as often as it is drawn. Groups of few patches lean towards the
        others, and shells towards a smooth spectrum.

        Args:
            group: (N,) optics group of each particle.
            seed: Of the choice of patches, where they are many.

        Returns:
            (G, D//2+1) mean power per mode of each shell.
        """
        pairs = np.stack((group, self.background.share_out()), axis=1)
        pairs, uses = np.unique(pairs, axis=0, return_counts=True)
        order = torch.randperm(len(pairs), generator=stream(seed, "survey/patches"))
        groups, shells = int(group.max()) + 1, self.preprocessing.box // 2 + 1
        sums = torch.zeros(groups, shells, device=self.device)
        total, squares = torch.zeros(2, groups, 1, device=self.device)
        for some in torch.split(order[:SURVEYED], SURVEY_BATCH):
            of_group, patches = torch.from_numpy(pairs[some.numpy()]).unbind(1)
            weight = torch.zeros(groups, len(some))
            often = torch.from_numpy(uses[some.numpy()]).float()
            weight[of_group, torch.arange(len(some))] = often
            weight = weight.to(self.device)
            sums += weight @ power_of_each(self._read(patches))
            total += weight.sum(1, keepdim=True)
            squares += weight.square().sum(1, keepdim=True)
        seen = total.square() / squares.clamp(min=1)  # patches, were all as frequent
        mean = sums / total.clamp(min=1)
        (power,) = steadied((mean * seen)[None], seen[:, 0])
        return torch.stack([settled(own, float(seen.sum())) for own in power])

    def _read(self, patches: Tensor) -> Tensor:
        return self.background.read(patches, self.preprocessing, self.device)


def turned(images: Tensor, turns: Tensor) -> Tensor:
    """Turn (B, D, D) images by `turns` (B,), 0 to 3 times 90 degrees; 4 to 7: mirrored.

    Noise has no centre: pixels only change places, also in even boxes.
    """
    changed = images.clone()
    for turn in range(1, TURNS):
        some = (turns == turn).to(images.device)
        own = images[some].flip(-1) if turn >= TURNS // 2 else images[some]
        changed[some] = own.rot90(turn % 4, (-2, -1))
    return changed


def power_of_each(images: Tensor) -> Tensor:
    """(B, D//2+1) power of each of (B, D, D) images without its mean."""
    box = images.shape[-1]
    centred = images - images.mean((-2, -1), keepdim=True)
    spectrum = torch.fft.rfft2(centred, norm="ortho")
    return shell_mean(spectrum.abs().square(), box)


def settled(power: Tensor, count: float) -> Tensor:
    """Lean each shell towards a smooth spectrum, as far as few patches leave it open.

    The power of πk modes in `count` patches has a relative variance of 1 / (πk count).
    What shells scatter beyond that is real: the Thon rings of the ice.

    Args:
        power: (D//2+1,) mean power per mode. Of the first shell (removed mean) and the
            last (emptied by a Fourier crop) the smooth value is taken.
        count: Number of patches.

    Returns:
        (D//2+1,) power.
    """
    curve = smooth(power)
    modes = math.pi * torch.arange(len(power)).to(power)
    variance = 1 / (modes * count).clamp(min=1e-30)
    beyond = (power / curve).clamp(min=0.1).log()
    scatter = (beyond.square() - variance)[1:-1] @ modes[1:-1] / modes[1:-1].sum()
    trust = scatter.clamp(min=0) / (scatter.clamp(min=0) + variance)
    trust[[0, -1]] = 0.0
    return curve * (trust * beyond).exp()


def levels(
    stack: ParticleStack, group: Codes, background: Background, radius: float
) -> NDArray[np.float64]:
    """Compare the variance of patches with that of the rims of particles beside them.

    Pixels are those of the files, where shot noise outweighs neighbours and signal.

    Args:
        stack: N particles.
        group: (N,) optics group of each.
        background: Their patches.
        radius: Outside which pixels count as rim, as a share of half the box.

    Returns:
        (G,) median ratio of each group; NaN where no particle of it was looked at.
    """
    rows = spread_rows(len(stack), min(COMPARED, len(stack)))
    patches = torch.from_numpy(background.share_out())[rows]
    ratio = _variances(background.stack, patches, 0.0) / _variances(stack, rows, radius)
    number = group[rows.numpy()]
    found = np.full(int(group.max()) + 1, np.nan)
    for own in np.unique(number):
        found[own] = float(np.median(ratio[number == own]))
    return found


def check_levels(
    stack: ParticleStack, group: Codes, ratio: NDArray[np.float64]
) -> None:
    """Refuse patches that were not brought to the grey levels of the particles.

    Args:
        stack: The particles.
        group: (N,) optics group of each.
        ratio: (G,) `levels`.

    Raises:
        InputError: In one group at least the variance is another.
    """
    low, high = LEVELS
    for number in np.flatnonzero((ratio < low) | (ratio > high)):
        row = int(np.flatnonzero(group == number)[0])
        times = f"{ratio[number]:.2g}" if ratio[number] >= 1e-3 else "less than 0.001"
        raise InputError(
            f"patches of background vary {times} times as much as the rims "
            f"of the particles of their optics group (as row {row + 1} of "
            f"{stack.path}); extract and normalise both alike"
        )


def _variances(
    stack: ParticleStack, rows: Tensor, radius: float
) -> NDArray[np.float64]:
    """(B,) variance of the pixels outside a radius, as a share of half the box."""
    variance = np.empty(len(rows))
    for some in torch.split(torch.arange(len(rows)), AT_ONCE):
        for here, _, images in stack.images_by_grid(rows[some]):
            box = images.shape[-1]
            offset = np.arange(box) - box // 2
            outside = np.hypot(offset[:, None], offset) >= radius * box / 2
            own = images[:, outside].astype(np.float64)
            variance[some[here].numpy()] = own.var(axis=1)
    return variance.clip(min=np.finfo(np.float64).tiny)
