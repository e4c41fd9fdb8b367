"""What an assignment says of all particles together: shares, and what may be amiss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from multicryogan.evaluation import widest_step
from multicryogan.inference.assignment import Assignment
from multicryogan.inference.populations import Shares, group_shares, latent_density

FINDINGS = "findings.json"
ALIKE = 0.9  # FSC area of neighbours above which they are no two states
FEWEST = 100  # particles that shares are estimated from
LEAST_TOLD = 10.0  # particles whose state is known, that all together tell as much as


@dataclass(frozen=True, slots=True)
class Findings:
    """Shares of the particles.

    Attributes:
        density: Over the conformations.
        cut: Number of the last conformation before the widest step between neighbours;
            None where all neighbours are alike, or the latent is no line.
        area: FSC area across that step.
        sides: Shares on both sides of it.
    """

    density: Shares
    cut: int | None
    area: float
    sides: Shares | None

    def text(self) -> str:
        """Say it in a line."""
        known = f"as good as {self.density.effective_images:,.0f} whose state is known"
        counted = f"{self.density.images:,} particles, {known}"
        if self.cut is None or self.sides is None:
            return (
                f"no sharp states along the latent ({counted}); shares of single "
                "conformations are finer than images tell"
            )
        first, second = (
            f"{100 * w:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
            for w, low, high in zip(
                self.sides.weights, self.sides.low, self.sides.high, strict=True
            )
        )
        return (
            f"a step after conformation {self.cut + 1} (FSC area {self.area:.2f} "
            f"across it): {first} of the particles before it, {second} after it; "
            f"{counted}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Give what findings.json holds; shares of both sides with their intervals."""
        sides = self.sides
        return {
            "text": self.text(),
            "images": self.density.images,
            "effective_images": self.density.effective_images,
            "cut": self.cut,
            "fsc_area_across": self.area,
            "shares": None if sides is None else sides.weights.tolist(),
            "low": None if sides is None else sides.low.tolist(),
            "high": None if sides is None else sides.high.tolist(),
        }


def untold(density: Shares) -> str | None:
    """Say that images tell next to nothing of the shares, if so.

    Smoothing alone makes them then, and their intervals are narrow for nothing.
    """
    if density.effective_images >= LEAST_TOLD:
        return None
    return (
        f"{density.images:,} particles tell as little of their conformations as "
        f"{max(density.effective_images, 0):.1f} whose state is known"
    )


def find(found: Assignment, seed: int) -> Findings | str:
    """Estimate the shares of conformations, corrected for what images leave open.

    Args:
        found: An assignment of N particles to V conformations.
        seed: Of the bootstrap.

    Returns:
        The shares, or why there are none.
    """
    weight = found.placement.conformation_weight
    count, dimensions = found.latents.shape
    if len(weight) < FEWEST or count < 2:
        return "too few particles, or one conformation"
    steps = round(count ** (1 / dimensions))
    density = latent_density(weight, found.weights, (steps,) * dimensions, seed)
    reason = untold(density)
    if reason is not None:
        return reason
    if dimensions > 1:
        return Findings(density, None, 1.0, None)
    first, area = widest_step(found.volumes)
    if area > ALIKE:
        return Findings(density, None, area, None)
    groups = (torch.arange(count) > first).long()
    return Findings(density, first, area, group_shares(density, groups))


def share_table(found: Assignment, density: Shares) -> dict[str, Tensor]:
    """Name the columns of a table with a row per conformation."""
    columns = {f"latent_{i}": values for i, values in enumerate(found.latents.T)}
    return columns | {
        "share": density.weights,
        "low": density.low,
        "high": density.high,
    }
