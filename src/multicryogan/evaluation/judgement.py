"""Judge volumes that were laid on the true states: shapes, order, motion, verdicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.evaluation.distribution import Distribution, compare_distributions
from multicryogan.evaluation.fsc import fsc, fsc_area, resolution_angstrom
from multicryogan.evaluation.matching import correlation_matrix
from multicryogan.evaluation.motion import Motion, compare_motion
from multicryogan.evaluation.order import Order, measure_order
from multicryogan.evaluation.populations import shares

MARGIN = 0.005  # of FSC area: ties and rounding beat nothing


@dataclass(frozen=True, slots=True)
class Resemblance:
    """How well one map resembles one true state."""

    fsc: Tensor  # (D//2+1,)
    fsc_area: float
    resolution_angstrom: float  # at FSC 0.5
    resolution_0143_angstrom: float


@dataclass(frozen=True, slots=True)
class StateScore:
    """One true state: its best match beside two maps without motion."""

    coordinate: tuple[float, ...]
    weight: float
    match: int  # index of the best-matching recovered volume
    correlation: float  # with that volume, up to the matching shell
    recovered: Resemblance  # of the best match
    mean_map: Resemblance  # of the mean of the TRUE states: the hardest baseline
    recovered_mean: Resemblance  # of the mean of the recovered volumes


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is found in one choice of frames."""

    states: tuple[StateScore, ...]  # (K) that are shown
    order: Order
    motion: Motion
    matched_shares: tuple[float, ...]  # (M), of every true state, by best match
    distribution: Distribution | None  # along one coordinate of many states
    beats_mean_map: bool
    beats_recovered_mean: bool


@dataclass(frozen=True, slots=True)
class Truth:
    """The true conformations, and the K of them that are looked at one by one."""

    states: Tensor  # (M, D, D, D)
    coordinates: Tensor  # (M, c)
    weights: Tensor  # (M,) sum to one
    shown: Tensor  # (K,) of the states
    near: Tensor  # (M,) number of the nearest of these
    mean: Tensor  # (D, D, D)
    matching_shell: int
    voxel_size: float


@dataclass(frozen=True, slots=True)
class Laid:
    """N volumes, then the true and the recovered mean map, laid on the true states."""

    lay: Callable[[int, Tensor], Tensor]  # k shown, (P,) of N + 2: (P, D, D, D)
    volumes: Tensor  # (N, D, D, D) in one frame each, for their differences
    states: Tensor  # (M, D, D, D) laid by the same rule
    near: Callable[[int, Tensor], Tensor]  # k, (P,) of M states laid on it: (P, ...)


def judge(laid: Laid, truth: Truth, latents: Tensor, weights: Tensor) -> Judgement:
    """Match laid volumes with the true states, and judge the matches.

    Args:
        laid: The volumes and both mean maps, with the rule that lays them.
        truth: The true states.
        latents: (N, d) latents.
        weights: (N,) shares of the particles; volumes of weight 0 match none.

    Returns:
        The judgement; the head of `scores` says how it is measured.
    """
    everyone = torch.arange(len(weights))
    correlation = weights.new_zeros(len(weights), len(truth.states))  # (N, M)
    for k in range(len(truth.shown)):
        near = (truth.near == k).nonzero()[:, 0]
        correlation[:, near] = correlation_matrix(
            laid.lay(k, everyone), laid.near(k, near), truth.matching_shell
        )
    matched = correlation.argmax(dim=1)
    rows = _state_scores(laid, truth, correlation[:, truth.shown], weights)
    return Judgement(
        states=rows,
        order=measure_order(latents, weights, truth.coordinates, matched),
        motion=compare_motion(
            laid.volumes,
            weights,
            laid.states,
            truth.weights,
            matched,
            truth.matching_shell,
        ),
        matched_shares=tuple(shares(matched, weights, len(truth.states)).tolist()),
        distribution=compare_distributions(
            correlation, latents, weights, truth.coordinates, truth.weights
        ),
        beats_mean_map=_beats(
            laid, truth, rows, [row.mean_map.fsc_area for row in rows]
        ),
        beats_recovered_mean=_beats(
            laid, truth, rows, [row.recovered_mean.fsc_area for row in rows]
        ),
    )


def ends(coordinates: Tensor) -> tuple[int, ...]:
    """List the states of least and greatest value of each coordinate (M, c)."""
    low = coordinates.argmin(dim=0).tolist()
    high = coordinates.argmax(dim=0).tolist()
    return tuple(dict.fromkeys(m for pair in zip(low, high, strict=True) for m in pair))


def _state_scores(
    laid: Laid, truth: Truth, correlation: Tensor, weights: Tensor
) -> tuple[StateScore, ...]:
    """Compare each shown state with its best match (N, K) and with both mean maps."""
    count = len(weights)
    allowed = correlation.masked_fill((weights == 0)[:, None], -torch.inf)
    best, match = allowed.max(dim=0)
    rows = []
    for k, m in enumerate(truth.shown.tolist()):
        maps = laid.lay(k, torch.tensor([int(match[k]), count, count + 1]))
        recovered, mean, own_mean = (
            _resemblance(map_, truth.states[m], truth.voxel_size) for map_ in maps
        )
        rows.append(
            StateScore(
                coordinate=tuple(truth.coordinates[m].tolist()),
                weight=truth.weights[m].item(),
                match=int(match[k]),
                correlation=best[k].item(),
                recovered=recovered,
                mean_map=mean,
                recovered_mean=own_mean,
            )
        )
    return tuple(rows)


def _resemblance(volume: Tensor, state: Tensor, voxel_size: float) -> Resemblance:
    box = volume.shape[-1]
    curve = fsc(volume, state)
    return Resemblance(
        fsc=curve,
        fsc_area=fsc_area(curve).item(),
        resolution_angstrom=resolution_angstrom(curve, 0.5, box, voxel_size),
        resolution_0143_angstrom=resolution_angstrom(curve, 0.143, box, voxel_size),
    )


def _beats(
    laid: Laid, truth: Truth, rows: tuple[StateScore, ...], baseline: list[float]
) -> bool:
    """Tell if every end has a match better than a baseline and than other matches."""
    found = ends(truth.coordinates[truth.shown])
    for k in found:
        rivals = [baseline[k]]
        others = [rows[other].match for other in found if other != k]
        if others:
            strangers = laid.lay(k, torch.tensor(others))
            state = truth.states[truth.shown[k]]
            rivals += fsc_area(fsc(strangers, state)).tolist()
        if rows[k].recovered.fsc_area - max(rivals) <= MARGIN:
            return False
    return len(found) > 1
