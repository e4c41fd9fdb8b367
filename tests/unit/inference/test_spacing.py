"""Conformations where particles are: exact places, and lines that settle."""

import dataclasses

import pytest
import torch
from torch import Tensor

from multicryogan.inference.spacing import (
    ALIKE,
    BEYOND,
    GIVEN,
    alike,
    along,
    follow,
    quantiles,
    shared_out,
    unrest,
)
from multicryogan.inference.spacing import EVEN as EVEN_SHARE
from multicryogan.likelihood.manifold import Manifold, all_pairs
from multicryogan.priors import LatentPrior
from multicryogan.rng import stream

EVEN = torch.full((4,), 0.25)


def line(values: Tensor) -> Manifold:
    """Conformations m + x d of a mean m and a direction d at (V,) values x."""
    count = len(values)
    return Manifold(
        latents=(torch.arange(count)[:, None] + 0.5) / count,
        weights=torch.full((count,), 1 / count),
        coefficients=torch.stack((torch.ones(count), values), dim=1),
        basis=torch.zeros(2, 2, 2, 2),
        pairs=all_pairs(2),
    )


def posterior(manifold: Manifold, seen: Tensor, spread: float) -> Tensor:
    """(N, V) weights of conformations for particles seen at x, with a known spread."""
    distance = seen[:, None] - manifold.coefficients[:, 1]
    return (-0.5 * (distance / spread).square()).softmax(1)


def settled(manifold: Manifold, seen: Tensor, spread: float) -> Tensor:
    """(V,) values x after the conformations were moved eight times."""
    for _ in range(8):
        manifold = follow(manifold, posterior(manifold, seen, spread).sum(0))
    return manifold.coefficients[:, 1]


def test_even_shares_leave_all_conformations_in_place() -> None:
    torch.testing.assert_close(quantiles(EVEN, EVEN), torch.arange(4).double())


def test_places_have_as_much_before_them_as_the_prior() -> None:
    share = torch.tensor([0.2, 0.2, 0.4, 0.2])
    expected = torch.tensor([0.125, 1.375, 2.0625, 2.875]).double()
    torch.testing.assert_close(quantiles(share, EVEN), expected)


def test_unrest_is_the_share_on_the_wrong_side() -> None:
    """A tenth of the particles moves from the last two conformations to the first."""
    line = Manifold(
        torch.zeros(4, 1),
        torch.full((4,), 0.25),
        torch.ones(4, 1),
        torch.zeros(1, 2, 2, 2),
        all_pairs(1),
    )
    assert unrest(line, torch.full((4,), 17.0)) == pytest.approx(0, abs=1e-7)
    assert unrest(line, torch.tensor([35.0, 25, 20, 20])) == pytest.approx(0.1)


def test_an_end_that_is_crowded_reaches_out() -> None:
    """Twice as many at the first as at its neighbours: a step wider, before it."""
    share = torch.tensor([0.4, 0.2, 0.2, 0.2])
    expected = torch.tensor([-1.5 + 2 * 0.3125, -1.5 + 2 * 0.9375, 1.625, 2.875])
    torch.testing.assert_close(quantiles(share, EVEN), expected.double())


def test_no_end_reaches_out_without_bound() -> None:
    place = quantiles(torch.tensor([1.0, 0.0, 0.0, 0.0]), EVEN)
    assert float(place[0]) == pytest.approx(-0.5 - BEYOND + (1 + BEYOND) / 8)


def test_no_place_lies_where_nothing_is() -> None:
    place = quantiles(torch.tensor([0.2, 0.3, 0.0, 0.0, 0.3, 0.2]), torch.ones(6))
    assert ((place < 1.5) | (place > 3.5)).all()


def test_a_straight_line_goes_on_beyond_its_ends() -> None:
    steps = torch.arange(5.0)
    values = torch.stack((torch.ones(5), 2 * steps - 3), dim=1)
    place = torch.tensor([-0.5, 0.25, 3.0, 4.4]).double()
    expected = torch.stack((torch.ones(4), 2 * place.float() - 3), dim=1)
    torch.testing.assert_close(along(values, place), expected)


def test_a_jump_is_not_overshot() -> None:
    values = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])[:, None]
    found = along(values, torch.linspace(-0.5, 5.5, 50).double())
    assert found.min() > -1e-6
    assert found.max() < 1 + 1e-6


@pytest.mark.parametrize("reach", [0.8, 1.2])
def test_a_line_of_another_length_comes_to_that_of_the_particles(reach: float) -> None:
    """Particles are even on -1 to 1, and seen with an error of 0.15."""
    draws = stream(0, "line")
    true = 2 * torch.rand(20_000, generator=draws) - 1
    seen = true + 0.15 * torch.randn(20_000, generator=draws)
    found = settled(line(reach * torch.linspace(-1, 1, 21)), seen, 0.15)
    expected = (2 * torch.arange(21.0) + 1) / 21 - 1
    torch.testing.assert_close(found, expected, atol=0.06, rtol=0)


