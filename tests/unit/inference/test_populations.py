"""The density of the latent from posteriors of known spread."""

import functools
import math

import pytest
import torch
from torch import Tensor

from multicryogan.errors import InputError
from multicryogan.inference import populations
from multicryogan.inference.mixture import Parabola, Roughness, fit_weights
from multicryogan.inference.populations import Shares, group_shares, latent_density
from multicryogan.rng import stream

COUNT = 21
EVEN = torch.ones(COUNT)
PLACES = torch.linspace(0, 1, COUNT).double()
HALVES = (PLACES > 0.5).long()
LINE = (COUNT,)
TIE = populations._neighbours(LINE, COUNT)


def truth(kind: str) -> Tensor:
    """(V,) true shares."""
    weights = {
        "even": torch.ones(COUNT).double(),
        "rising": PLACES + 0.02,
        "hill": (-((PLACES - 0.4) ** 2) / (2 * 0.15**2)).exp(),
        "two": 0.25 * (PLACES - 0.25).abs().lt(0.01)
        + 0.75 * (PLACES - 0.75).abs().lt(0.01),
    }[kind].double()
    return weights / weights.sum()


def places(kind: str, count: int, seed: int = 0) -> Tensor:
    """(N,) conformations of images drawn from the true shares."""
    draws = stream(seed, "latent")
    return torch.multinomial(truth(kind), count, replacement=True, generator=draws)


def posteriors(
    kind: str, count: int, blur: float, seed: int = 0, prior: Tensor = EVEN
) -> Tensor:
    """(N, V) posteriors of images that show their latent with a Gaussian error."""
    error = torch.randn(count, generator=stream(seed, "noise")).double()
    return seen_at(PLACES[places(kind, count, seed)] + blur * error, blur, prior)


def seen_at(place: Tensor, blur: float, prior: Tensor = EVEN) -> Tensor:
    """(N, V) posteriors of images that show places (N,) with an error of `blur`."""
    log_likelihood = -((place[:, None] - PLACES) ** 2) / (2 * blur**2)
    return (prior.log() + log_likelihood).softmax(1).float()


def fit(likelihood: Tensor, roughness: Roughness) -> Parabola:
    start = torch.full((COUNT,), 1 / COUNT).double()
    return fit_weights(likelihood, torch.ones(len(likelihood)), roughness, start)


def holds(found: Shares, expected: Tensor) -> Tensor:
    """(V,) 1 where the interval holds the truth."""
    return ((found.low <= expected) & (expected <= found.high)).double()


@functools.cache
def two_points(blur: float) -> Shares:
    """25 % at 0.25 and 75 % at 0.75."""
    return latent_density(posteriors("two", 20_000, blur), EVEN, LINE, 0)


@pytest.mark.parametrize("blur", [0.1, 0.2])
def test_the_share_of_two_points_is_right(blur: float) -> None:
    share = group_shares(two_points(blur), HALVES)
    drawn = HALVES[places("two", 20_000)].double().mean()
    assert share.weights[1].item() == pytest.approx(drawn.item(), abs=0.01)
    assert holds(share, torch.stack((1 - drawn, drawn))).all()
    assert (share.high - share.low).max() < 0.03


def test_the_mean_posterior_draws_the_shares_to_the_prior() -> None:
    plain = posteriors("two", 20_000, 0.2).double().mean(0)
    assert plain[HALVES == 0].sum() > 0.30


def test_two_points_stay_two() -> None:
    density = two_points(0.1)
    near = (PLACES[:, None] - torch.tensor([0.25, 0.75])).abs().amin(1) < 0.06
    assert density.weights[near].sum() > 0.99
    assert density.weights[[5, 15]].sum() > 0.8
    assert density.smoothing <= 3e-3


def test_a_uniform_density_stays_even() -> None:
    """Greatest likelihood alone makes spikes of it: some shares three times others."""
    found = posteriors("even", 20_000, 0.1)
    density = latent_density(found, EVEN, LINE, 0)
    away = (density.weights - 1 / COUNT).abs()
    assert away[1:-1].max() < 0.005
    assert away.max() < 0.01
    free = fit(found[:2000], Roughness(0.0, TIE)).weights
    assert free.max() > 3 * free.median()


