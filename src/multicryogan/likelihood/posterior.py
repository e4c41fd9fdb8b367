"""Where single images lie among known conformations, and how they are seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from multicryogan.likelihood.marginal import PosePosterior


@dataclass(frozen=True, slots=True)
class Placement:
    """The posterior of each of B images over V conformations and M poses.

    Attributes:
        latent: (B, d) mean of the latent.
        latent_spread: (B, d) its standard deviation.
        conformation_weight: (B, V) posterior weights; rows sum to one.
        conformation: (B,) int64 index of the conformation of the best pair.
        pose: (B,) int64 index of the pose of the best pair.
        shift_px: (B, 2) its in-plane shift (x, y).
        pair_weight: (B,) posterior weight of that pair; 1 leaves no doubt.
        entropy: (B,) of the posterior over pairs, in nats; log(V M) at most.
        log_likelihood: (B,) log p(y) / p(y | noise) over all pairs, in nats.
    """

    latent: Tensor
    latent_spread: Tensor
    conformation_weight: Tensor
    conformation: Tensor
    pose: Tensor
    shift_px: Tensor
    pair_weight: Tensor
    entropy: Tensor
    log_likelihood: Tensor

    @staticmethod
    def join(parts: Sequence[Placement]) -> Placement:
        """Put those of several blocks of images together, on the CPU."""
        joined = {
            field.name: torch.cat([getattr(part, field.name).cpu() for part in parts])
            for field in fields(Placement)
        }
        return Placement(**joined)


def place(found: PosePosterior, latents: Tensor, weights: Tensor) -> Placement:
    """Weigh conformations by Bayes' rule, under equally likely poses.

    Args:
        found: Of B images and V volumes.
        latents: (V, d) of the volumes.
        weights: (V,) prior weights of the volumes, not negative; scale plays no part.

    Returns:
        The posterior of every image.

    Raises:
        ValueError: If a weight is negative, or none is positive.
    """
    if not (bool((weights >= 0).all()) and float(weights.sum()) > 0):
        raise ValueError(f"expected weights of at least 0, got {weights.tolist()}")
    prior = (weights / weights.sum()).log().to(found.log_mean)
    joint = prior + found.log_mean  # (B, V)
    log_likelihood = joint.logsumexp(1)
    share = (joint - log_likelihood[:, None]).exp()
    values = latents.to(share)
    mean = share @ values
    offset = values - mean[:, None]  # (B, V, d)
    spread = (share[..., None] * offset.square()).sum(1).sqrt()
    best, conformation = (prior + found.best).max(1)
    pose = found.pose.gather(1, conformation[:, None])[:, 0]
    shift = found.shift_px[torch.arange(len(best)), conformation]
    return Placement(
        latent=mean,
        latent_spread=spread,
        conformation_weight=share,
        conformation=conformation,
        pose=pose,
        shift_px=shift,
        pair_weight=(best - math.log(found.poses) - log_likelihood).exp(),
        entropy=(share * found.entropy).sum(1) + torch.special.entr(share).sum(1),
        log_likelihood=log_likelihood,
    )
