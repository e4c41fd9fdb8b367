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

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from multicryogan.imaging import CTFParams
from multicryogan.likelihood import Examination, Manifold, Score, evidence, mean_score
from multicryogan.priors import ViewLaw

CLEAR = 4.0  # standard errors ...
LARGE = 0.05  # ... and share of what the simulated images say
WEAK = 0.25  # share by which real images may say more: the result claims too little
FEWEST = 100  # images of an optics group that are judged by themselves
LEAST = 0.3  # nats of motion; a volume that only turns along the latent gains 0.1


@dataclass(frozen=True, slots=True)
class Claim:
    """How well a reconstruction explains images, in nats each over noise alone."""

    real: Score  # held-out real images
    simulated: Score  # its own images

    @property
    def gap(self) -> Score:
        """How much better it explains its own images."""
        a, b = self.simulated, self.real
        error = (a.standard_error**2 + b.standard_error**2) ** 0.5
        return Score(a.mean - b.mean, error)

    @property
    def is_sound(self) -> bool:
        """Whether real images are explained, and as well as simulated ones."""
        return self.fault is None

    @property
    def fault(self) -> str | None:
        """What is wrong with it, in words."""
        gap, own = self.gap, abs(self.simulated.mean)
        if self.real.mean <= CLEAR * self.real.standard_error:
            return "no better than by noise alone"
        if abs(gap.mean) <= CLEAR * gap.standard_error:
            return None
        if gap.mean > LARGE * own:
            return "less well than it claims"
        if gap.mean < -WEAK * own:
            return "far better than it claims, so that much is missing in it"
        return None

    def text(self) -> str:
        """Say it in words."""
        return (
            f"held-out images {self.real.mean:.1f} +- {self.real.standard_error:.1f} "
            f"nats over noise alone, its own images {self.simulated.mean:.1f} +- "
            f"{self.simulated.standard_error:.1f}"
        )


@dataclass(frozen=True, slots=True)
class Fit:
    """Evidence for a reconstruction.

    Attributes:
        whole: Of all images.
        groups: Of the optics groups that have `FEWEST` images of both kinds, by name:
            images that say much would hide the others.
        motion: Of real images: all volumes less the best one or their mean.
    """

    whole: Claim
    groups: dict[str, Claim]
    motion: Score

    @property
    def is_sound(self) -> bool:
        """Whether all of it is."""
        claims = (self.whole, *self.groups.values())
        return all(claim.is_sound for claim in claims)

    @property
    def faults(self) -> list[str]:
        """What is wrong, of all images and of optics groups, with the numbers."""
        claims = {"": self.whole}
        claims |= {f" of optics group {k}": v for k, v in self.groups.items()}
        return [
            f"images{of} are explained {claim.fault} ({claim.text()})"
            for of, claim in claims.items()
            if not claim.is_sound
        ]

    @property
    def moves(self) -> bool:
        """Whether the volumes together explain real images better than one alone."""
        motion = self.motion
        return motion.mean > max(CLEAR * motion.standard_error, LEAST)

    def text(self) -> str:
        """Say it in a line."""
        motion = f"{self.motion.mean:.2f} +- {self.motion.standard_error:.2f} nats"
        moved = (
            f"its motion explains them better than one volume does, by {motion}"
            if self.moves
            else f"one volume explains them as well as its motion ({motion}): the "
            "molecule is rigid, or its motion was not found"
        )
        if self.is_sound:
            return (
                "the result explains the images as well as it claims: "
                f"{self.whole.text()}; {moved}"
            )
        return (
            f"the result does NOT fit: {'; '.join(self.faults)}; {moved}; it is "
            "unfinished or in a false optimum: train longer or with another --seed; or "
            "the particles are not centred, seen from some sides more than from others "
            "(try the other --imaging.views), or their optics are wrong"
        )


def measure_fit(
    look: Examination,
    real: tuple[Tensor, CTFParams | None],
    simulated: tuple[Tensor, CTFParams | None],
    names: Sequence[str] = (),
) -> Fit:
    """Compare how conformations explain real images and images made from them.

    Shifts, contrasts and views count as the examination says: images were simulated
    by the same laws.

    Args:
        look: At V conformations, which have nothing in common.
        real: (B, D, D) raw held-out images, B >= 2, and their optics (B,).
        simulated: The same of images made from the volumes' own law.
        names: Of the optics groups; of one or none, there is nothing to tell apart.

    Returns:
        The means with their errors.
    """
    weights = look.manifold.weights
    single = replace(look, manifold=_with_mean(look.manifold)).compare(*real)
    together = evidence(single[:, :-1], weights)
    best = single[:, single.mean(0).argmax()]
    own = evidence(look.compare(*simulated), weights)
    return Fit(
        Claim(mean_score(together), mean_score(own)),
        _by_group((together, real[1]), (own, simulated[1]), names),
        mean_score(together - best),
    )


def _by_group(
    real: tuple[Tensor, CTFParams | None],
    simulated: tuple[Tensor, CTFParams | None],
    names: Sequence[str],
) -> dict[str, Claim]:
    """Judge the optics groups by themselves, where there are several."""
    group, own = (
        None if optics is None else optics.group for _, optics in (real, simulated)
    )
    if group is None or own is None or len(names) < 2:
        return {}
    claims = {}
    for number, name in enumerate(names):
        parts = real[0][group == number], simulated[0][own == number]
        if min(len(part) for part in parts) >= FEWEST:
            claims[name] = Claim(*map(mean_score, parts))
    return claims


def _with_mean(manifold: Manifold) -> Manifold:
    """Add the mean of the conformations, seen as they are in the mean."""
    volumes, weights = manifold.volumes, manifold.weights
    mean = torch.einsum("v,vzyx->zyx", weights, volumes)[None]
    views = manifold.views.weights.expand(len(volumes), -1)
    both = Manifold.separate(
        torch.cat((volumes, mean)),
        torch.cat((manifold.latents, weights[None] @ manifold.latents)),
        torch.cat((weights, weights.mean()[None])),
    )
    seen = torch.cat((views, manifold.views.mean(weights)[None]))
    return both.seen_from(ViewLaw(seen)).of_contrasts(manifold.contrast_spread)
