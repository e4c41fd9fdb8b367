"""Shares of the particles along a true coordinate: uniform laws and single values."""

import pytest
import torch
from torch import Tensor

from multicryogan.evaluation.distribution import (
    Cumulative,
    Distribution,
    between_states,
    compare_distributions,
)

STATES = torch.linspace(0, 20, 21)
TRAPEZOID = torch.ones(21).index_fill(0, torch.tensor([0, 20]), 0.5)
PATH = torch.linspace(0, 1, 21)[:, None]  # both ends
HALF = 0.5 / 20  # weight of half a volume: where it lies exactly, nothing tells
CELLS = (torch.arange(21)[:, None] + 0.5) / 21  # the middles of even cells


def seen_at(coordinate: Tensor, states: Tensor = STATES) -> Tensor:
    """(N, M) correlations that fall as a parabola does from a coordinate (N,)."""
    return 1 - (coordinate[:, None] - states).square() / 1000


def compared(
    coordinate: Tensor, latents: Tensor, weights: Tensor | None = None
) -> Distribution:
    """Volumes at coordinates beside particles that are spread evenly from 0 to 20."""
    weights = torch.ones(len(coordinate)) if weights is None else weights
    correlation = seen_at(coordinate)
    found = compare_distributions(
        correlation, latents, weights, STATES[:, None], TRAPEZOID
    )
    assert found is not None
    return found


@pytest.mark.parametrize("states", [STATES, STATES.square() / 20, STATES.flip(0)])
def test_a_volume_is_placed_between_states(states: Tensor) -> None:
    true = torch.tensor([0.3, 4.4, 9.5, 13.0, 19.8])
    found = between_states(seen_at(true, states), states)
    torch.testing.assert_close(found, true, atol=1e-3, rtol=0)


def test_what_lies_beyond_the_states_is_placed_at_their_ends() -> None:
    found = between_states(seen_at(torch.tensor([-7.0, 21.0])), STATES)
    assert found.tolist() == [0.0, 20.0]


def test_without_a_top_the_best_match_counts() -> None:
    height = torch.tensor([[0.2, 0.1, 0.5], [0.3, 0.3, 0.3], [0.9, 0.1, 0.2]])
    assert between_states(height, torch.tensor([0.0, 1.0, 2.0])).tolist() == [2, 0, 0]


@pytest.mark.parametrize("latents", [PATH, CELLS, PATH.flip(0)])
def test_an_even_motion_has_even_shares(latents: Tensor) -> None:
    found = compared(20 * latents[:, 0], latents)
    assert found.shares == pytest.approx((1 / 3,) * 3, abs=1e-4)
    assert found.true_shares == pytest.approx((1 / 3,) * 3, abs=1e-4)
    assert found.largest_difference < 1e-4


@pytest.mark.parametrize("latents", [PATH, CELLS])
def test_half_of_the_range_is_told_by_the_shares(latents: Tensor) -> None:
    """Uniform from 5 to 15: a sixth lies below 6.67, and at 5 a quarter is missing."""
    found = compared(5 + 10 * latents[:, 0], latents)
    assert found.shares == pytest.approx((1 / 6, 2 / 3, 1 / 6), abs=0.01)
    assert found.largest_difference == pytest.approx(0.25, abs=HALF)


@pytest.mark.parametrize("value", [7.0, 13.0])
def test_a_rigid_molecule_lies_at_one_value(value: float) -> None:
    """Just above 7 all are below, of which 35 % should be; just below 13 none are."""
    found = compared(torch.full((21,), value), PATH)
    assert found.shares == pytest.approx((0, 1, 0), abs=1e-6)
    assert found.largest_difference == pytest.approx(13 / 20, abs=1e-4)


@pytest.mark.parametrize("step", [1, 2])
def test_shares_follow_the_weights(step: int) -> None:
    """The lower half weighs three times the upper one, in whatever order."""
    order = step * torch.arange(21) % 21
    weights = torch.where(torch.arange(21) < 10, 3.0, 1.0)
    weights[10] = 2.0
    found = compared(20 * CELLS[order, 0], CELLS[order], weights[order])
    assert found.shares == pytest.approx((0.5, 1 / 3, 1 / 6), abs=0.01)
    assert found.largest_difference == pytest.approx(0.25, abs=HALF)


def test_volumes_of_no_weight_hold_no_place() -> None:
    weights = torch.where(torch.arange(21) % 2 == 0, 1.0, 0.0)
    found = compared(20 * PATH[:, 0], PATH, weights)
    assert found.shares == pytest.approx((1 / 3,) * 3, abs=1e-4)


def test_shares_do_not_jump_with_a_best_match() -> None:
    """One of 21 volumes crosses the bound of a third by half a state."""
    low, high = 20 * PATH[:, 0], 20 * PATH[:, 0]
    low[7], high[7] = 6.4, 6.9
    first, second = (compared(x, PATH).shares for x in (low, high))
    assert 0 < first[0] - second[0] < 0.5 / 20


def test_the_fold_of_a_latent_does_no_harm() -> None:
    there_and_back = 20 * (1 - (2 * CELLS[:, 0] - 1).abs())
    found = compared(there_and_back, CELLS)
    assert found.shares == pytest.approx((1 / 3,) * 3, abs=0.02)
    assert found.largest_difference < 2 * HALF


def test_the_largest_difference_of_two_values_is_one() -> None:
    one = torch.ones(1)
    low, high = (Cumulative.spread(x * one, one, (0.0, 9.0)) for x in (2, 3))
    assert low.largest_difference(high) == pytest.approx(1)
    assert high.largest_difference(low) == pytest.approx(1)


def test_few_states_and_several_coordinates_are_no_distribution() -> None:
    four = STATES[:4, None]
    both = torch.cat((STATES[:, None], STATES[:, None]), dim=1)
    for states in (four, both):
        height = torch.rand(5, len(states), generator=torch.Generator().manual_seed(0))
        ones = torch.ones(len(states))
        found = compare_distributions(height, PATH[:5], torch.ones(5), states, ones)
        assert found is None
