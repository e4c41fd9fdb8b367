"""How a run changes with its progress, 0 at the start and 1 at the end."""

from __future__ import annotations

import math
from dataclasses import dataclass

from multicryogan.config import RunConfig

MIN_COARSE_BOX = 16


@dataclass(frozen=True, slots=True)
class Schedule:
    """Box, low-pass, learning rates and motion as functions of progress."""

    config: RunConfig

    @property
    def boxes(self) -> tuple[int, ...]:
        """Boxes of the stages, coarse first."""
        box = self.config.data.box
        coarse = box // 2 + (box // 2) % 2
        if self.config.train.coarse_share <= 0 or coarse < MIN_COARSE_BOX:
            return (box,)
        return (coarse, box)

    def stage(self, progress: float) -> int:
        """Index of the stage that is due."""
        is_coarse = progress < self.config.train.coarse_share
        return 0 if is_coarse else len(self.boxes) - 1

    def shell(self, progress: float) -> float:
        """Low-pass in Fourier pixels, which mean the same resolution at every box."""
        train, box = self.config.train, self.config.data.box
        if train.start_shell <= 0 or train.low_pass_share <= 0:
            return float(box)
        opened = min(progress / train.low_pass_share, 1.0)
        return train.start_shell + opened * (box / 2 - train.start_shell)

    def degrees(self, progress: float) -> int:
        """Degrees of the motion that may act: none, the first alone, ..., all."""
        train, latent = self.config.train, self.config.latent
        all_degrees = math.ceil(self.config.generator.components / latent.dimensions)
        if progress < train.motion_start:
            return 0
        if progress >= train.motion_full:
            return all_degrees
        opened = (progress - train.motion_start) / (
            train.motion_full - train.motion_start
        )
        return 1 + int(opened * (all_degrees - 1))

    def phase(self, progress: float) -> str:
        """Say what is being found."""
        train = self.config.train
        if progress < train.motion_start:
            return "one shape"
        return "motion opens" if progress < train.motion_full else "motion"

    def rate_factor(self, progress: float) -> float:
        """Factor on all learning rates: one, then an exponential decay."""
        train = self.config.train
        if progress <= train.rate_decay_start:
            return 1.0
        decayed = (progress - train.rate_decay_start) / (1 - train.rate_decay_start)
        return float(train.rate_decay_factor ** min(decayed, 1.0))
