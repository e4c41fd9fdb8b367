"""Dependence of latents, poses and defocus: flagged where it is, seldom elsewhere."""

import math

import pytest
import torch
from torch import Tensor

from multicryogan.inference.leakage import (
    Leakage,
    information_imbalance,
    measure_leakage,
)
from multicryogan.rng import stream
from multicryogan.rotations import random_rotations

COUNT = 400


def rotations(seed: int = 0, count: int = COUNT) -> Tensor:
    return random_rotations((count,), stream(seed, "pose"))


def defocus(seed: int = 0, count: int = COUNT) -> Tensor:
    return 10_000 * (1 + torch.rand(count, generator=stream(seed, "defocus")))


def even(seed: int = 0, count: int = COUNT) -> Tensor:
    """(N, 1) latents drawn apart from everything."""
    return torch.rand(count, 1, generator=stream(seed, "latent"))


def flags(found: Leakage) -> dict[tuple[str, str, str], bool]:
    return {(one.of, one.on, one.measure): one.is_flagged for one in found.found}


RANK, NEAR = "rank correlation", "information imbalance"


def test_the_imbalance_of_a_quantity_with_itself_is_two_over_n() -> None:
    distance = (even() - even().T).abs()
    found = information_imbalance(distance, distance, stream(0, "ties"))
    assert found == pytest.approx(2 / COUNT)


def test_the_imbalance_of_independent_quantities_is_one() -> None:
    """The mean rank of n - 1 others is n / 2; 1 / √(3 n) is its spread about 1."""
    a, b = even(0, 1500), even(1, 1500)
    found = information_imbalance(
        torch.cdist(a, a), torch.cdist(b, b), stream(0, "ties")
    )
    assert found == pytest.approx(1, abs=3 / math.sqrt(3 * 1500))


def test_the_imbalance_is_not_symmetric() -> None:
    """A place gives its square; the square leaves two places, half of them far away."""
    place = 2 * even(0, 1000) - 1
    square = place.square()
    ends = torch.cdist(place, place), torch.cdist(square, square)
    there = information_imbalance(*ends, stream(0, "ties"))
    back = information_imbalance(*ends[::-1], stream(0, "ties"))
    assert there < 0.02
    assert 0.3 < back < 0.7


def test_equal_distances_share_ranks_and_neighbours() -> None:
    """Of two classes of 50, alike within: the mean rank of 49 equal ones is 25."""
    label = (torch.arange(100) >= 50).float()[:, None]
    distance = torch.cdist(label, label)
    found = information_imbalance(distance, distance, stream(0, "ties"))
    assert found == pytest.approx(2 * 25 / 100)


def test_any_one_of_equal_neighbours_is_taken() -> None:
    """By the source all are equally near; by the target the first is far from all."""
    same = torch.zeros(COUNT, COUNT)
    place = even()
    place[0] = 100
    found = information_imbalance(same, (place - place.T).abs(), stream(0, "ties"))
    assert found == pytest.approx(1, abs=0.1)


def test_false_alarms_are_as_rare_as_told() -> None:
    """Of 10 % per trial, 40 trials: 4 are due, 11 come once in a thousand times."""
    alarms = 0
    for seed in range(40):
        found = measure_leakage(
            even(seed, 120),
            rotations(seed, 120),
            defocus(seed, 120),
            seed,
            false_alarms=0.1,
        )
        alarms += found.is_flagged
    assert alarms <= 10


@pytest.mark.parametrize("dimensions", [1, 2])
def test_nothing_is_flagged_where_nothing_depends(dimensions: int) -> None:
    latent = torch.cat([even(seed) for seed in range(dimensions)], dim=1)
    found = measure_leakage(latent, rotations(), defocus(), 0)
    assert not found.is_flagged
    assert len(found.found) == 6
    assert found.images == COUNT
    assert "no more than by chance" in found.found[1].text


def test_a_latent_that_follows_the_defocus_is_flagged() -> None:
    latent = torch.cat((even(), defocus()[:, None] / 1e4 + 0.3 * even(1)), dim=1)
    found = measure_leakage(latent, rotations(), defocus(), 0)
    one = found.found[3]
    assert one.value > 0.9
    assert one.text.startswith("latent 2 goes with defocus (rank correlation +0.9")
    assert all(flags(found)[pair] for pair in flags(found) if "defocus" in pair)
    assert not any(flags(found)[pair] for pair in flags(found) if "pose" in pair)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_latent_that_tells_top_from_side_is_flagged(sign: int) -> None:
    """|z| goes with it, z does not: opposite views have one latent."""
    latent = sign * rotations()[:, 2, 2:].abs() + 0.1 * even()
    one = measure_leakage(latent, rotations(), None, 0).found[0]
    assert one.is_flagged
    assert sign * one.value > 0.9
    assert "|z| of the viewing direction" in one.text


