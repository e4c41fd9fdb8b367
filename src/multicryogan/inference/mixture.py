"""The weights of a mixture that explain images best, rough ones held back.

The objective of `inference.populations`, and its maximum: Newton's steps on parabolas
over images, each climbed by steps that cannot fall.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

ENTRIES_AT_ONCE = 2**21  # numbers of a block in memory
PASSES, CLIMBS = 50, 2_000
SETTLED = 0.01  # nats of all images together that a pass still gains
STILL = 1e-4  # nats of all images together that a step still gains
AWAKE = 1e-3  # least weight at the start of a climb: from zero none would rise
LEAST = 1e-12


@dataclass(frozen=True, slots=True)
class Roughness:
    """λ Σ (√w_v - √w_u)² over neighbours.

    Attributes:
        strength: λ.
        tie: (V, V) 1 for neighbours; the diagonal gives each row the same sum.
    """

    strength: float
    tie: Tensor

    @property
    def load(self) -> float:
        """What the penalty takes from the slope of every weight."""
        return self.strength * float(self.tie[0].sum())

    def pull(self, weights: Tensor) -> Tensor:
        """(R, V) λ Σ_u √(w_v w_u): neighbours' part of a weight."""
        root = weights.sqrt()
        return self.strength * root * (root @ self.tie)

    def of(self, weights: Tensor) -> Tensor:
        """(R,) penalties of (R, V) weights."""
        return self.load * weights.sum(-1) - self.pull(weights).sum(-1)


@dataclass(frozen=True, slots=True)
class Parabola:
    """The mean log likelihood of images to second order about some weights.

    Attributes:
        weights: (V,) where.
        gradient: (V,) mean of l_iv / l_i, l_i = Σ_v w_v l_iv.
        curvature: (V, V) mean of l_iv l_iu / l_i².
        log_mixture: (N,) log l_i.
    """

    weights: Tensor
    gradient: Tensor
    curvature: Tensor
    log_mixture: Tensor


def fit_weights(
    likelihood: Tensor, images: Tensor, roughness: Roughness, start: Tensor
) -> Parabola:
    """Maximise the likelihood of (N,) weighted images less roughness, by Newton."""
    count = float(images.sum())
    here = _expand(likelihood, images, start)
    value = _value(here, images, roughness)
    for _ in range(PASSES):
        linear = here.gradient - 1 + here.curvature @ here.weights
        bend, still = here.curvature, STILL / count
        trial = climb(linear[None], bend, roughness, here.weights[None], still)[0]
        there = _expand(likelihood, images, trial)
        gain = _value(there, images, roughness) - value
        while gain < -still:  # the parabola led too far
            trial = 0.5 * (trial + here.weights)
            there = _expand(likelihood, images, trial)
            gain = _value(there, images, roughness) - value
        here, value = there, value + gain
        if gain < SETTLED / count:
            break
    return here


def _value(at: Parabola, images: Tensor, roughness: Roughness) -> float:
    """Penalised log likelihood per image."""
    images = images.double()
    mean = images @ at.log_mixture / images.sum()
    return float(mean - at.weights.sum() - roughness.of(at.weights))


def _expand(likelihood: Tensor, images: Tensor, weights: Tensor) -> Parabola:
    """Sum over (N, V) likelihoods, in blocks and double precision."""
    gradient = torch.zeros_like(weights)
    curvature = gradient.new_zeros(len(weights), len(weights))
    logs = []
    rows = ENTRIES_AT_ONCE // len(weights)
    tables = torch.split(likelihood, rows), torch.split(images, rows)
    for block, some in zip(*tables, strict=True):
        mixture = block.double() @ weights
        ratio = block.double() / mixture[:, None]
        weighed = some.double()[:, None] * ratio
        gradient = gradient + weighed.sum(0)
        curvature = curvature + weighed.T @ ratio
        logs.append(mixture.log())
    total = images.double().sum()
    return Parabola(weights, gradient / total, curvature / total, torch.cat(logs))


def climb(
    linear: Tensor,
    curvature: Tensor,
    roughness: Roughness,
    start: Tensor,
    enough: float,
) -> Tensor:
    """Maximise w·linear - w·curvature·w / 2 - roughness over w >= 0.

    Steps that cannot fall, accelerated where that is higher still (SQUAREM: Varadhan &
    Roland 2008, Scand. J. Stat. 35, 335), until none of the R problems, (R, V) linear
    and start, gains enough.
    """

    def step(w: Tensor) -> Tensor:
        return _step(w, linear, curvature, roughness)

    def value(w: Tensor) -> Tensor:
        bent = 0.5 * (w @ curvature * w).sum(1)
        return (w * linear).sum(1) - bent - roughness.of(w)

    here = start.clamp(min=AWAKE)
    reached = value(here)
    for _ in range(CLIMBS):
        one = step(here)
        two = step(one)
        first = (one / here).log()
        bend = (two / one).log() - first
        far = first.norm(dim=1) / bend.norm(dim=1).clamp(min=LEAST)
        far = far.clamp(min=1)[:, None]
        ahead = here.log() + 2 * far * first + far.square() * bend
        ahead = step(ahead.clamp(math.log(LEAST), 1).exp())
        high, higher = value(two), value(ahead)
        here = torch.where((higher > high)[:, None], ahead, two)
        high = torch.maximum(high, higher)
        if float((high - reached).max()) < enough:
            break
        reached = high
    return here


def _step(
    weights: Tensor, linear: Tensor, curvature: Tensor, roughness: Roughness
) -> Tensor:
    """Raise the objective of `climb`: maximise a bound below it that touches it at w'.

    Per conformation slope w - bow w² / 2 + pull log w: Sha et al. 2007, Neural Comput.
    19, 2004, and √(w_v w_u) >= √(w'_v w'_u) (1 + log(w_v w_u / w'_v w'_u) / 2).
    """
    slope = linear - roughness.load
    bow = weights @ curvature / weights
    pull = roughness.pull(weights)
    root = (slope.square() + 4 * bow * pull).sqrt()
    # Both are the root; each is exact where the other is a difference.
    up = (slope + root) / (2 * bow)
    down = 2 * pull / (root - slope).clamp(min=LEAST)
    return torch.where(slope > 0, up, down).clamp(min=LEAST)
