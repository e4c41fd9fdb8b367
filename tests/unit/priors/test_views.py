"""The law of viewing directions: what it draws is what it says."""

import math

import pytest
import torch
from torch import Tensor

from multicryogan.priors.views import (
    BLUR_DEG,
    CELLS,
    EVEN,
    EXPECTED,
    OWN,
    SMOOTH,
    ViewLaw,
    view_cells,
    view_directions,
)
from multicryogan.rng import stream
from multicryogan.rotations import (
    euler_to_matrix,
    point_group,
    random_rotations,
    super_fibonacci,
)

MANY = 40_000


def two_laws() -> ViewLaw:
    """The first conformation is seen from the north, the second from all sides."""
    north = (view_directions(CELLS)[:, 2] > 0.8).float()
    return ViewLaw(torch.stack((north / north.sum(), torch.full((CELLS,), 1 / CELLS))))


def drawn(law: ViewLaw, conformation: int, count: int = MANY) -> Tensor:
    rows = torch.full((count,), conformation)
    return law.sample(rows, stream(0, "test/views"))


def test_the_direction_of_a_view_is_the_last_row() -> None:
    """Rot and tilt are its longitude and colatitude."""
    rot, tilt, psi = (torch.tensor(x) for x in (30.0, 60.0, 17.0))
    cell = view_cells(euler_to_matrix(rot, tilt, psi))
    a, b = math.radians(30), math.radians(60)
    expected = torch.tensor(
        [math.sin(b) * math.cos(a), math.sin(b) * math.sin(a), math.cos(b)]
    )
    assert int((view_directions(CELLS) @ expected).argmax()) == int(cell)


def test_directions_are_spread_evenly() -> None:
    """All poses have as many neighbours in each cell, within their scatter."""
    share = view_cells(super_fibonacci(200_000)).bincount(minlength=CELLS) / 200_000
    assert (share * CELLS - 1).abs().max() < 0.15


def test_uniform_views_have_a_log_density_of_zero() -> None:
    density = ViewLaw.uniform().log_density(super_fibonacci(50))
    torch.testing.assert_close(density, torch.zeros(50, 1))


def test_the_density_has_a_mean_of_one_over_all_poses() -> None:
    counts = torch.rand(3, CELLS, generator=stream(0, "test/counts")) * 1e4
    density = ViewLaw.of_counts(counts).log_density(super_fibonacci(100_000)).exp()
    torch.testing.assert_close(density.mean(0), torch.ones(3), rtol=0.01, atol=0)


@pytest.mark.parametrize("conformation", [0, 1])
def test_draws_have_the_weights_of_the_law(conformation: int) -> None:
    law = two_laws()
    share = view_cells(drawn(law, conformation)).bincount(minlength=CELLS) / MANY
    # Discs overlap the cells next to them: seen over a larger part of the sphere.
    z = view_directions(CELLS)[:, 2]
    for part in (z > 0.9, (z > 0.3) & (z < 0.7), z < 0):
        expected = float(law.weights[conformation][part].sum())
        assert float(share[part].sum()) == pytest.approx(expected, abs=0.02)


def test_draws_are_rotations_with_even_angles_in_the_plane() -> None:
    rotation = drawn(two_laws(), 0)
    identity = torch.eye(3).expand_as(rotation)
    torch.testing.assert_close(rotation @ rotation.mT, identity, rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(MANY))
    angle = torch.atan2(rotation[:, 0, 2], rotation[:, 1, 2])
    assert angle.cos().mean().abs() < 0.02
    assert angle.sin().mean().abs() < 0.02


def test_uniform_draws_are_uniform_rotations() -> None:
    found = ViewLaw.uniform().sample(torch.zeros(MANY).long(), stream(0, "test/views"))
    expected = random_rotations((MANY,), stream(1, "test/views"))
    for power in (1, 2):
        torch.testing.assert_close(
            found.pow(power).mean(0), expected.pow(power).mean(0), rtol=0, atol=0.02
        )


def test_a_law_of_many_particles_is_their_share() -> None:
    """A cap and a uniform rest, with a rim as sharp as the cells are fine."""
    cap = view_directions(CELLS)[:, 2] > math.cos(math.radians(30))
    share = 0.5 * cap / cap.sum() + 0.5 / CELLS
    law = ViewLaw.of_counts(1e7 * share[None])
    assert float(law.weights[0, cap].sum()) == pytest.approx(
        float(share[cap].sum()), abs=0.01
    )
    error = (law.weights[0] - share).abs()
    assert float(error.max()) < 0.05 * float(share.max())


def blurred_from(cell: int) -> Tensor:
    """(K,) von Mises-Fisher shares about a cell."""
    directions = view_directions(CELLS)
    cosine = directions @ directions[cell]
    return (1 / math.radians(BLUR_DEG) ** 2 * (cosine - 1)).softmax(0)


def test_a_single_particle_counts_mostly_where_it_is_blurred_to() -> None:
    counts = torch.zeros(1, CELLS, dtype=torch.float64)
    counts[0, 60] = 1.0
    more = ViewLaw.of_counts(counts).weights[0] - 1 / CELLS
    here = torch.eye(CELLS)[60].double() - 1 / CELLS
    about = blurred_from(60).double() - 1 / CELLS
    expected = here * (1 / SMOOTH + 1 / EXPECTED) + about * (1 / EVEN + 1 / OWN)
    torch.testing.assert_close(more, expected, rtol=0, atol=0.02 * float(more.max()))


