"""Laws of the latent."""

from typing import Literal

import pytest
import torch

from multicryogan.priors import LatentPrior
from multicryogan.rng import stream

COUNT = 40_000


@pytest.mark.parametrize(("kind", "dimensions"), [("segment", 1), ("uniform", 3)])
def test_uniform_latents_have_the_moments_of_the_unit_box(
    kind: str, dimensions: int
) -> None:
    prior = LatentPrior(kind, dimensions)  # type: ignore[arg-type]
    latent = prior.sample(COUNT, stream(0, "latent"))
    assert latent.shape == (COUNT, dimensions)
    assert latent.min() >= 0
    assert latent.max() <= 1
    expected = torch.full((dimensions,), 0.5)
    torch.testing.assert_close(latent.mean(0), expected, atol=0.01, rtol=0)
    torch.testing.assert_close(latent.var(0), expected / 6, atol=0.002, rtol=0)


def test_gaussian_latents_have_mean_zero_and_unit_covariance() -> None:
    latent = LatentPrior("gaussian", 3).sample(COUNT, stream(0, "latent"))
    torch.testing.assert_close(latent.mean(0), torch.zeros(3), atol=0.02, rtol=0)
    torch.testing.assert_close(torch.cov(latent.T), torch.eye(3), atol=0.03, rtol=0)


def test_fewer_latents_come_from_the_same_stream() -> None:
    prior = LatentPrior("segment", 1)
    few, many = prior.sample(2, stream(0, "a")), prior.sample(4, stream(0, "a"))
    assert few.shape == (2, 1)
    assert many.shape == (4, 1)


def test_a_grid_lies_in_the_middle_of_even_cells() -> None:
    grid = LatentPrior("uniform", 2).grid(2)
    assert grid.tolist() == [[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]]


def test_a_gaussian_grid_cuts_the_law_into_equal_shares() -> None:
    grid = LatentPrior("gaussian", 1).grid(4)
    shares = torch.special.ndtr(grid[:, 0])
    torch.testing.assert_close(shares, torch.tensor([0.125, 0.375, 0.625, 0.875]))


def test_the_path_runs_along_the_first_dimension_of_the_box() -> None:
    path = LatentPrior("uniform", 2).path(5)
    expected = torch.tensor(
        [[0.0, 0.5], [0.25, 0.5], [0.5, 0.5], [0.75, 0.5], [1, 0.5]]
    )
    torch.testing.assert_close(path, expected)


def test_the_gaussian_path_takes_evenly_probable_steps() -> None:
    path = LatentPrior("gaussian", 2).path(5)
    first = torch.tensor([-2.3263478, -0.6744898, 0.0, 0.6744898, 2.3263478])
    torch.testing.assert_close(path[:, 0], first)
    torch.testing.assert_close(path[:, 1], torch.zeros(5))


@pytest.mark.parametrize("kind", ["uniform", "gaussian"])
@pytest.mark.parametrize("dimensions", [1, 2])
def test_the_middle_of_every_cell_lies_in_it(
    kind: Literal["uniform", "gaussian"], dimensions: int
) -> None:
    prior = LatentPrior(kind, dimensions)
    found = prior.cell(prior.grid(5), 5)
    assert found.tolist() == list(range(5**dimensions))


def test_the_ends_of_a_segment_lie_in_its_first_and_last_cell() -> None:
    ends = torch.tensor([[0.0], [1.0]])
    assert LatentPrior("segment", 1).cell(ends, 5).tolist() == [0, 4]


def test_a_latent_is_held_where_it_may_be_drawn() -> None:
    wide, broken = torch.tensor([[0.5, -7.0]]), torch.tensor([[0.5, torch.nan]])
    box, normal = LatentPrior("uniform", 2), LatentPrior("gaussian", 2)
    assert box.holds(wide.clamp(0, 1))
    assert not box.holds(wide)
    assert normal.holds(wide)
    assert not box.holds(broken)
    assert not normal.holds(broken)
