"""Whether a reconstruction explains the images as well as it claims to.

If the volumes, the poses and the noise are right, real images are draws from the same
law as simulated ones, and so are their marginal likelihoods. A reconstruction that is
stuck in a false optimum (moved or overfitted density) explains its own images far
better than the real ones. No truth is needed to see it.

The gap hardly sees what claims a little less than it could: a blurred volume, the mean
of states that the run confused. A collapse shows in the motion instead: all volumes
together then explain the images no better than the best single one, as those of a rigid
molecule do. A volume that only turns along the latent gains a little there, as poses
are a grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.imaging import CTFParams
from multicryogan.likelihood.marginal import (
    ImageLaw,
    Score,
    log_mean_exp,
    marginal_log_likelihood,
    mean_score,
    pose_posterior,
)

CLEAR = 4.0  # standard errors ...
LARGE = 0.05  # ... and share of what the simulated images say
WEAK = 0.25  # share by which real images may say more: the result claims too little
LEAST = 0.3  # nats of motion; a volume that only turns along the latent gains 0.1


@dataclass(frozen=True, slots=True)
class Fit:
    """Evidence for a reconstruction, in nats per image over noise alone."""

    real: Score  # of held-out real images
    simulated: Score  # of its own images
    motion: Score  # of real images: all volumes less the best one or their mean

    @property
    def gap(self) -> Score:
        """How much better it explains its own images."""
        a, b = self.simulated, self.real
        error = (a.standard_error**2 + b.standard_error**2) ** 0.5
        return Score(a.mean - b.mean, error)

    @property
    def is_sound(self) -> bool:
        """Whether real images are explained, and as well as simulated ones."""
        gap, own = self.gap, abs(self.simulated.mean)
        if self.real.mean <= CLEAR * self.real.standard_error:
            return False
        if abs(gap.mean) <= CLEAR * gap.standard_error:
            return True
        return -WEAK * own <= gap.mean <= LARGE * own

    @property
    def moves(self) -> bool:
        """Whether the volumes together explain real images better than one alone."""
        motion = self.motion
        return motion.mean > max(CLEAR * motion.standard_error, LEAST)

    def text(self) -> str:
        """Say it in a line."""
        motion = f"{self.motion.mean:.2f} +- {self.motion.standard_error:.2f} nats"
        numbers = (
            f"held-out images {self.real.mean:.1f} +- {self.real.standard_error:.1f} "
            f"nats over noise alone, its own images {self.simulated.mean:.1f} +- "
            f"{self.simulated.standard_error:.1f}; "
        ) + (
            f"its motion explains them better than one volume does, by {motion}"
            if self.moves
            else f"one volume explains them as well as its motion ({motion}): the "
            "molecule is rigid, or its motion was not found"
        )
        if self.is_sound:
            return f"the result explains the images as well as it claims: {numbers}"
        return (
            f"the result does NOT explain the images as well as it claims: {numbers}; "
            "it is unfinished or in a false optimum: train longer or with another "
            "--seed; or the particles are not centred, not seen from all sides, or "
            "their optics are wrong"
        )


def measure_fit(
    volumes: Tensor,
    real: tuple[Tensor, CTFParams | None],
    simulated: tuple[Tensor, CTFParams | None],
    rotations: Tensor,
    law: ImageLaw,
) -> Fit:
    """Compare how volumes explain real images and images made from them.

    Args:
        volumes: (V, D, D, D) equally likely conformations, densities (z, y, x).
        real: (B, D, D) raw held-out images, B >= 2, and their optics (B,).
        simulated: The same of images made from the volumes' own law.
        rotations: (M, 3, 3) equally likely poses A, r_image = A r_volume.
        law: Of the images.

    Returns:
        The means with their errors.
    """
    rivals = torch.cat((volumes, volumes.mean(0, keepdim=True)))
    single = pose_posterior(*real, rivals, rotations, law).log_mean  # (B, V + 1)
    together = log_mean_exp(single[:, :-1])
    best = single[:, single.mean(0).argmax()]
    own = marginal_log_likelihood(*simulated, volumes, rotations, law)
    return Fit(mean_score(together), mean_score(own), mean_score(together - best))