def test_a_law_of_no_particles_is_uniform() -> None:
    weights = ViewLaw.of_counts(torch.zeros(2, CELLS)).weights
    torch.testing.assert_close(weights, torch.full((2, CELLS), 1 / CELLS))


def test_few_particles_of_a_conformation_lean_to_the_directions_of_all() -> None:
    """OWN of them, seen from one side, count as much as the law of all: a uniform one.

    What is expected of them is blurred, and counts for EXPECTED: they are few.
    """
    counts = torch.full((2, CELLS), 1e9 / CELLS)
    counts[0] = 0.0
    counts[0, 60] = OWN
    found = ViewLaw.of_counts(counts).weights
    own = torch.eye(CELLS)[60]
    blurred = 0.5 / CELLS + 0.5 * blurred_from(60)
    expected = (OWN * own + EXPECTED * blurred) / (OWN + EXPECTED)
    assert (found[0] - expected).abs().max() < 0.02 * expected.max()
    torch.testing.assert_close(found[1], torch.full((CELLS,), 1 / CELLS))


def test_many_particles_of_a_conformation_have_the_edges_of_all() -> None:
    """Two of one law, of which one is known well: the other has it as sharp."""
    cap = (view_directions(CELLS)[:, 2] > 0.8).double()
    share = 0.5 * cap / cap.sum() + 0.5 / CELLS
    found = ViewLaw.of_counts(torch.stack((1e2 * share, 1e9 * share))).weights
    assert (found - share).abs().max() < 0.05 * share.max()


def test_many_particles_of_a_conformation_have_the_edges_that_they_show() -> None:
    """One is seen from a cap, the other from all sides: the rim is as sharp as cells.

    `EXPECTED` of them count as much as the law that is expected, whose rim is blurred.
    """
    cap = (view_directions(CELLS)[:, 2] > 0.8).double()
    share = torch.stack((cap / cap.sum(), torch.full_like(cap, 1 / CELLS)))
    errors = []
    for count in (1e2, EXPECTED, 1e7):
        law = ViewLaw.of_counts(count * share).weights
        errors.append(float((law[0] - share[0])[cap == 0].sum()))
    assert errors[0] > 0.3
    assert 0.05 < errors[1] < 0.2
    assert errors[2] < 0.01


@pytest.mark.parametrize("group", ["C4", "D2", "O"])
def test_however_many_mates_a_particle_counts_at_it_counts_once(group: str) -> None:
    """Counts that have a symmetry say as much when it is known."""
    even = view_directions(CELLS).pow(4).sum(1) - 3 / 5  # all of these groups have it
    counts = 300 / CELLS * (1 + 2 * even)[None]
    found, plain = (ViewLaw.of_counts(counts, x).weights * CELLS for x in (group, "C1"))
    assert (plain - 1).abs().max() > 0.2
    assert (found - plain).abs().max() < 0.03


def test_directions_of_all_are_weighed_by_the_conformations() -> None:
    law = two_laws()
    mean = law.mean(torch.tensor([1.0, 3.0]))
    torch.testing.assert_close(mean, 0.25 * law.weights[0] + 0.75 * law.weights[1])


# Symmetry

ASIDE = 70  # a direction on no axis of symmetry


def law_of_one_direction(group: str) -> Tensor:
    """(K,) density over uniform views of many particles seen from one direction."""
    counts = torch.zeros(1, CELLS)
    counts[0, ASIDE] = 1e9
    return ViewLaw.of_counts(counts, group).weights[0] * CELLS


@pytest.mark.parametrize("group", ["C1", "C4", "D2", "O"])
def test_a_direction_counts_at_its_mates_alone(group: str) -> None:
    """As near to them as the cells are fine."""
    directions = view_directions(CELLS)
    mates = point_group(group).float() @ directions[ASIDE]
    nearest = (directions @ mates.T).amax(1)
    share = law_of_one_direction(group) / CELLS
    assert float(share @ nearest) > math.cos(math.radians(10))


@pytest.mark.parametrize("group", ["C4", "D2"])
def test_mates_have_equal_shares(group: str) -> None:
    directions = view_directions(CELLS)
    mates = point_group(group).float() @ directions[ASIDE]
    nearest = (directions @ mates.T).argmax(1)
    shares = torch.zeros(4).index_add(0, nearest, law_of_one_direction(group) / CELLS)
    torch.testing.assert_close(shares, torch.full((4,), 0.25), rtol=0, atol=0.01)


def test_even_counts_stay_even_under_any_group() -> None:
    for group in ("D7", "T", "I"):
        found = ViewLaw.of_counts(torch.full((2, CELLS), 1e6), group).weights
        torch.testing.assert_close(
            found, torch.full((2, CELLS), 1 / CELLS), rtol=0.01, atol=0
        )


def test_conformations_that_are_alike_are_seen_alike() -> None:
    """A third that is not has its own law, whatever the others show."""
    counts = 1e3 * torch.rand((3, CELLS), generator=stream(0, "alike"))
    alike = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    first, second, third = ViewLaw.of_counts(counts, alike=alike).weights
    alone = ViewLaw.of_counts(counts).weights
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(third, alone[2])
    both = ViewLaw.of_counts(torch.stack((counts[:2].sum(0), counts[2])))
    torch.testing.assert_close(first, both.weights[0])
