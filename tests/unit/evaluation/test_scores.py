"""What known reconstructions score: perfect, homogeneous, compressed, turned."""

import dataclasses
import functools
import json
import math

import pytest
import torch

from evaluation_phantoms import about_z, hinge, scrambled
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


def half_turned(volumes: torch.Tensor) -> torch.Tensor:
    """Turn the last two by 100 degrees and mirror them."""
    tilt = random_rotations((), stream(1, "pose"))
    rotation = (tilt @ about_z(100) @ tilt.T).expand(2, 3, 3)
    moved = move(mirror(volumes[3:]), rotation, torch.zeros(2, 3))
    return torch.cat((volumes[:3], moved))


def drifted() -> torch.Tensor:
    rotation = torch.stack([about_z(-x) for x in COORDINATES.tolist()])
    return move(states(), rotation, torch.zeros(5, 3))


@functools.cache
def scored(name: str) -> Scores:
    volumes = {
        "perfect": states,
        "homogeneous": lambda: mean_map(states(), torch.ones(5)).expand(5, -1, -1, -1),
        "half": lambda: hinge(BOX, (0.25 * RANGE_DEG + COORDINATES / 2).tolist()),
        "reversed": lambda: states().flip(0),
        "turned": lambda: turned(states()),
        "drifted": drifted,
        "half turned": lambda: half_turned(states()),
        "middle, scrambled": lambda: scrambled(
            states()[2].expand(5, -1, -1, -1), seed=2
        ),
    }[name]()
    return score_against_truth(volumes)


def score_against_truth(volumes: torch.Tensor) -> Scores:
    weights = torch.ones(5)
    return score(volumes, LATENTS, weights, states(), COORDINATES, weights, 5.0)


HOMOGENEOUS = ["homogeneous", "middle, scrambled"]


@pytest.mark.parametrize("name", ["perfect", "turned", "reversed", "half turned"])
def test_right_volumes_match_their_own_states(name: str) -> None:
    matched = scored(name).own_frames.order.matched_state
    expected = torch.arange(5).flip(0) if name == "reversed" else torch.arange(5)
    assert torch.equal(matched, expected)


@pytest.mark.parametrize("name", ["perfect", "turned", "reversed"])
def test_right_volumes_match_their_own_states_in_one_frame(name: str) -> None:
    matched = scored(name).common_frame.order.matched_state
    expected = torch.arange(5).flip(0) if name == "reversed" else torch.arange(5)
    assert torch.equal(matched, expected)


@pytest.mark.parametrize(
    "name", ["perfect", "turned", "reversed", "half", "half turned", "drifted"]
)
def test_recovered_motion_beats_the_mean_map(name: str) -> None:
    assert scored(name).own_frames.beats_mean_map


@pytest.mark.parametrize("name", ["perfect", "turned", "reversed", "half"])
def test_recovered_motion_beats_the_mean_map_in_one_frame(name: str) -> None:
    assert scored(name).common_frame.beats_mean_map


@pytest.mark.parametrize("name", HOMOGENEOUS)
def test_a_homogeneous_map_beats_nothing_in_its_own_frame(name: str) -> None:
    assert not scored(name).own_frames.beats_mean_map
    assert not scored(name).own_frames.beats_recovered_mean


def test_a_homogeneous_map_does_not_beat_the_mean_map() -> None:
    assert not scored("homogeneous").common_frame.beats_mean_map
    assert not scored("homogeneous").common_frame.beats_recovered_mean


def test_frames_of_a_homogeneous_map_are_no_motion() -> None:
    assert scored("middle, scrambled").own_frames.motion.spread_ratio < 0.1


@pytest.mark.parametrize("name", ["half turned", "drifted"])
def test_a_drifting_frame_is_no_error_of_shape(name: str) -> None:
    """The frame of a conformation cannot be known: only its own frame is fair."""
    straight = scored("perfect").states
    for state, right in zip(scored(name).states, straight, strict=True):
        found, best = state.recovered.fsc_area, right.recovered.fsc_area
        assert found == pytest.approx(best, abs=0.03)


@pytest.mark.parametrize("name", ["half turned", "drifted"])
def test_a_change_of_frame_is_no_motion(name: str) -> None:
    motion = scored(name).own_frames.motion
    assert motion.difference_correlation > 0.95
    assert motion.spread_ratio == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("name", ["half turned", "drifted"])
def test_a_change_of_frame_is_an_error_in_one_frame(name: str) -> None:
    worst_own, worst_common = (
        min(state.recovered.fsc_area for state in judged.states)
        for judged in (scored(name).own_frames, scored(name).common_frame)
    )
    assert worst_common < worst_own - 0.03


def test_mirrored_volumes_are_counted() -> None:
    line = next(x for x in scored("half turned").table() if x.startswith("hands"))
    assert line.endswith("2 of 5 volumes are mirror images of the others")


