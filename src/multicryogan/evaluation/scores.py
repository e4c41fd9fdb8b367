"""Score a reconstruction against the truth, beside what no motion would score.

One alignment serves all volumes, so a rotation that drifts along the latent counts as
an error. A reconstruction without poses cannot know that rotation. So shapes are judged
a second time in their own frames: the best match, and the mean map as well, are each
laid on the state as rigid bodies.

A volume is matched to the state of highest correlation, blind to scale and mean value,
up to the last shell where the true mean map has FSC >= 0.5 with every state: beyond,
recovered maps hold mostly noise.

`beats_mean_map` holds when, at both ends of every coordinate, the best match has a
larger FSC area than the true mean map, and than the volumes that serve the other ends.
A homogeneous map, however sharp, fails the second part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from multicryogan.evaluation.alignment import (
    Alignment,
    apply_alignment,
    common_alignment,
)
from multicryogan.evaluation.baselines import mean_map, mean_map_fsc
from multicryogan.evaluation.fsc import (
    check_cubes,
    fsc,
    fsc_area,
    last_shell_above,
    resolution_angstrom,
)
from multicryogan.evaluation.matching import correlation_matrix
from multicryogan.evaluation.motion import Motion, compare_motion
from multicryogan.evaluation.neighbours import align_each
from multicryogan.evaluation.order import Order, measure_order
from multicryogan.evaluation.populations import Populations, populations
from multicryogan.evaluation.table import score_table, to_plain

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
    recovered_own_frame: Resemblance  # best match laid on the state by itself
    mean_map_own_frame: Resemblance  # true mean map laid on the state by itself


@dataclass(frozen=True, slots=True)
class Scores:
    """Everything that `multicryogan evaluate` reports."""

    box: int
    voxel_size: float
    alignment: Alignment
    matching_shell: int  # volumes are matched up to here: see `score`
    states: tuple[StateScore, ...]
    ends: tuple[int, ...]  # states at the two ends of each coordinate
    order: Order
    motion: Motion
    populations: Populations
    beats_mean_map: bool
    beats_recovered_mean: bool
    beats_mean_map_own_frame: bool

    def to_dict(self) -> dict[str, object]:
        """Return plain numbers, lists and dicts for JSON; NaN and inf become None."""
        plain = to_plain(self)
        assert isinstance(plain, dict)
        return plain

    def table(self) -> list[str]:
        """Return the lines of a table for the terminal."""
        return score_table(self)


def score(
    volumes: Tensor,
    latents: Tensor,
    latent_weights: Tensor,
    states: Tensor,
    coordinates: Tensor,
    state_weights: Tensor,
    voxel_size: float,
) -> Scores:
    """Compare recovered conformations with the true states.

    Args:
        volumes: (N, D, D, D) recovered densities.
        latents: (N,) or (N, d) their latents.
        latent_weights: (N,) shares of the particles; volumes of weight 0 match none.
        states: (M, D, D, D) true densities.
        coordinates: (M,) or (M, c) true coordinates.
        state_weights: (M,) shares of the particles.
        voxel_size: Å per voxel.

    Returns:
        The scores; the head of this file says how they are measured.
    """
    check_cubes(volumes, states)
    volumes, states = volumes.float(), states.float()
    weights = (latent_weights / latent_weights.sum()).float()
    truth = _Truth(
        states,
        coordinates.reshape(len(states), -1).float(),
        (state_weights / state_weights.sum()).float(),
    )
    latents = latents.reshape(len(volumes), -1).float()
    alignment = common_alignment(
        volumes, states, volume_weights=weights, state_weights=truth.weights
    )
    aligned = apply_alignment(volumes, alignment)
    shell = matching_shell(states, truth.weights)
    correlation = correlation_matrix(aligned, states, shell)  # (N, M)
    matched = correlation.argmax(dim=1)
    rows = _state_scores(aligned, weights, truth, correlation, voxel_size)
    return Scores(
        box=volumes.shape[-1],
        voxel_size=float(voxel_size),
        alignment=alignment,
        matching_shell=shell,
        states=rows,
        ends=_ends(truth.coordinates),
        order=measure_order(latents, weights, truth.coordinates, matched),
        motion=compare_motion(aligned, weights, states, truth.weights, matched, shell),
        populations=populations(volumes, latents, weights, matched, len(states)),
        beats_mean_map=_beats(aligned, truth, rows, "mean_map"),
        beats_recovered_mean=_beats(aligned, truth, rows, "recovered_mean"),
        beats_mean_map_own_frame=_beats(aligned, truth, rows, "mean_map_own_frame"),
    )


def matching_shell(states: Tensor, weights: Tensor) -> int:
    """Find the last shell where the mean map has FSC >= 0.5 with every state.

    Args:
        states: (M, D, D, D) true densities.
        weights: (M,) shares of the particles.

    Returns:
        Shell number, at least 2.
    """
    curves = mean_map_fsc(states, weights)
    return max(2, min(last_shell_above(curve, 0.5) for curve in curves))


@dataclass(frozen=True, slots=True)
class _Truth:
    states: Tensor  # (M, D, D, D)
    coordinates: Tensor  # (M, c)
    weights: Tensor  # (M,) sum to one


def _state_scores(
    volumes: Tensor,
    weights: Tensor,
    truth: _Truth,
    correlation: Tensor,
    voxel_size: float,
) -> tuple[StateScore, ...]:
    """Compare each true state with its best match and with both mean maps."""
    true_mean = mean_map(truth.states, truth.weights)
    recovered_mean = mean_map(volumes, weights)
    allowed = correlation.masked_fill((weights == 0)[:, None], -torch.inf)
    best, match = allowed.max(dim=0)
    laid = align_each(volumes[match], truth.states)
    laid_mean = align_each(true_mean.expand_as(truth.states), truth.states)
    return tuple(
        StateScore(
            coordinate=tuple(truth.coordinates[m].tolist()),
            weight=truth.weights[m].item(),
            match=int(match[m]),
            correlation=best[m].item(),
            recovered=_resemblance(volumes[match[m]], state, voxel_size),
            mean_map=_resemblance(true_mean, state, voxel_size),
            recovered_mean=_resemblance(recovered_mean, state, voxel_size),
            recovered_own_frame=_resemblance(laid[m], state, voxel_size),
            mean_map_own_frame=_resemblance(laid_mean[m], state, voxel_size),
        )
        for m, state in enumerate(truth.states)
    )


def _resemblance(volume: Tensor, state: Tensor, voxel_size: float) -> Resemblance:
    box = volume.shape[-1]
    curve = fsc(volume, state)
    return Resemblance(
        fsc=curve,
        fsc_area=fsc_area(curve).item(),
        resolution_angstrom=resolution_angstrom(curve, 0.5, box, voxel_size),
        resolution_0143_angstrom=resolution_angstrom(curve, 0.143, box, voxel_size),
    )


def _ends(coordinates: Tensor) -> tuple[int, ...]:
    """List the states of least and greatest value of each coordinate (M, c)."""
    low = coordinates.argmin(dim=0).tolist()
    high = coordinates.argmax(dim=0).tolist()
    return tuple(dict.fromkeys(m for pair in zip(low, high, strict=True) for m in pair))


def _beats(
    volumes: Tensor,
    truth: _Truth,
    rows: tuple[StateScore, ...],
    baseline: Literal["mean_map", "recovered_mean", "mean_map_own_frame"],
) -> bool:
    """Tell if every end has a match better than a baseline and than other matches."""
    ends = _ends(truth.coordinates)
    is_own = baseline == "mean_map_own_frame"
    for m in ends:
        state = truth.states[m]
        others = [volumes[rows[other].match] for other in ends if other != m]
        rivals = [getattr(rows[m], baseline).fsc_area]
        if others:
            strangers = torch.stack(others)
            if is_own:
                strangers = align_each(strangers, state.expand_as(strangers))
            rivals += fsc_area(fsc(strangers, state.expand_as(strangers))).tolist()
        match = rows[m].recovered_own_frame if is_own else rows[m].recovered
        if match.fsc_area - max(rivals) <= MARGIN:
            return False
    return len(ends) > 1