@pytest.mark.parametrize("spread", [0.1, 0.2])
def test_two_states_keep_the_conformations_that_are_due_to_them(spread: float) -> None:
    draws = stream(0, "states")
    true = (torch.rand(20_000, generator=draws) < 2 / 3).float()
    seen = true + spread * torch.randn(20_000, generator=draws)
    start = torch.tensor([0.0, 0, 0, 0, 0.5, 1, 1, 1, 1])
    found = settled(line(start), seen, spread)
    assert (found[:3].abs() < 0.03).all()
    assert ((found[4:] - 1).abs() < 0.03).all()


def test_pairs_stay_as_they_are() -> None:
    start = line(torch.arange(2.0))
    assert follow(start, torch.tensor([0.1, 0.9])) is start


# Several dimensions: the weights are learned


def plane(steps: int) -> Manifold:
    """Conformations on a grid, equally likely."""
    latents = LatentPrior("uniform", 2).grid(steps)
    return dataclasses.replace(line(torch.zeros(steps**2)), latents=latents)


def learned(weights: Tensor, steps: int, spread: float, iterations: int) -> Tensor:
    """(V,) weights after some iterations, seen through posteriors of a known spread."""
    found = plane(steps)
    place = found.latents * steps
    draws = torch.multinomial(weights, 20_000, True, generator=stream(0, "draws"))
    seen = place[draws] + spread * torch.randn(20_000, 2, generator=stream(0, "noise"))
    ratio = (-0.5 * (torch.cdist(seen, place) / spread).square()).exp()
    for _ in range(iterations):
        share = ratio * found.weights
        found = follow(found, (share / share.sum(1, keepdim=True)).sum(0))
    return found.weights


def test_even_shares_of_a_plane_stay_even() -> None:
    even = torch.full((12,), 1 / 12, dtype=torch.float64)
    torch.testing.assert_close(shared_out(5 * even, (3, 4)), even)


def test_a_share_is_given_to_neighbours_along_every_axis() -> None:
    share = torch.zeros(4, 3, dtype=torch.float64)
    share[1, 1] = 1
    line_1 = torch.tensor([GIVEN, 1 - 2 * GIVEN, GIVEN, 0.0], dtype=torch.float64)
    expected = line_1[:, None] * line_1[:3]  # axis by axis
    expected = (1 - EVEN_SHARE) * expected + EVEN_SHARE / 12
    torch.testing.assert_close(shared_out(share.flatten(), (4, 3)), expected.flatten())


def test_two_hills_of_a_plane_are_learned() -> None:
    steps = 9
    place = LatentPrior("uniform", 2).grid(steps)
    tops = torch.tensor([[0.25, 0.3], [0.7, 0.75]])
    true = (-torch.cdist(place, tops).square() / 0.03).exp().sum(1) + 0.05
    found = learned(true, steps, 1.0, 10)
    pair = torch.stack((found, true / true.sum()))
    assert float(torch.corrcoef(pair)[0, 1]) > 0.95


def test_an_even_plane_forms_no_spikes() -> None:
    """Not in two hundred iterations, where posteriors are two steps wide."""
    found = learned(torch.ones(49), 7, 2.0, 200)
    inner = found.view(7, 7)[1:-1, 1:-1]
    assert float(inner.max() / inner.min()) < 2
    assert float(found.min()) > 0


def seen(values: Tensor) -> Manifold:
    """A line whose motion shows in the volumes; its first coefficients weigh a mean."""
    basis = torch.stack((torch.full((2, 2, 2), 3.0), torch.eye(2).expand(2, 2, 2)))
    return dataclasses.replace(line(values), basis=basis)


def test_likeness_falls_with_the_distance_of_volumes() -> None:
    values = torch.tensor([5.0, 5.5, 7.0, 9.0])  # of 4 in all
    distance = (values[:, None] - values) / 4
    expected = (-0.5 * (distance / ALIKE).square()).exp()
    torch.testing.assert_close(alike(seen(values)), expected)


def test_states_that_a_line_jumps_between_are_not_alike() -> None:
    found = alike(seen(torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0])))
    expected = torch.zeros(5, 5)
    expected[:3, :3] = expected[3:, 3:] = 1
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_conformations_at_rest_are_alike() -> None:
    still = alike(seen(torch.full((4,), 2.0)))
    torch.testing.assert_close(still, torch.ones(4, 4), atol=1e-3, rtol=0)


def test_empty_conformations_are_alike() -> None:
    """As where halves agree on nothing."""
    assert torch.equal(alike(line(torch.arange(4.0))), torch.ones(4, 4))
