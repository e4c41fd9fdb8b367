"""Score a reconstruction against the truth, beside what no motion would score.

Images do not show the frame (rotation, shift, hand) of a single conformation: turned
with all its views it gives the same images. So every recovered volume, and the true
mean map as a baseline, is laid on the true states in its own frame, all by one rule
(`own_frames`). Differences from the mean are taken with the volumes, and the states
too, laid on the true mean map. The paper lays all volumes by one motion instead, and a
frame that changes along the latent counts as an error: `common_frame` says how much.

A volume is matched to the state of highest correlation, blind to scale and mean value,
up to the last shell where the true mean map has FSC >= 0.5 with every state: beyond,
recovered maps hold mostly noise.

`beats_mean_map` holds when, at both ends of every coordinate, the best match has a
larger FSC area than the true mean map, and than the volumes that serve the other ends.
A homogeneous map, however sharp, fails the second part.

Of a table of hundreds of states a few, spread out, are looked at one by one: volumes
are laid on these, and so are the states around each, which volumes are matched with.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from multicryogan.evaluation.alignment import (
    Alignment,
    apply_alignment,
    common_alignment,
)
from multicryogan.evaluation.baselines import mean_map, mean_map_fsc
from multicryogan.evaluation.frames import Frames, lay_each, own_frames
from multicryogan.evaluation.fsc import check_cubes, last_shell_above
from multicryogan.evaluation.judgement import (
    Judgement,
    Laid,
    StateScore,
    Truth,
    ends,
    judge,
)
from multicryogan.evaluation.landmarks import spread_states
from multicryogan.evaluation.occupancy import Density, Occupancy, measure_occupancy
from multicryogan.evaluation.order import Order
from multicryogan.evaluation.populations import Populations, populations
from multicryogan.evaluation.table import score_table, to_plain
from multicryogan.progress import Report, ignore


@dataclass(frozen=True, slots=True)
class Scores:
    """Everything that `multicryogan evaluate` reports."""

    box: int
    voxel_size: float
    matching_shell: int  # volumes are matched up to here: see `score`
    shown: tuple[int, ...]  # true states that are looked at one by one
    ends: tuple[int, ...]  # of these, those at the two ends of each coordinate
    frames: Frames  # lay every volume on the true mean map, each by itself
    own_frames: Judgement  # every volume in its own frame
    alignment: Alignment  # lays all volumes by one motion
    common_frame: Judgement  # all volumes in that one frame: the paper's figures
    populations: Populations | None  # None where the latent is no line
    occupancy: Occupancy | None  # None where the true states are no plane

    @property
    def states(self) -> tuple[StateScore, ...]:
        """The shown states as found in own frames."""
        return self.own_frames.states

    @property
    def order(self) -> Order:
        """How the latent orders the matches in own frames."""
        return self.own_frames.order

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
    density: Density | None = None,
    report: Report = ignore,
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
        density: Where particles lie in the latent; at the volumes when missing.
        report: Called with what is being done, how much of it is, and of how much.

    Returns:
        The scores; the head of this file says how they are measured.
    """
    check_cubes(volumes, states)
    volumes, states = volumes.float(), states.float()
    weights = (latent_weights / latent_weights.sum()).float()
    truth = _truth(states, coordinates, state_weights, float(voxel_size))
    latents = latents.reshape(len(volumes), -1).float()
    alignment = common_alignment(
        volumes, states, volume_weights=weights, state_weights=truth.weights
    )
    aligned = apply_alignment(volumes, alignment)
    frames, laid = _in_own_frames(volumes, weights, truth, report)
    own = judge(laid, truth, latents, weights)
    is_line = latents.shape[1] == 1
    return Scores(
        box=volumes.shape[-1],
        voxel_size=truth.voxel_size,
        matching_shell=truth.matching_shell,
        shown=tuple(truth.shown.tolist()),
        ends=ends(truth.coordinates[truth.shown]),
        frames=frames,
        own_frames=own,
        alignment=alignment,
        common_frame=judge(
            _in_one_frame(aligned, weights, truth), truth, latents, weights
        ),
        populations=populations(volumes, latents, weights) if is_line else None,
        occupancy=measure_occupancy(
            own.order,
            truth.coordinates,
            truth.weights,
            density or Density(latents, weights),
        ),
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


def _truth(
    states: Tensor, coordinates: Tensor, weights: Tensor, voxel_size: float
) -> Truth:
    """Put together what is known of the true states; see `score`."""
    shares = (weights / weights.sum()).float()
    coordinates = coordinates.reshape(len(states), -1).float()
    shown, near = spread_states(coordinates)
    return Truth(
        states=states,
        coordinates=coordinates,
        weights=shares,
        shown=shown,
        near=near,
        mean=mean_map(states, shares),
        matching_shell=matching_shell(states, shares),
        voxel_size=voxel_size,
    )


def _in_own_frames(
    volumes: Tensor, weights: Tensor, truth: Truth, report: Report
) -> tuple[Frames, Laid]:
    """Lay volumes, true mean and recovered mean on the states, each by itself."""
    shown = truth.states[truth.shown]
    series = torch.cat((volumes, truth.mean[None]))
    laying = partial(report, "laying maps on the true ones")
    found = own_frames(series, shown, truth.mean, laying)
    report("comparing them", 0, 1)
    frames = found.on_mean.part(slice(len(volumes)))
    on_mean = frames.apply(volumes)
    mean = own_frames(mean_map(on_mean, weights)[None], shown, truth.mean)

    def near(k: int, picked: Tensor) -> Tensor:
        some = truth.states[picked]
        return some if len(picked) == 1 else lay_each(some, shown[k][None])

    return frames, Laid(
        lay=found.joined(mean).lay,
        volumes=on_mean,
        states=lay_each(truth.states, truth.mean[None]),
        near=near,
    )


def _in_one_frame(aligned: Tensor, weights: Tensor, truth: Truth) -> Laid:
    """Leave volumes as they were aligned together."""
    means = torch.stack((truth.mean, mean_map(aligned, weights)))
    series = torch.cat((aligned, means))
    return Laid(
        lay=lambda k, picked: series[picked],
        volumes=aligned,
        states=truth.states,
        near=lambda k, picked: truth.states[picked],
    )
