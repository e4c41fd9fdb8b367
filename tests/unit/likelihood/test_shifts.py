"""Shifts that are searched with the poses."""

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
from multicryogan.likelihood import pose_posterior
from multicryogan.likelihood.factors import ImageFactors, Scorer
from multicryogan.likelihood.maximisation import Sums, accumulate
from multicryogan.likelihood.poses import PoseTree
from multicryogan.likelihood.posterior import Placement, place
from multicryogan.likelihood.search import Cells, likely_cells, search
from multicryogan.likelihood.shifts import ShiftTree
from multicryogan.priors import ViewLaw
from multicryogan.priors.views import CELLS, view_directions
from multicryogan.rng import stream

TREE = PoseTree(40).with_shifts(0.8, BOX)
LEVEL = 1


def moved_images(noise_power: float, tree: PoseTree = TREE) -> tuple[Tensor, Tensor]:
    """Images of four conformations at poses of a tree, and their shifts in pixels."""
    pose = torch.randint(tree.count(LEVEL), (4,), generator=stream(0, "pose"))
    volumes = manifold().volumes
    clean = clean_images(volumes, tree.rotations(pose, LEVEL), optics(4), BOX // 2)
    shift = 1.2 * (torch.rand(4, 2, generator=stream(0, "shift"), dtype=FLOAT) - 0.5)
    moved = shift_images(clean, PIXEL_SIZE * shift, PIXEL_SIZE)
    return moved + white_noise(4, noise_power), shift


def every_shift() -> Tensor:
    cells = torch.arange(TREE.shifts.count(LEVEL))
    return TREE.shifts.shifts(cells, LEVEL).to(FLOAT)


def test_probabilities_of_the_cells_sum_to_one() -> None:
    # Less what lies beyond 2.5 standard deviations.
    wide = ShiftTree(3.0, 1.5)
    for level in (0, 1, 2):
        cells = torch.arange(wide.count(level))
        shifts = wide.shifts(cells, level)
        total = wide.log_prior(shifts, level).exp().sum()
        assert float(total) == pytest.approx(1 - math.exp(-(2.5**2) / 2), abs=0.03)


def test_children_lie_about_their_cell() -> None:
    parents = torch.arange(TREE.shifts.count(1))
    children = TREE.shifts.shifts(torch.arange(TREE.shifts.count(2)), 2).view(-1, 4, 2)
    middle = TREE.shifts.shifts(parents, 1)
    torch.testing.assert_close(children.mean(1), middle)
    away = (children - middle[:, None]).abs()
    torch.testing.assert_close(away, torch.full_like(away, TREE.shifts.spacing_px / 8))


def test_no_shifts_are_one_cell_in_place() -> None:
    still = ShiftTree()
    assert still.count(3) == 1
    cell = torch.zeros(2, dtype=torch.int64)
    torch.testing.assert_close(still.shifts(cell, 3), torch.zeros(2, 2))
    torch.testing.assert_close(still.log_prior(torch.zeros(2, 2), 3), torch.zeros(2))


def test_search_sums_over_all_shifts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multicryogan.likelihood.search.DROP", (1e9, 1e9))
    images, _ = moved_images(1.0)
    factors = ImageFactors.of(images, optics(4), law(1.0))
    cells = likely_cells(factors, manifold(), TREE, LEVEL, no_chance(4))
    found = search(cells, factors, Scorer.of(manifold(), factors.modes), TREE)
    rotations = TREE.rotations(torch.arange(TREE.count(LEVEL)), LEVEL).to(FLOAT)
    alone = [
        pose_posterior(
            shift_images(images, -PIXEL_SIZE * shift, PIXEL_SIZE),
            optics(4),
            manifold().volumes,
            rotations,
            law(1.0),
        )
        for shift in every_shift()
    ]
    prior = TREE.shifts.log_prior(every_shift(), LEVEL)
    parts = torch.stack([one.log_mean for one in alone]) + prior[:, None, None]
    torch.testing.assert_close(found.log_mean, parts.logsumexp(0), rtol=1e-6, atol=1e-5)
    best = torch.stack([one.best for one in alone]) + prior[:, None, None]
    top, where = best.max(0)
    torch.testing.assert_close(found.best, top, rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(found.shift_px.to(FLOAT), every_shift()[where])
    poses = torch.stack([one.pose for one in alone])
    assert torch.equal(found.pose, poses.gather(0, where[None])[0])
    # Entropy over pairs of shift and pose.
    share = (parts - parts.logsumexp(0)).exp()
    entropy = (share * torch.stack([one.entropy for one in alone])).sum(0)
    entropy += torch.special.entr(share).sum(0)
    torch.testing.assert_close(found.entropy, entropy, rtol=1e-5, atol=1e-5)


def every_cell(images: int) -> Cells:
    """All cells of the first grids, for each image."""
    counts = TREE.count(0), images, TREE.shifts.count(0)
    pose, image, shift = torch.cartesian_prod(*map(torch.arange, counts)).unbind(1)
    return Cells(0, image, pose, shift, torch.zeros(len(pose), dtype=FLOAT))


def test_directions_that_are_never_seen_leave_the_evidence_finite() -> None:
    images, _ = moved_images(1.0)
    factors = ImageFactors.of(images, optics(4), law(1.0))
    up = (view_directions(CELLS)[:, 2] > 0.5).double()[None]
    found = []
    for weights in (up, up + 1e-40):
        seen = manifold().seen_from(ViewLaw(weights / weights.sum()))
        scorer = Scorer.of(seen, factors.modes)
        found.append(search(every_cell(4), factors, scorer, TREE).log_mean)
    assert bool(found[0].isfinite().all())
    torch.testing.assert_close(found[0], found[1])


def test_clear_images_tell_their_shift() -> None:
    tree = PoseTree(2_304).with_shifts(0.8, BOX)
    images, shift = moved_images(0.2, tree)
    factors = ImageFactors.of(images, optics(4), law(0.2))
    cells = likely_cells(factors, manifold(), tree, LEVEL, no_chance(4))
    found = search(cells, factors, Scorer.of(manifold(), factors.modes), tree)
    placed = place(found, manifold().latents, manifold().weights)
    half_step = tree.shifts.spacing_px / 2 ** (LEVEL + 1)
    assert half_step < 0.3
    assert float((placed.shift_px - shift).abs().max()) < 2 * half_step
    assert placed.conformation.tolist() == [0, 1, 2, 3]


def test_gradient_of_the_evidence_with_shifts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multicryogan.likelihood.search.DROP", (1e9, 1e9))
    images, _ = moved_images(4.0)
    factors = ImageFactors.of(images, optics(4), law())
    start = manifold()
    move = 0.1 * torch.randn(
        start.basis.shape, generator=stream(0, "move"), dtype=FLOAT
    )

    def evidence(step: float) -> tuple[Placement, Scorer, Sums]:
        model = dataclasses.replace(start, basis=start.basis + step * move)
        scorer = Scorer.of(model, factors.modes)
        cells = likely_cells(factors, model, TREE, LEVEL, no_chance(4))
        found = search(cells, factors, scorer, TREE)
        placed = place(found, model.latents, model.weights)
        sums = Sums.empty(scorer)
        accumulate(sums, cells, factors, scorer, TREE, found, placed)
        return placed, scorer, sums

    _, scorer, sums = evidence(0.0)
    gradient = scorer.slicer.transpose_table(sums.gradient)
    up, down = (evidence(step)[0].log_likelihood.sum() for step in (1e-4, -1e-4))
    slope = float(up - down) / 2e-4
    assert slope == pytest.approx(float((gradient * move).sum()), rel=1e-4)
    assert math.isclose(float(sums.counts.weights.sum()), 4, rel_tol=1e-9)
