"""The law of the imaging parameters: p_theta, p_t and p_c of Algorithm 1."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.imaging import CTFParams, ImagingParams
from multicryogan.priors.views import ViewLaw
from multicryogan.rng import stream
from multicryogan.rotations import random_rotations


@dataclass(frozen=True, slots=True)
class ImagingPrior:
    """Views, Gaussian shifts, and optics of randomly chosen particles.

    Attributes:
        optics: Optics of the data set's particles, each field (N,), or None where
            images carry no CTF. All fields of a row are drawn together, so that
            groups, defoci and astigmatism keep their joint law.
        shift_sigma_angstrom: Standard deviation of each shift component.
        seed: Seed of every draw.
        views: Law of the directions of view; none: uniform poses.
        contrast_spread: Standard deviation of the contrast, which no row tells, over
            its mean, 1; log-normal.
    """

    optics: CTFParams | None
    shift_sigma_angstrom: float
    seed: int
    views: ViewLaw | None = None
    contrast_spread: float = 0.0

    def sample(
        self, conformation: Tensor, poses: int, purpose: str, step: int
    ) -> ImagingParams:
        """Draw the parameters of `poses` images of each of V volumes.

        Args:
            conformation: (V,) row of the law of views that each volume follows.
            poses: Images per volume P.
            purpose: Separates the draws of training, previews and tests.
            step: Update at which they are drawn.

        Returns:
            Parameters of batch shape (V, P).
        """

        def draw(name: str) -> torch.Generator:
            return stream(self.seed, f"{purpose}/{name}", step=step)

        volumes = len(conformation)
        if self.views is None:
            rotation = random_rotations((volumes, poses), draw("pose"))
        else:
            rows = conformation.repeat_interleave(poses)
            drawn = self.views.sample(rows, draw("pose"))
            rotation = drawn.view(volumes, poses, 3, 3)
        shift = None
        if self.shift_sigma_angstrom > 0:
            normal = torch.randn((volumes, poses, 2), generator=draw("shift"))
            shift = self.shift_sigma_angstrom * normal
        contrast = None
        if self.contrast_spread > 0:
            variance = math.log1p(self.contrast_spread**2)  # of the logarithm
            normal = torch.randn((volumes, poses), generator=draw("contrast"))
            contrast = (math.sqrt(variance) * normal - variance / 2).exp()
        if self.optics is None:
            return ImagingParams(rotation, shift, contrast=contrast)
        count = self.optics.defocus_u_angstrom.shape[0]
        rows = torch.randint(count, (volumes * poses,), generator=draw("optics"))
        optics = self.optics.select(rows).reshape(volumes, poses)
        row = rows.view(volumes, poses)
        return ImagingParams(rotation, shift, optics, contrast, row)