@pytest.mark.parametrize("blur", [0.1, 0.15])
def test_what_lies_beyond_an_end_is_counted_there_and_nowhere_else(blur: float) -> None:
    """Even from 0.04 before the first conformation to 0.04 beyond the last.

    The end takes a little more than is due: what it shows lies farther out.
    """
    place = 1.08 * torch.rand(40_000, generator=stream(0, "place")) - 0.04
    error = torch.randn(40_000, generator=stream(0, "noise"))
    found = seen_at(place + blur * error, blur)
    away = latent_density(found, EVEN, LINE, 0).weights - 0.05 / 1.08
    assert away[1:-1].abs().max() < 0.003
    assert (away[[0, -1]] - (0.04 - 0.025) / 1.08).abs().max() < 0.01


def test_a_hill_is_not_widened_by_the_posteriors() -> None:
    """The mean posterior is wider by half: 0.23 in place of 0.15."""
    found = posteriors("hill", 20_000, 0.15)

    def width(weights: Tensor) -> float:
        mean = weights @ PLACES
        return float((weights @ (PLACES - mean) ** 2).sqrt())

    expected = width(truth("hill"))
    density = latent_density(found, EVEN, LINE, 0)
    assert width(density.weights) == pytest.approx(expected, abs=0.006)
    assert width(found.double().mean(0)) > 1.5 * expected


