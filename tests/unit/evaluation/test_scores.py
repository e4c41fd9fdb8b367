"""What known reconstructions score: perfect, homogeneous, compressed, turned."""

import functools
import json
import math

import pytest
import torch

from evaluation_phantoms import about_z, hinge
from multicryogan.evaluation import Scores, align_neighbours, mean_map, score
from multicryogan.evaluation.rigid import mirror, move
from multicryogan.rng import stream
from multicryogan.rotations import random_rotations

BOX = 16
RANGE_DEG = 40.0
COORDINATES = torch.linspace(0, RANGE_DEG, 5)
LATENTS = torch.linspace(0, 1, 5)


@functools.cache
def states() -> torch.Tensor:
    return hinge(BOX, COORDINATES.tolist())


def turned(volumes: torch.Tensor) -> torch.Tensor:
    rotation = random_rotations((), stream(0, "pose")).expand(len(volumes), 3, 3)
    shift = torch.tensor([0.8, -1.2, 0.5]).expand(len(volumes), 3)
    return move(mirror(volumes), rotation, shift)


def drifted(share: float = 1.0) -> torch.Tensor:
    rotation = torch.stack([about_z(-share * x) for x in COORDINATES.tolist()])
    return move(states(), rotation, torch.zeros(5, 3))


@functools.cache
def scored(name: str) -> Scores:
    volumes = {
        "perfect": states,
        "homogeneous": lambda: mean_map(states(), torch.ones(5)).expand(5, -1, -1, -1),
        "middle": lambda: states()[2].expand(5, -1, -1, -1),
        "half": lambda: hinge(BOX, (0.25 * RANGE_DEG + COORDINATES / 2).tolist()),
        "reversed": lambda: states().flip(0),
        "turned": lambda: turned(states()),
        "drifted": drifted,
        "drifted a little": lambda: drifted(0.3),
    }[name]()
    return score_against_truth(volumes)


def score_against_truth(volumes: torch.Tensor) -> Scores:
    weights = torch.ones(5)
    return score(volumes, LATENTS, weights, states(), COORDINATES, weights, 5.0)


@pytest.mark.parametrize("name", ["perfect", "turned", "reversed"])
def test_right_volumes_match_their_own_states(name: str) -> None:
    matched = scored(name).order.matched_state
    expected = torch.arange(5).flip(0) if name == "reversed" else torch.arange(5)
    assert torch.equal(matched, expected)


@pytest.mark.parametrize("name", ["perfect", "turned", "reversed", "half"])
def test_recovered_motion_beats_the_mean_map(name: str) -> None:
    assert scored(name).beats_mean_map


@pytest.mark.parametrize("name", ["homogeneous", "middle"])
def test_a_homogeneous_map_does_not_beat_the_mean_map(name: str) -> None:
    assert not scored(name).beats_mean_map


@pytest.mark.parametrize("name", ["homogeneous", "middle"])
def test_a_homogeneous_map_does_not_beat_its_own_mean(name: str) -> None:
    assert not scored(name).beats_recovered_mean


@pytest.mark.parametrize("name", ["homogeneous", "middle"])
def test_a_homogeneous_map_beats_nothing_in_its_own_frame(name: str) -> None:
    assert not scored(name).beats_mean_map_own_frame


def test_a_drifting_frame_is_no_error_of_shape() -> None:
    """The frame of a conformation cannot be known: only its own frame is fair."""
    for state in scored("drifted a little").states:
        assert state.recovered_own_frame.fsc_area > 0.97
    assert scored("drifted a little").states[0].recovered.fsc_area < 0.97
    assert scored("drifted a little").beats_mean_map_own_frame


def test_the_mean_map_gets_its_best_frame_too() -> None:
    for state in scored("perfect").states:
        own, common = state.mean_map_own_frame.fsc_area, state.mean_map.fsc_area
        assert own >= common - 0.01


def test_a_homogeneous_map_has_no_motion() -> None:
    assert scored("homogeneous").motion.spread_ratio < 1e-5


def test_rounding_errors_are_no_motion() -> None:
    assert scored("homogeneous").motion.difference_correlation == 0


def test_a_homogeneous_map_has_no_rank_correlation() -> None:
    assert math.isnan(scored("homogeneous").order.rank_correlation[0])


@pytest.mark.parametrize("name", ["perfect", "turned"])
def test_true_motion_has_full_size(name: str) -> None:
    assert scored(name).motion.spread_ratio == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("name", ["perfect", "turned"])
def test_true_motion_correlates_fully(name: str) -> None:
    assert scored(name).motion.difference_correlation > 0.98


def test_difference_fsc_is_one_for_the_truth() -> None:
    assert scored("perfect").motion.difference_fsc[1:9].min() > 0.98


def test_half_the_range_is_seen_as_half() -> None:
    order = scored("half").order
    assert order.coverage_share[0] == pytest.approx(0.5, abs=0.2)


def test_half_the_range_is_half_the_motion() -> None:
    assert scored("half").motion.spread_ratio == pytest.approx(0.5, abs=0.05)


def test_a_latent_that_runs_backwards_has_rank_correlation_minus_one() -> None:
    rank = scored("reversed").order.rank_correlation[0]
    assert rank == pytest.approx(-1)


def test_the_baseline_is_the_true_mean_map() -> None:
    areas = {
        scored(n).states[0].mean_map.fsc_area for n in ("perfect", "half", "middle")
    }
    assert len(areas) == 1


def test_a_drifting_rotation_counts_as_an_error() -> None:
    assert scored("drifted").motion.difference_correlation < 0.8


def test_aligned_neighbours_score_as_well_in_spite_of_the_drift() -> None:
    weights = torch.ones(5)
    scores = score(
        align_neighbours(drifted()),
        LATENTS,
        weights,
        align_neighbours(states()),
        COORDINATES,
        weights,
        5.0,
    )
    assert scores.motion.difference_correlation > 0.9


def test_latents_of_no_weight_serve_no_state() -> None:
    weights = torch.tensor([0.0, 1, 1, 1, 1])
    scores = score(
        states(), LATENTS, weights, states(), COORDINATES, torch.ones(5), 5.0
    )
    assert scores.states[0].match == 1


def test_two_dimensional_latents_are_ordered_axis_by_axis() -> None:
    latents = torch.stack((torch.zeros(5), -LATENTS), dim=1)
    weights = torch.ones(5)
    scores = score(states(), latents, weights, states(), COORDINATES, weights, 5.0)
    assert scores.order.rank_correlation == pytest.approx((-1.0,))


def test_shares_by_best_match_follow_the_latent_weights() -> None:
    pair = states()[[0, -1]]
    scores = score(
        pair,
        torch.tensor([0.0, 1.0]),
        torch.tensor([1.0, 3.0]),
        pair,
        torch.tensor([0.0, 1.0]),
        torch.ones(2),
        5.0,
    )
    assert scores.populations.matched_shares == pytest.approx((0.25, 0.75))


def test_scores_are_plain_json_with_null_for_nan() -> None:
    plain = json.loads(json.dumps(scored("homogeneous").to_dict(), allow_nan=False))
    assert plain["order"]["rank_correlation"] == [None]


def test_table_says_when_the_mean_map_is_not_beaten() -> None:
    table = "\n".join(scored("homogeneous").table())
    assert "does NOT beat the true mean map" in table


def test_table_says_when_the_mean_map_is_beaten() -> None:
    assert "beats the true mean map" in "\n".join(scored("perfect").table())