def test_a_latent_that_tells_images_from_mirror_images_is_flagged() -> None:
    latent = rotations()[:, 2, :1] + 0.1 * even()
    one = measure_leakage(latent, rotations(), None, 0).found[0]
    assert one.is_flagged
    assert "goes with x of the viewing direction" in one.text


def test_the_mirror_image_of_the_maps_changes_signs_only() -> None:
    latent = rotations()[:, 2, :1] + 0.1 * even()
    reflect = torch.diag(torch.tensor([1.0, 1.0, -1.0]))
    found = measure_leakage(latent, rotations(), None, 0)
    other = measure_leakage(latent, reflect @ rotations() @ reflect, None, 0)
    for one, two in zip(found.found, other.found, strict=True):
        assert abs(one.value) == pytest.approx(abs(two.value), abs=1e-6)
        assert one.threshold == pytest.approx(two.threshold, abs=1e-6)


def test_the_imbalance_sees_what_neither_rises_nor_falls() -> None:
    """Least latent at the middle of the defocus; or the product of x and y of views."""
    middle = (defocus()[:, None] / 1e4 - 1.5).square() + 0.01 * even()
    found = flags(measure_leakage(middle, rotations(), defocus(), 0))
    assert not found["latent", "defocus", RANK]
    assert found["latent", "defocus", NEAR]
    assert found["defocus", "latent", NEAR]
    product = rotations()[:, 2, :2].prod(dim=1, keepdim=True)
    found = flags(measure_leakage(product, rotations(), None, 0))
    assert not found["latent", "pose", RANK]
    assert found["pose", "latent", NEAR]


def test_the_angle_in_the_image_counts_as_pose() -> None:
    in_image = torch.atan2(rotations()[:, 0, 2], rotations()[:, 1, 2])[:, None]
    found = flags(measure_leakage(in_image, rotations(), None, 0))
    assert not found["latent", "pose", RANK]
    assert found["pose", "latent", NEAR]


def test_two_states_that_follow_the_view_are_flagged() -> None:
    latent = (rotations()[:, 2, 2:].abs() > 0.5).float()
    found = flags(measure_leakage(latent, rotations(), None, 0))
    assert found["latent", "pose", RANK]
    assert found["pose", "latent", NEAR]


def test_a_latent_without_spread_depends_on_nothing() -> None:
    found = measure_leakage(torch.zeros(COUNT, 1), rotations(), defocus(), 0)
    assert not found.is_flagged
    assert found.found[0].value == 0
    assert found.found[2].value == pytest.approx(1)


def test_a_dependence_too_faint_to_matter_is_told_and_not_flagged() -> None:
    """Means of posteriors crowd together where images tell little."""
    count = 2_000
    spread = defocus(0, count) - defocus(0, count).min()
    spread = 1 + 0.5 * spread / spread.max()
    latent = (even(0, count) - 0.5) * spread[:, None]
    found = measure_leakage(latent, rotations(0, count), defocus(0, count), seed=0)
    faint = [x for x in found.found if (x.of, x.on) == ("latent", "defocus")]
    (one,) = [x for x in faint if x.measure == NEAR]
    assert 0.9 < one.value < one.threshold
    assert not one.is_flagged
    assert "hardly more than by chance" in one.text


def test_the_scale_of_a_dimension_plays_no_part() -> None:
    latent = torch.cat((even(), rotations()[:, 2, 2:].abs()), dim=1)
    found = measure_leakage(latent, rotations(), None, 0)
    other = measure_leakage(latent * torch.tensor([1000.0, 0.01]), rotations(), None, 0)
    for one, two in zip(found.found, other.found, strict=True):
        assert one.value == pytest.approx(two.value, abs=1e-6)


def test_at_most_so_many_images_are_compared() -> None:
    found = measure_leakage(even(), rotations(), None, 0, most=100)
    assert found.images == 100
    assert found == measure_leakage(even(), rotations(), None, 0, most=100)
    assert found != measure_leakage(even(), rotations(), None, 1, most=100)


def test_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="as many latents as rotations"):
        measure_leakage(even(), rotations()[:-1], None, 0)
