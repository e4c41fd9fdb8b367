"""Occupancy of a plane through known maps: turned, bent, relabelled, or none."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from evaluation_phantoms import hinge
from multicryogan.evaluation import Density, Occupancy, landmarks, score
from multicryogan.evaluation.landmarks import LANDMARKS, MOST_STATES, spread_states
from multicryogan.evaluation.latent_map import fit_map, fit_relabelling
from multicryogan.evaluation.occupancy import Plane, measure_occupancy
from multicryogan.evaluation.order import Order, measure_order
from multicryogan.priors import LatentPrior
from multicryogan.rng import stream

NODES = 12
PRIOR = LatentPrior("uniform", 2)
STATES = torch.cartesian_prod(torch.arange(NODES) * 2.0, torch.arange(NODES) * 3.0)
FULL = torch.tensor([2.0, 3.0]) * (NODES - 1)
Map = Callable[[Tensor], Tensor]


def landscape(coordinates: Tensor) -> Tensor:
    """(Q,) two hills, which their marginals do not tell; nothing beyond the range."""
    place = coordinates / FULL
    hills = [
        (-(place - torch.tensor(top)).square().sum(1) / 0.02).exp()
        for top in ((0.35, 0.35), (0.65, 0.65))
    ]
    inside = ((place >= 0) & (place <= 1)).all(1)
    return (hills[0] + 0.7 * hills[1]) * inside


def turned(latents: Tensor) -> Tensor:
    """A latent plane at 35 degrees to the coordinates."""
    c, s = math.cos(math.radians(35)), math.sin(math.radians(35))
    return (0.5 + 1.5 * (latents - 0.5) @ torch.tensor([[c, s], [-s, c]])) * FULL


def bent(latents: Tensor) -> Tensor:
    """The same, bent: its Jacobian is that of `turned`."""
    x, y = latents.T
    return turned(torch.stack((x + 0.3 * (y - 0.5) ** 2, y), dim=1))


def order_of(latents: Tensor, matched: Tensor) -> Order:
    nothing = (0.0, 0.0)
    return Order(latents, torch.zeros(len(latents)), matched, *(nothing,) * 5)


def found_through(known: Map, weights: Map, steps: int = 9) -> Occupancy:
    """Occupancy of volumes on a grid of latents whose coordinates are known."""
    latents, points = PRIOR.grid(steps), PRIOR.grid(150)
    found = measure_occupancy(
        order_of(latents, known(latents)),
        STATES,
        landscape(STATES),
        Density(points, weights(points)),
    )
    assert found is not None
    return found


@pytest.mark.parametrize("known", [turned, bent])
def test_a_turned_and_bent_latent_gives_the_table(known: Map) -> None:
    found = found_through(known, lambda z: landscape(known(z)))
    assert found.correlation > 0.98
    assert found.correlation > found.relabelled_correlation + 0.1


def test_an_even_density_gives_an_even_table() -> None:
    """Cells of the nodes reach half a step beyond the border."""
    spacing = FULL / (NODES - 1)
    found = found_through(
        lambda z: (z * NODES - 0.5) * spacing, lambda z: torch.ones(len(z))
    )
    assert float(found.recovered.max() / found.recovered.min()) < 1.2
    assert float((found.recovered - found.true).abs().sum()) > 0.8


def test_recovered_shares_are_those_of_the_states() -> None:
    found = found_through(turned, lambda z: landscape(turned(z)))
    assert float(found.recovered.sum()) == pytest.approx(1)
    assert float((found.recovered - found.true).abs().sum()) < 0.15


@pytest.mark.parametrize("is_swapped", [False, True])
@pytest.mark.parametrize("flips", [(), (0,), (1,), (0, 1)])
def test_permuted_and_mirrored_axes_are_relabelled(
    is_swapped: bool, flips: tuple[int, ...]
) -> None:
    """Each axis is warped, too; the weights are the density times the Jacobian."""

    def known(latents: Tensor) -> Tensor:
        z = latents.clone()
        z[:, list(flips)] = 1 - z[:, list(flips)]
        z = z.flip(1) if is_swapped else z
        return 1.1 * (z + torch.sin(2 * math.pi * z) / 9 - 0.05) * FULL

    def weights(latents: Tensor) -> Tensor:
        slope = 1 + torch.cos(2 * math.pi * latents) * 2 * math.pi / 9
        return landscape(known(latents)) * slope.prod(1)

    found = found_through(known, weights)
    assert found.relabelled_correlation > 0.97
    assert found.correlation > 0.97


def test_relabelling_is_not_fitted_to_occupancies() -> None:
    """Volumes that resemble any state give no table, whatever marginals they have."""
    draws = torch.rand(81, 2, generator=stream(0, "matches")) * FULL
    found = found_through(lambda z: draws[: len(z)], lambda z: torch.ones(len(z)))
    assert found.relabelled_correlation < 0.5
    assert found.correlation < 0.5
    assert found.marginals_correlation > 0.5


def test_a_smooth_map_tells_left_out_matches() -> None:
    latents = PRIOR.grid(7)
    assert min(fit_map(latents, bent(latents)).explained) > 0.98


def test_matches_at_random_are_not_told() -> None:
    draws = torch.rand(49, 2, generator=stream(0, "matches"))
    assert max(fit_map(PRIOR.grid(7), draws).explained) < 0.2


def test_what_is_told_is_of_left_out_matches() -> None:
    """At least as much as straight lines, each fitted to all others, tell of them."""
    latents, noise = PRIOR.grid(4), stream(0, "noise")
    values = latents[:, :1] + 0.1 * torch.randn(16, 1, generator=noise)
    told = fit_map(latents, values).explained[0]
    errors = []
    for i in range(16):
        kept = torch.arange(16) != i
        offset = torch.cat((torch.ones(16, 1), latents), dim=1).double()
        line = torch.linalg.lstsq(offset[kept], values[kept].double()).solution
        errors.append(float((values[i] - offset[i] @ line).square()))
    total = float((values - values.mean()).square().sum())
    assert told >= 1 - sum(errors) / total - 1e-3
    assert told < 1


def test_a_coordinate_that_does_not_vary_is_not_told() -> None:
    assert math.isnan(fit_map(PRIOR.grid(4), torch.ones(16, 1)).explained[0])


def test_latents_that_do_not_vary_tell_nothing() -> None:
    found = fit_map(torch.ones(9, 2), torch.rand(9, 1))
    assert math.isnan(found.explained[0])
    assert found.predict(torch.rand(3, 2)).shape == (3, 1)


def test_relabelled_axes_go_straight_on_beyond_the_outermost_latents() -> None:
    latents = PRIOR.grid(5)
    predict = fit_relabelling(latents, latents * FULL)
    ends = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    torch.testing.assert_close(predict(ends).float(), ends * FULL)


@pytest.mark.parametrize(
    "coordinates",
    [STATES[:-1], STATES[:, :1], torch.cartesian_prod(*[torch.arange(2.0)] * 2)],
)
def test_what_is_no_plane_has_no_occupancy(coordinates: Tensor) -> None:
    assert Plane.of(coordinates) is None


def test_shares_beyond_the_range_count_at_its_border() -> None:
    plane = Plane.of(STATES)
    assert plane is not None
    table = plane.table(torch.tensor([[-5.0, 99.0]]), torch.ones(1))
    assert float(table[0, -1]) == 1


# Many states


def test_corners_are_among_the_states_that_are_shown() -> None:
    shown, near = spread_states(STATES)
    assert len(shown) == LANDMARKS
    assert {0, NODES - 1, NODES**2 - NODES, NODES**2 - 1} <= set(shown.tolist())
    assert torch.equal(near[shown], torch.arange(LANDMARKS))
    away = (STATES - STATES[shown[near]]) / FULL
    assert float(away.norm(dim=1).max()) < 0.2


def test_few_states_are_all_shown() -> None:
    shown, near = spread_states(torch.arange(float(MOST_STATES))[:, None])
    assert torch.equal(shown, torch.arange(MOST_STATES))
    assert torch.equal(near, shown)


def test_volumes_match_states_that_are_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(landmarks, "MOST_STATES", 4)
    monkeypatch.setattr(landmarks, "LANDMARKS", 4)
    coordinates = torch.linspace(0, 48, 9)
    states, own = hinge(16, coordinates.tolist()), torch.tensor([1, 3, 5])
    even = torch.ones(9)
    scores = score(
        states[own], torch.arange(3.0), torch.ones(3), states, coordinates, even, 5.0
    )
    assert not set(own.tolist()) & set(scores.shown)
    assert torch.equal(scores.own_frames.order.matched_state, own)
    assert (scores.common_frame.order.matched_state - own).abs().max() <= 1
    assert len(scores.states) == 4
    assert [state.coordinate[0] for state in scores.states] == [
        float(coordinates[m]) for m in scores.shown
    ]


def test_a_plane_has_no_two_ends() -> None:
    states = hinge(12, [0.0, 10.0, 20.0, 30.0])
    scores = score(
        states,
        PRIOR.grid(2),
        torch.ones(4),
        states,
        torch.arange(4),
        torch.ones(4),
        5.0,
    )
    assert scores.populations is None
    assert not any("paper's rule" in line for line in scores.table())


def test_order_tells_what_the_latent_explains() -> None:
    latents = PRIOR.grid(6)
    nearest = torch.cdist(turned(latents), STATES).argmin(1)
    order = measure_order(latents, torch.ones(36), STATES, nearest)
    assert min(order.explained) > 0.9
    assert max(abs(rank) for rank in order.rank_correlation) < 0.9
