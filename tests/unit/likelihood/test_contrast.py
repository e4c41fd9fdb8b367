"""Images of unequal contrast: what is not known of it is integrated out."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from manifold_data import (
    BOX,
    FLOAT,
    TREE,
    clean_images,
    found_in,
    law,
    manifold,
    optics,
    white_noise,
)
from multicryogan.likelihood import Manifold
from multicryogan.likelihood.factors import ImageFactors, Scorer, SliceFactors
from multicryogan.likelihood.maximisation import Sums, accumulate
from multicryogan.likelihood.posterior import Placement
from multicryogan.likelihood.weighing import MOST_SPREAD, contrast_spread
from multicryogan.rng import stream

SPREAD = 0.3


def compared() -> tuple[ImageFactors, Scorer, SliceFactors, Tensor]:
    """Images, slices, and log ratio + log prior of contrasts 0.001 apart."""
    images = 2 * torch.randn(3, BOX, BOX, generator=stream(0, "images"), dtype=FLOAT)
    factors = ImageFactors.of(images, optics(3), law(2.0))
    scorer = Scorer.of(manifold().of_contrasts(SPREAD), factors.modes)
    slices = scorer.slices(TREE.rotations(torch.arange(5), 0).to(FLOAT))
    contrast = contrasts()
    # A slice of contrast s is s times as strong.
    alike = Scorer.of(manifold(), factors.modes)
    bright = [
        SliceFactors(slices.count, s * slices.linear, s**2 * slices.products)
        for s in contrast[:: len(contrast) - 1]
    ]
    at = [alike.log_ratios((factors.linear, factors.squares), one) for one in bright]
    first, last = contrast[0], contrast[-1]
    # Of s: a parabola through 0.
    curve = (at[0] / first - at[1] / last) / (first - last)
    slope = at[0] / first - curve * first
    ratio = slope[..., None] * contrast + curve[..., None] * contrast.square()
    prior = -((contrast - 1) ** 2) / (2 * SPREAD**2)
    prior = prior - math.log(SPREAD * math.sqrt(2 * math.pi))
    return factors, scorer, slices, ratio + prior


def contrasts() -> Tensor:
    return torch.linspace(-2, 4, 6_001, dtype=FLOAT)


def test_log_ratios_integrate_over_the_contrast() -> None:
    factors, scorer, slices, log_joint = compared()
    found = scorer.log_ratios((factors.linear, factors.squares), slices)
    expected = log_joint.logsumexp(-1) + math.log(0.001)
    assert float(expected.std()) > 0.5
    torch.testing.assert_close(found, expected)


def test_images_under_shifts_share_what_the_contrast_does_to_them() -> None:
    factors, scorer, slices, _ = compared()
    twice = factors.linear.repeat_interleave(2, 0)
    found = scorer.log_ratios((twice, factors.squares), slices)
    alone = scorer.log_ratios((factors.linear, factors.squares), slices)
    torch.testing.assert_close(found, alone.repeat_interleave(2, 0))


def test_moments_of_the_contrast_are_those_of_its_posterior() -> None:
    factors, scorer, slices, log_joint = compared()
    ratio, mean, square = scorer.moments((factors.linear, factors.squares), slices)
    share = log_joint.softmax(-1)
    expected = log_joint.logsumexp(-1) + math.log(0.001)
    torch.testing.assert_close(ratio, expected)
    torch.testing.assert_close(mean, share @ contrasts())
    torch.testing.assert_close(square, share @ contrasts().square())


def uneven_images(count: int, power: float) -> tuple[ImageFactors, Tensor]:
    """Images of the first conformations, and their contrasts."""
    pose = torch.randint(TREE.count(1), (count,), generator=stream(0, "pose"))
    shown = torch.arange(count) % len(manifold().latents)
    normal = torch.randn(count, generator=stream(0, "contrast"), dtype=FLOAT)
    contrast = 1 + SPREAD * (normal - normal.mean()) / normal.std()
    clean = clean_images(
        manifold().volumes[shown], TREE.rotations(pose, 1), optics(count), BOX // 2
    )
    images = contrast[:, None, None] * clean + white_noise(count, power)
    return ImageFactors.of(images, optics(count), law(power)), contrast


def e_step(factors: ImageFactors, model: Manifold) -> tuple[Placement, Scorer, Sums]:
    cells, scorer, found, placed = found_in(factors, model)
    sums = Sums.empty(scorer)
    accumulate(sums, cells, factors, scorer, TREE, found, placed)
    return placed, scorer, sums


def test_gradient_of_the_evidence_with_contrasts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("multicryogan.likelihood.search.DROP", (1e9, 1e9))
    factors, _ = uneven_images(4, 4.0)
    start = manifold().of_contrasts(SPREAD)
    move = 0.1 * torch.randn(
        start.basis.shape, generator=stream(0, "move"), dtype=FLOAT
    )
    _, scorer, sums = e_step(factors, start)
    gradient = scorer.slicer.transpose_table(sums.gradient)
    up, down = (
        e_step(factors, dataclasses.replace(start, basis=start.basis + step * move))[0]
        for step in (1e-4, -1e-4)
    )
    slope = float((up.log_likelihood - down.log_likelihood).sum()) / 2e-4
    assert float((gradient * move).sum()) == pytest.approx(slope, rel=1e-4)


@pytest.mark.parametrize("strength", [1.0, 0.8])
def test_the_spread_of_contrasts_is_found(strength: float) -> None:
    """Whatever the volumes have too little of."""
    factors, _ = uneven_images(60, 0.1)
    model = manifold().of_contrasts(0.1)
    model = dataclasses.replace(model, basis=model.basis / strength)
    for _ in range(5):
        _, _, sums = e_step(factors, model)
        counts = sums.counts
        model = model.of_contrasts(contrast_spread(counts.contrast, counts.images))
    assert float(counts.contrast[0]) / 60 == pytest.approx(strength, rel=0.03)
    assert model.contrast_spread == pytest.approx(SPREAD, rel=0.05)


def test_a_spread_has_bounds() -> None:
    assert contrast_spread(torch.tensor([10.0, 10.0]), 10) == 0
    assert contrast_spread(torch.tensor([10.0, 9.99]), 10) == 0  # by rounding
    assert contrast_spread(torch.tensor([10.0, 90.0]), 10) == MOST_SPREAD
