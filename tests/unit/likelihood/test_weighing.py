"""What images count of the laws that they are drawn from, against derivatives."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from manifold_data import (
    BOX,
    FLOAT,
    PIXEL_SIZE,
    clean_images,
    law,
    manifold,
    no_chance,
    optics,
    white_noise,
)
from multicryogan.imaging import shift_images
from multicryogan.likelihood import Manifold, PoseTree, place
from multicryogan.likelihood.factors import ImageFactors, Scorer
from multicryogan.likelihood.search import likely_cells, search
from multicryogan.likelihood.shifts import NONE_PX, ShiftTree
from multicryogan.likelihood.weighing import Counts, weigh
from multicryogan.priors import ViewLaw
from multicryogan.priors.views import CELLS
from multicryogan.rng import stream

TREE, LEVEL, COUNT = PoseTree(40).with_shifts(0.8, BOX), 1, 4
POWER = 4.0
STEP = 0.01  # priors are single precision


@pytest.fixture(autouse=True)
def _no_cell_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multicryogan.likelihood.search.DROP", (1e9, 1e9))


@pytest.fixture
def factors() -> ImageFactors:
    """Images of four conformations, moved by up to half a pixel."""
    pose = torch.randint(TREE.count(LEVEL), (COUNT,), generator=stream(0, "pose"))
    rotations = TREE.rotations(pose, LEVEL)
    clean = clean_images(manifold().volumes, rotations, optics(COUNT), BOX // 2)
    shift = torch.rand(COUNT, 2, generator=stream(0, "shift"), dtype=FLOAT) - 0.5
    moved = shift_images(clean, PIXEL_SIZE * shift, PIXEL_SIZE)
    images = moved + white_noise(COUNT, POWER)
    return ImageFactors.of(images, optics(COUNT), law(POWER))


def uneven() -> Manifold:
    """The manifold under a law of views of its own for each conformation."""
    draws = torch.rand(4, CELLS, generator=stream(0, "views"), dtype=FLOAT) + 0.2
    views = ViewLaw(draws / draws.sum(1, keepdim=True))
    return dataclasses.replace(manifold(), views=views)


def counted(
    factors: ImageFactors, model: Manifold, tree: PoseTree = TREE
) -> tuple[Counts, Tensor]:
    """Counts of all images, and their log-likelihoods."""
    scorer, counts = Scorer.of(model, factors.modes), Counts.empty(model)
    cells = likely_cells(factors, model, tree, LEVEL, no_chance(COUNT))
    found = search(cells, factors, scorer, tree)
    placed = place(found, model.latents, model.weights)
    for _, weight, _ in weigh(counts, cells, factors, scorer, tree, found, placed):
        assert len(weight) > 0
    return counts, placed.log_likelihood


def test_directions_sum_to_the_weights_of_the_conformations(
    factors: ImageFactors,
) -> None:
    counts, log_likelihood = counted(factors, uneven())
    torch.testing.assert_close(counts.views.sum(1), counts.weights)
    assert float(counts.weights.sum()) == pytest.approx(COUNT)
    assert counts.log_likelihood == pytest.approx(float(log_likelihood.sum()))


def test_directions_are_the_derivative_with_respect_to_the_law_of_views(
    factors: ImageFactors,
) -> None:
    model = uneven()
    counts, _ = counted(factors, model)
    for v in range(4):
        k = int(counts.views[v].argmax())

        def log_likelihood(step: float, v: int = v, k: int = k) -> float:
            weights = model.views.weights.clone()
            weights[v, k] *= math.exp(step)
            bent = dataclasses.replace(model, views=ViewLaw(weights))
            return float(counted(factors, bent)[1].sum())

        slope = (log_likelihood(STEP) - log_likelihood(-STEP)) / (2 * STEP)
        assert float(counts.views[v, k]) == pytest.approx(slope, rel=2e-3)


def test_shifts_are_the_derivative_with_respect_to_their_width(
    factors: ImageFactors,
) -> None:
    """D log p / d log sigma = |shift|² / sigma² - 2 for a Gaussian in the plane."""
    sigma = TREE.shifts.sigma_px
    counts, _ = counted(factors, manifold())

    def log_likelihood(step: float) -> float:
        shifts = dataclasses.replace(TREE.shifts, sigma_px=sigma * math.exp(step))
        assert len(shifts.roots) == len(TREE.shifts.roots)
        tree = dataclasses.replace(TREE, shifts=shifts)
        return float(counted(factors, manifold(), tree)[1].sum())

    slope = (log_likelihood(STEP) - log_likelihood(-STEP)) / (2 * STEP)
    expected = float(counts.shift_square) / sigma**2 - 2 * COUNT
    assert slope == pytest.approx(expected, rel=2e-3)


def test_the_width_is_that_of_shifts_spread_over_cells() -> None:
    """Cells blur: shifts drawn from a Gaussian and put in cells give its width."""
    tree, level = ShiftTree(1.5, 1.6), 1
    drawn = 1.1 * torch.randn(20_000, 2, generator=stream(0, "drawn"))
    places = tree.shifts(torch.arange(tree.count(level)), level)
    cells = places[torch.cdist(drawn, places).argmin(1)]
    found = tree.refitted(float(cells.square().sum(1).mean()), level)
    assert found.sigma_px == pytest.approx(1.1, rel=0.02)
    assert found.spacing_px == tree.spacing_px


def test_shifts_too_small_for_the_cells_are_none() -> None:
    tree = ShiftTree(1.0, 1.6)
    blur = 2 * 0.8**2 / 12
    below, above = (2 * (f * NONE_PX) ** 2 + blur for f in (0.99, 1.01))
    assert tree.refitted(below, 1).sigma_px == 0
    assert tree.refitted(above, 1).sigma_px == pytest.approx(1.01 * NONE_PX)


def test_centred_particles_stay_centred() -> None:
    assert ShiftTree().refitted(0.0, 1) == ShiftTree()