def test_volumes_of_one_hand_are_said_to_be_alike() -> None:
    line = next(x for x in scored("turned").table() if x.startswith("hands"))
    assert line.endswith("5 alike")


def test_the_mean_map_gets_its_best_frame_too() -> None:
    scores = scored("perfect")
    pairs = zip(scores.own_frames.states, scores.common_frame.states, strict=True)
    for own, common in pairs:
        assert own.mean_map.fsc_area >= common.mean_map.fsc_area - 0.01


def test_a_homogeneous_map_has_no_motion() -> None:
    assert scored("homogeneous").common_frame.motion.spread_ratio < 1e-5


def test_rounding_errors_are_no_motion() -> None:
    assert scored("homogeneous").common_frame.motion.difference_correlation == 0


def test_a_homogeneous_map_has_no_rank_correlation() -> None:
    assert math.isnan(scored("homogeneous").order.rank_correlation[0])


@pytest.mark.parametrize("name", ["perfect", "turned"])
def test_true_motion_has_full_size(name: str) -> None:
    assert scored(name).own_frames.motion.spread_ratio == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("name", ["perfect", "turned"])
def test_true_motion_correlates_fully(name: str) -> None:
    assert scored(name).own_frames.motion.difference_correlation > 0.98


def test_difference_fsc_is_one_for_the_truth() -> None:
    assert scored("perfect").own_frames.motion.difference_fsc[1:9].min() > 0.98


def test_half_the_range_is_seen_as_half() -> None:
    order = scored("half").order
    assert order.coverage_share[0] == pytest.approx(0.5, abs=0.2)


def test_half_the_range_is_half_the_motion() -> None:
    assert scored("half").own_frames.motion.spread_ratio == pytest.approx(0.5, abs=0.05)


def test_a_latent_that_runs_backwards_has_rank_correlation_minus_one() -> None:
    rank = scored("reversed").order.rank_correlation[0]
    assert rank == pytest.approx(-1)


def test_the_baseline_is_the_true_mean_map() -> None:
    areas = {
        scored(n).states[0].mean_map.fsc_area
        for n in ("perfect", "half", "homogeneous")
    }
    assert len(areas) == 1


def test_aligned_neighbours_score_as_well_in_spite_of_the_drift() -> None:
    weights = torch.ones(5)
    scores = score(
        align_neighbours(drifted())[0],
        LATENTS,
        weights,
        align_neighbours(states())[0],
        COORDINATES,
        weights,
        5.0,
    )
    assert scores.common_frame.motion.difference_correlation > 0.9


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
    assert scores.own_frames.matched_shares == pytest.approx((0.25, 0.75))


@pytest.mark.parametrize(
    ("name", "shares"),
    [
        ("turned", (0.33, 0.33, 0.33)),
        ("reversed", (0.33, 0.33, 0.33)),
        ("half", (0.17, 0.67, 0.17)),
        ("homogeneous", (0, 1, 0)),
    ],
)
def test_shares_of_the_thirds_are_those_of_the_motion(
    name: str, shares: tuple[float, ...]
) -> None:
    """Ends of the latent stand for half as many particles as the true states do."""
    found = scored(name).own_frames.distribution
    assert found is not None
    assert found.shares == pytest.approx(shares, abs=0.08)
    # Every state weighs as much here: what the ends hold lies in half a step.
    assert found.true_shares == pytest.approx((0.37, 0.27, 0.37), abs=0.01)


def test_the_table_tells_the_thirds_beside_the_truth() -> None:
    lines = scored("turned").table()
    place = next(i for i, x in enumerate(lines) if x.startswith("shares of the thirds"))
    assert lines[place + 1].endswith("37% / 27% / 37%")
    assert lines[place + 2].endswith(" points")
    assert not any(x.startswith("shares by best match") for x in lines)


def test_scores_are_plain_json_with_null_for_nan() -> None:
    plain = json.loads(json.dumps(scored("homogeneous").to_dict(), allow_nan=False))
    assert plain["own_frames"]["order"]["rank_correlation"] == [None]


def test_table_says_when_the_mean_map_is_not_beaten() -> None:
    table = "\n".join(scored("homogeneous").table())
    assert "does NOT beat the true mean map" in table


def test_table_says_when_the_mean_map_is_beaten() -> None:
    assert "beats the true mean map" in "\n".join(scored("perfect").table())


@pytest.mark.parametrize(
    ("name", "in_one_frame", "is_told"),
    [
        ("perfect", "homogeneous", True),
        ("perfect", "perfect", False),
        ("homogeneous", "homogeneous", False),
    ],
)
def test_the_table_says_when_the_frame_alone_fails(
    name: str, in_one_frame: str, is_told: bool
) -> None:
    other = scored(in_one_frame).common_frame
    lines = dataclasses.replace(scored(name), common_frame=other).table()
    own, one = "\n".join(lines).split("ONE FRAME")
    assert "It does in own frames" not in own
    assert ("It does in own frames" in one) == is_told
