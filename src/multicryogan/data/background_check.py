"""What patches of background hold, and what would spoil a run that uses them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from multicryogan.config import DataConfig, RunConfig
from multicryogan.data.background import Background, open_background
from multicryogan.data.check import SAMPLE, Report
from multicryogan.data.patches import PatchNoise, check_levels, levels, optics_groups
from multicryogan.data.preprocess import Contrast, Preprocessing, detect_contrast
from multicryogan.data.spectra import survey
from multicryogan.errors import InputError
from multicryogan.io import ParticleStack

ALIKE = (0.8, 1.25)  # ratio of noise powers not worth a note
PROTEIN = 0.25  # middle of patches over that of particles that counts as protein


def check_background(stack: ParticleStack, config: RunConfig) -> None:
    """Refuse patches of background that cannot be the noise of the particles.

    Raises:
        InputError: See `open_background` and `check_levels`.
    """
    background = open_background(stack, config.imaging.background)
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
        background = open_background(stack, run.imaging.background)
    except InputError as error:
        return replace(report, problems=(*report.problems, str(error)))
    contrast = detect_contrast(stack, SAMPLE)
    sign = {"auto": contrast.sign, "white": 1, "dark": -1}[run.data.contrast]
    group = optics_groups(stack)
    ratio = levels(stack, group, background, run.data.background_radius)
    share = np.bincount(group, minlength=len(ratio)) / len(stack)
    low, high = _ends(spectral_ratio(stack, background, run.data, sign))
    facts = (
        *report.facts,
        ("background", _counted(background)),
        ("patches lie", _placed(background)),
        (
            "patch noise",
            f"{np.nansum(share * ratio):.2f} of that of the particles' rims; at a "
            f"working box of {run.data.box} {low:.2f} at low and {high:.2f} at high "
            "resolution",
        ),
    )
    notes, problems = [], []
    if not ALIKE[0] <= low <= ALIKE[1]:
        notes.append(
            f"patches hold {low:.2f} of the power of the particles' rims at low "
            "resolution: neighbours and signal that the CTF spreads add to rims, "
            "particles or dirt to patches"
        )
    try:
        check_levels(stack, group, ratio)
    except InputError as error:
        problems.append(str(error))
    seen = _protein(contrast, detect_contrast(background.stack, SAMPLE), background)
    if seen is not None:
        problems.append(seen)
    return Report(facts, (*report.notes, *notes), (*report.problems, *problems))


def spectral_ratio(
    stack: ParticleStack, background: Background, settings: DataConfig, sign: int
) -> Tensor:
    """(D//2+1,) power of patches over that of the particles' rims in each shell."""
    preprocessing = Preprocessing.of(settings, settings.box, sign)
    group = optics_groups(stack)
    spectra = survey(stack, group, preprocessing, 0, "cpu", most=SAMPLE)
    power = PatchNoise(background, preprocessing).power(group, 0)
    return spectra.share @ (power / spectra.rim)


def _ends(ratio: Tensor) -> tuple[float, float]:
    """Mean of the first and of the last quarter of the shells."""
    used = ratio[1:-1]
    modes = torch.arange(1, len(used) + 1).to(used)
    part = max(len(used) // 4, 1)
    low, high = (
        float((used * modes)[some].sum() / modes[some].sum())
        for some in (slice(None, part), slice(-part, None))
    )
    return low, high


def _counted(background: Background) -> str:
    patches, particles = len(background.stack), len(background.pool)
    return f"{patches:,} patches, {particles / patches:.3g} particles to each"


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


def _protein(
    particles: Contrast, patches: Contrast, background: Background
) -> str | None:
    """Say that the middle of patches differs from their rim as that of particles does.

    The z-score of n images is their mean over its deviation, times the root of n.
    """
    if "unclear" in particles.text or "unclear" in patches.text:
        return None
    counts = [min(SAMPLE, len(each)) for each in (background.pool, background.stack)]
    ours, theirs = (
        each.evidence / count**0.5
        for each, count in zip((particles, patches), counts, strict=True)
    )
    if abs(theirs) < PROTEIN * abs(ours):
        return None
    return (
        f"the middle of patches differs from their rim by {theirs / ours:+.0%} of what "
        f"it does in particles: {background.stack.path} holds particles, or was picked "
        "by their absence; take patches at random places of empty ice"
    )