def test_the_prior_of_the_posteriors_is_taken_out() -> None:
    prior = torch.linspace(1, 5, COUNT)
    even = latent_density(posteriors("rising", 1000, 0.1), EVEN, LINE, 0)
    tilted = posteriors("rising", 1000, 0.1, prior=prior)
    found = latent_density(tilted, 7 * prior, LINE, 0)
    torch.testing.assert_close(found.weights, even.weights, rtol=0, atol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rising", "hill"])
def test_intervals_hold_the_truth_about_as_often_as_they_say(kind: str) -> None:
    """Of 95 %, in 12 repeats; what smoothing shifts costs a few points."""
    expected = truth(kind)
    halves = torch.stack([expected[i == HALVES].sum() for i in (0, 1)])
    single, grouped = [], []
    for seed in range(12):
        found = posteriors(kind, 1000, 0.15, seed)
        density = latent_density(found, EVEN, LINE, seed, draws=100)
        single.append(holds(density, expected))
        grouped.append(holds(group_shares(density, HALVES), halves))
    assert torch.stack(single).mean() > 0.85
    assert torch.stack(grouped).mean() > 0.85


@pytest.mark.slow
def test_intervals_of_two_points_hold_their_shares() -> None:
    """Spread over four conformations, ten apart: twelve repeats of other particles."""
    expected = torch.tensor([0.25, 0.75])
    found = []
    for seed in range(12):
        density = latent_density(
            posteriors("two", 5000, 0.2, seed), EVEN, LINE, seed, draws=100
        )
        found.append(group_shares(density, HALVES))
    assert torch.stack([holds(share, expected) for share in found]).mean() > 0.85
    off = torch.stack([share.weights[0] - 0.25 for share in found])
    assert off.mean().abs() < 0.005


def sorted_images(count: int) -> Tensor:
    """(N, 3) posteriors without doubt: shares 0.2, 0.3, 0.5."""
    label = torch.arange(count) * 10 // count
    group = (label >= 2).long() + (label >= 5).long()
    return torch.nn.functional.one_hot(group, 3).float()


def test_without_doubt_the_shares_are_counts_with_binomial_intervals() -> None:
    count = 4000
    found = latent_density(sorted_images(count), torch.ones(3), None, 0, draws=2000)
    expected = torch.tensor([0.2, 0.3, 0.5]).double()
    torch.testing.assert_close(found.weights, expected, rtol=0, atol=1e-5)
    error = (expected * (1 - expected) / count).sqrt()
    width = 2 * 1.96 * error
    torch.testing.assert_close(found.high - found.low, width, rtol=0.1, atol=0)
    assert found.effective_images == pytest.approx(count, rel=1e-4)


def test_images_that_say_nothing_count_nothing() -> None:
    prior = torch.tensor([1.0, 2.0, 3.0])
    found = latent_density((prior / 6).expand(500, 3), prior, (3,), 0)
    assert found.effective_images == pytest.approx(0, abs=1e-3)


def test_images_of_two_states_count_by_their_fisher_information() -> None:
    """Each names its state, rightly in four of five cases.

    With the true share p = 0.5 the information is (2 * 0.8 - 1)² / (0.5 * 0.5): 0.36
    of that of a known image. Shares of N images are as uncertain as of 0.36 N known.
    """
    count, draws = 5000, 1000
    named = torch.tensor([[0.8, 0.2], [0.2, 0.8]])
    rows = named.repeat(count // 2, 1)
    found = latent_density(rows, torch.ones(2), None, 0, draws=draws)
    assert found.effective_images == pytest.approx(0.36 * count, rel=0.01)
    spread = found.draws[:, 0].std().item()
    assert spread == pytest.approx(math.sqrt(0.25 / (0.36 * count)), rel=0.08)


def test_groups_add_up_shares_and_draws() -> None:
    density = latent_density(sorted_images(1000), torch.ones(3), None, 0)
    both = group_shares(density, torch.tensor([0, 1, 1]))
    torch.testing.assert_close(both.weights[1], density.rougher[1:].sum())
    torch.testing.assert_close(both.draws[:, 1], density.draws[:, 1:].sum(1))
    torch.testing.assert_close(both.low[0], density.low[0])
    assert both.effective_images == pytest.approx(1000, rel=1e-4)


def test_the_bootstrap_is_that_of_images_counted_anew() -> None:
    """One draw by the parabola, and one by fitting images with the same counts."""
    count = 3000
    likelihood = posteriors("rising", count, 0.1)
    roughness = Roughness(0.1, TIE)
    best = fit(likelihood, roughness)
    estimate = populations._bootstrap(likelihood, best, roughness, 0, 1)[0]
    counts = torch.poisson(
        torch.ones(1, count), generator=stream(0, "populations/bootstrap")
    )
    anew = fit_weights(likelihood, counts[0], roughness, best.weights).weights
    weights = best.weights / best.weights.sum()
    moved = (estimate - weights).norm()
    assert (estimate - anew / anew.sum()).norm() < 0.1 * moved


def test_the_slope_of_what_is_maximised_is_zero() -> None:
    """1/N Σ_i l_iv / l_i - 1 - λ Σ_u (1 - √(w_u / w_v)) where a conformation v is."""
    likelihood = posteriors("hill", 3000, 0.1).double()
    weights = fit(likelihood, Roughness(0.03, TIE)).weights
    slope = (likelihood / (likelihood @ weights)[:, None]).mean(0) - 1
    ratio = (weights / weights[:, None]).sqrt()  # (v, u)
    slope = slope - 0.03 * (TIE * (1 - ratio)).sum(1)
    is_there = weights > 1e-3
    assert slope[is_there].abs().max() < 2e-3
    assert slope.max() < 2e-3
    assert int(is_there.sum()) >= COUNT // 2
    assert (0.03 * (TIE * (1 - ratio)).sum(1)).abs().max() > 0.02


def test_roughness_is_that_of_square_roots_on_a_grid() -> None:
    """Of all steps but the first and the last along a dimension."""
    tie = populations._neighbours((4, 5, 2), 40)
    weights = torch.rand(40, generator=stream(0, "weights")).double()
    root = weights.sqrt().reshape(4, 5, 2)
    inner = root[1:-1].diff(dim=0), root[:, 1:-1].diff(dim=1)
    expected = sum(step.square().sum() for step in inner)
    found = Roughness(0.5, tie).of(weights)
    torch.testing.assert_close(found, 0.5 * expected)


def test_results_depend_on_the_seed_alone() -> None:
    found = posteriors("hill", 500, 0.1)
    first, second = (latent_density(found, EVEN, LINE, 3, draws=20) for _ in range(2))
    other = latent_density(found, EVEN, LINE, 4, draws=20)
    assert torch.equal(first.draws, second.draws)
    assert not torch.equal(first.draws, other.draws)


@pytest.mark.parametrize("grid", [(20,), (3, 8)])
def test_a_grid_of_another_size_is_refused(grid: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="a grid of V"):
        latent_density(posteriors("even", 10, 0.1), EVEN, grid, 0)


def test_a_conformation_without_prior_is_refused() -> None:
    prior = EVEN.clone()
    prior[3] = 0
    with pytest.raises(InputError, match="no prior weight"):
        latent_density(posteriors("even", 10, 0.1), prior, LINE, 0)


def test_a_posterior_that_is_no_number_is_refused() -> None:
    found = posteriors("even", 10, 0.1)
    found[2, 3] = math.nan
    with pytest.raises(InputError, match="not a number"):
        latent_density(found, EVEN, LINE, 0)
