"""What patches of background hold, and what would spoil a run that uses them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor

from multicryogan.config import DataConfig, RunConfig
from multicryogan.data.background import Background, open_background
from multicryogan.data.check import MEASURABLE, SAMPLE, Report
from multicryogan.data.optics import optics_groups
from multicryogan.data.patches import AT_ONCE, PatchNoise, check_levels, levels
from multicryogan.data.preprocess import (
    Contrast,
    Preprocessing,
    detect_contrast,
    spread_rows,
)
from multicryogan.data.signal import CLEAR, measure_power
from multicryogan.errors import InputError
from multicryogan.io import ParticleStack

UNLIKE = 0.2  # relative difference of noise powers worth a note
LEAST = 20  # different patches: fewer are learnt by heart
LOOKED_AT = 400  # patches that are told apart
PROTEIN = 0.25  # middle of patches over that of particles that counts as protein


def check_background(stack: ParticleStack, config: RunConfig) -> None:
    """Refuse patches of background that cannot be the noise of the particles.

    Raises:
        InputError: They are few, or see `open_background` and `check_levels`.
    """
    background = _open_many(stack, config.imaging.background)
    group = optics_groups(stack)
    ratio = levels(stack, group, background, config.data.background_radius)
    check_levels(stack, group, ratio)


def inspect_background(report: Report, stack: ParticleStack, run: RunConfig) -> Report:
    """Look at patches as training would.

    Args:
        report: On the particles.
        stack: The particles, which have no problem.
        run: Names the patches.

    Returns:
        The report with what was found added.
    """
    try:
        background = _open_many(stack, run.imaging.background)
    except InputError as error:
        return replace(report, problems=(*report.problems, str(error)))
    contrast = detect_contrast(stack, SAMPLE)
    sign = {"auto": contrast.sign, "white": 1, "dark": -1}[run.data.contrast]
    group = optics_groups(stack)
    ratio = levels(stack, group, background, run.data.background_radius)
    share = np.bincount(group, minlength=len(ratio)) / len(stack)
    level = f"{np.nansum(share * ratio):.2f} of that of the particles' rims"
    notes, problems = [], []
    if len(stack) >= MEASURABLE:
        low, high = compare_power(stack, background, run.data, sign)
        where = f"at a working box of {run.data.box}"
        level += f"; {where} {low} at low and {high} at high resolution"
        if low.is_unlike(1.0):
            notes.append(
                f"patches hold {low} of the power of the particles' rims at low "
                "resolution: neighbours and signal that the CTF spreads add to rims, "
                "dirt and particles to patches"
            )
    facts = (
        ("background", _counted(background)),
        ("patches lie", _placed(background)),
        ("patch noise", level),
    )
    try:
        check_levels(stack, group, ratio)
        _check_protein(contrast, background)
    except InputError as error:
        problems.append(str(error))
    return Report(
        (*report.facts, *facts),
        (*report.notes, *notes),
        (*report.problems, *problems),
    )


def _open_many(stack: ParticleStack, path: str) -> Background:
    """Open patches of background that are many enough to stand for noise.

    Raises:
        InputError: There are few, or see `open_background`.
    """
    background = open_background(stack, path)
    patches = background.stack
    rows = spread_rows(len(patches), min(LOOKED_AT, len(patches)))
    seen = {
        blake2b(image.tobytes()).digest()
        for some in torch.split(rows, AT_ONCE)
        for _, _, images in patches.images_by_grid(some)
        for image in images
    }
    if len(seen) < LEAST:
        raise InputError(
            f"{patches.path}: {len(seen)} different patches of background among "
            f"{len(rows)}; give {LEAST} or more, at different places of empty ice"
        )
    return background


@dataclass(frozen=True, slots=True)
class Ratio:
    """Power of patches over that of rims, with its standard error."""

    value: float
    error: float

    def __str__(self) -> str:
        """Value and error."""
        return f"{self.value:.2f} +- {self.error:.2f}"

    def is_unlike(self, other: float) -> bool:
        """Whether it clearly differs from `other` by more than a fifth of that."""
        distance = abs(self.value - other)
        return distance > max(UNLIKE * other, CLEAR * self.error)


def compare_power(
    stack: ParticleStack, background: Background, settings: DataConfig, sign: int
) -> tuple[Ratio, Ratio]:
    """Compare patches and rims in the first and in the last quarter of the shells.

    Rims have few pixels: much of the error of the ratio is theirs.
    """
    preprocessing = Preprocessing.of(settings, settings.box, sign)
    group = optics_groups(stack)
    share = torch.from_numpy(np.bincount(group) / len(group)).float()
    patches = share @ PatchNoise(background, preprocessing).power(group, 0)
    rims = measure_power(stack, preprocessing, SAMPLE).rim  # (B, D//2+1)
    shells = torch.arange(1, settings.box // 2)
    part = max(len(shells) // 4, 1)
    low, high = (
        _ratio(patches[band], rims[:, band], band, len(background.stack))
        for band in (shells[:part], shells[-part:])
    )
    return low, high


def _ratio(patches: Tensor, rims: Tensor, band: Tensor, count: int) -> Ratio:
    """Ratio in some shells (S,): of `count` patches, and rims (B, S) in blocks."""
    modes = band.float()
    ours, theirs = float(patches @ modes), (rims @ modes).clamp(min=1e-30)
    rim, scatter = float(theirs.mean()), float(theirs.std()) / len(theirs) ** 0.5
    of_patches = (torch.pi * float(modes.sum()) * count) ** -0.5
    value = ours / rim
    return Ratio(value, value * ((scatter / rim) ** 2 + of_patches**2) ** 0.5)


def _counted(background: Background) -> str:
    patches, particles = len(background.stack), len(background.pool)
    share = f"{particles / patches:.3g}"
    return f"{patches:,} patches, {share} particle{'s' * (share != '1')} to each"


def _placed(background: Background) -> str:
    """How many micrographs have patches."""
    names, near = background.micrograph, background.is_near
    if names is None:
        return "anywhere in their optics group: no micrographs are named in both files"
    count, own = len(np.unique(names)), len(np.unique(names[near]))
    if own == count:
        return f"in all {count:,} micrographs of the particles"
    lacking = int((~near).sum())
    return (
        f"in {own:,} of {count:,} micrographs; {lacking:,} particles of the others "
        "have patches of their optics group"
    )


def _check_protein(particles: Contrast, background: Background) -> None:
    """Refuse patches whose middle differs from their rim as that of particles does.

    The z-score of n images is their mean over its deviation, times the root of n.

    Raises:
        InputError: They do.
    """
    patches = detect_contrast(background.stack, SAMPLE)
    if "unclear" in particles.text or "unclear" in patches.text:
        return
    counts = [min(SAMPLE, len(each)) for each in (background.pool, background.stack)]
    ours, theirs = (
        each.evidence / count**0.5
        for each, count in zip((particles, patches), counts, strict=True)
    )
    if abs(theirs) >= PROTEIN * abs(ours):
        raise InputError(
            f"the middle of patches differs from their rim by {theirs / ours:+.0%} of "
            f"what it does in particles: {background.stack.path} holds particles, or "
            "was picked by their absence; take patches at random places of empty ice"
        )
