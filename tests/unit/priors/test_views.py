"""The law of viewing directions: what it draws is what it says."""

import math

import pytest
import torch
from torch import Tensor

from multicryogan.priors.views import (
    BLUR_DEG,
    CELLS,
    EVEN,
    OWN,
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
    """A cap and a uniform rest keep their shares but for the blur of the rim."""
    z = view_directions(CELLS)[:, 2]
    cap, wide = z > math.cos(math.radians(30)), z > math.cos(math.radians(60))
    share = 0.5 * cap / cap.sum() + 0.5 / CELLS
    law = ViewLaw.of_counts(1e7 * share[None])
    assert float(law.weights[0, wide].sum()) == pytest.approx(
        float(share[wide].sum()), abs=0.01
    )
    assert float(law.weights[0, cap].sum()) > 0.3


def test_a_direction_is_blurred_by_15_degrees() -> None:
    """The mean cosine to a von Mises-Fisher centre is 1 - variance, nearly."""
    counts = torch.zeros(1, CELLS)
    counts[0, 60] = 1e9
    directions = view_directions(CELLS)
    cosine = float(ViewLaw.of_counts(counts).weights[0] @ (directions @ directions[60]))
    assert cosine == pytest.approx(1 - math.radians(15) ** 2, abs=0.01)


def test_a_law_of_no_particles_is_uniform() -> None:
    weights = ViewLaw.of_counts(torch.zeros(2, CELLS)).weights
    torch.testing.assert_close(weights, torch.full((2, CELLS), 1 / CELLS))


def test_few_particles_of_a_conformation_lean_to_the_directions_of_all() -> None:
    """The posterior mean under a Dirichlet prior of OWN particles about all, EVEN."""
    flat = torch.full((CELLS,), 1 / CELLS)
    north = (view_directions(CELLS)[:, 2] > 0).float()
    few, many = torch.tensor(OWN), torch.tensor(1e9)
    counts = torch.stack((few * flat, many * north / north.sum()))
    found = ViewLaw.of_counts(counts).weights
    # OWN particles count as much as the law of all, which is that of the many.
    expected = 0.5 * flat + 0.5 * found[1]
    torch.testing.assert_close(found[0], expected, rtol=0, atol=5e-4)


@pytest.mark.parametrize("group", ["C1", "C4", "O"])
def test_few_particles_lean_to_uniform(group: str) -> None:
    """However many directions a particle counts in, it counts once."""
    north = (view_directions(CELLS)[:, 2] > 0.8).float()
    few = torch.tensor(EVEN) * north / north.sum()
    many = torch.tensor(1e9) * north / north.sum()
    found, sure = (ViewLaw.of_counts(x[None], group).weights[0] for x in (few, many))
    # Its own counts are twice in it: as those of all, and as those of this one.
    common = (sure + 1 / CELLS) / 2
    expected = (EVEN * sure + OWN * common) / (EVEN + OWN)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


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
def test_a_direction_counts_alike_at_all_its_mates(group: str) -> None:
    """A von Mises-Fisher density about each of them, of 1 / |G| of its height."""
    directions = view_directions(CELLS).double()
    mates = point_group(group) @ directions[ASIDE]
    concentration = 1 / math.radians(BLUR_DEG) ** 2
    height = concentration / math.sinh(concentration)
    density = height * (concentration * (directions @ mates.T)).exp().mean(1)
    found = law_of_one_direction(group).double()
    assert (found - density).abs().max() < 0.01 * density.max()


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


def test_without_symmetry_counts_are_blurred_as_ever() -> None:
    directions = view_directions(CELLS)
    kernel = (1 / math.radians(BLUR_DEG) ** 2 * (directions @ directions.T - 1)).exp()
    kernel = kernel / kernel.sum(1, keepdim=True)
    counts = torch.rand(1, CELLS, generator=stream(0, "test/counts")) * 1e4
    blurred = counts @ kernel
    common = (blurred + EVEN / CELLS) / (blurred.sum() + EVEN)
    own = blurred + OWN * common
    expected = own / own.sum(1, keepdim=True)
    assert torch.equal(ViewLaw.of_counts(counts).weights, expected)
