"""Thinned cells stand for all of them: what is summed over them stays right."""

import dataclasses

import pytest
import torch
from torch import Tensor

from manifold_data import FLOAT, TREE, found_in, law, manifold, optics, relative
from multicryogan.likelihood import PosePosterior, place
from multicryogan.likelihood.factors import ImageFactors
from multicryogan.likelihood.maximisation import Sums, accumulate
from multicryogan.likelihood.thinning import Chance, even_draws, thin
from multicryogan.rng import stream

IMAGES, CELLS = 3, 40


def cells() -> tuple[Tensor, Tensor]:
    """Images and log masses of cells that come in any order."""
    image = torch.arange(IMAGES).repeat(CELLS)
    log_mass = 2 * torch.randn(len(image), generator=stream(0, "mass"), dtype=FLOAT)
    log_mass += torch.tensor([-300.0, 0.0, 500.0], dtype=FLOAT)[image]
    return image, log_mass


def every_draw(count: int) -> Tensor:
    return (torch.arange(count, dtype=FLOAT) + 0.5) / count


def test_each_cell_counts_for_one_on_average() -> None:
    image, log_mass = cells()
    tries, counted = 2_000, torch.zeros(len(image), dtype=FLOAT)
    for draw in every_draw(tries):
        kept, log_weight = thin(image, log_mass, 6, draw.expand(IMAGES))
        counted[kept] += log_weight.exp() / tries
    # A cell of chance p is kept in p +- 1 / tries of the tries, and counts for 1 / p.
    chance = 6 * (log_mass - log_mass.view(CELLS, IMAGES).logsumexp(0)[image]).exp()
    assert float(chance.min()) < 0.02
    torch.testing.assert_close(
        counted, torch.ones_like(counted), atol=1 / tries / float(chance.min()), rtol=0
    )


@pytest.mark.parametrize("most", [1, 6, 20])
def test_about_so_many_are_kept(most: int) -> None:
    image, log_mass = cells()
    for draw in every_draw(7):
        kept, _ = thin(image, log_mass, most, draw.expand(IMAGES))
        count = torch.bincount(image[kept], minlength=IMAGES)
        assert ((count - most).abs() <= 1).all(), count


def test_heavy_cells_are_kept_for_what_they_are() -> None:
    image, log_mass = cells()
    log_mass[image == 1] += torch.where(torch.arange(CELLS) == 11, 9.0, 0.0)
    kept, log_weight = thin(image, log_mass, 6, torch.full((IMAGES,), 0.3))
    heavy = 11 * IMAGES + 1
    assert float(log_weight[kept == heavy]) == 0
    # Those left to chance all have one mass afterwards.
    mass = (log_mass[kept] + log_weight)[(image[kept] == 1) & (log_weight > 0)]
    assert len(mass) >= 4
    torch.testing.assert_close(mass, mass[:1].expand_as(mass))


def test_an_image_with_few_cells_keeps_them() -> None:
    image = torch.tensor([2, 0, 2, 2])
    log_mass = torch.tensor([0.0, -5.0, -90.0, -3.0])
    kept, log_weight = thin(image, log_mass, 3, torch.full((3,), 0.3))
    assert kept.tolist() == [1, 0, 2, 3]
    assert log_weight.tolist() == [0, 0, 0, 0]


def test_no_cells_are_none() -> None:
    nothing = torch.zeros(0)
    kept, log_weight = thin(nothing.long(), nothing, 3, torch.full((2,), 0.3))
    assert len(kept) == len(log_weight) == 0


def test_draws_fill_the_square_of_two_levels() -> None:
    rows = torch.arange(10_000)
    place = [(10 * even_draws(rows, level)).long() for level in (0, 1)]
    count = torch.bincount(10 * place[0] + place[1], minlength=100)
    assert count.min() > 90
    assert count.max() < 110


def test_evidence_gradient_and_entropy_are_right_on_average(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("multicryogan.likelihood.search.DROP", (1e9, 1e9))
    count, tries = 4, 300
    generator = stream(0, "images")
    images = torch.randn(count, 16, 16, generator=generator, dtype=FLOAT)
    factors = ImageFactors.of(images, optics(count), law(4.0))
    model = manifold()

    def look(chance: Chance | None = None) -> tuple[int, PosePosterior, Tensor]:
        some, scorer, found, placed = found_in(factors, model, TREE, 2, chance)
        if chance is not None:  # weights over that of all cells are unbiased
            placed = dataclasses.replace(placed, log_likelihood=evidence)
        sums = Sums.empty(scorer)
        accumulate(sums, some, factors, scorer, TREE, found, placed)
        return len(some.image), found, sums.gradient

    cells_in_all, whole, expected = look()
    evidence = place(whole, model.latents, model.weights).log_likelihood
    mean, gradient = torch.zeros_like(whole.entropy), torch.zeros_like(expected)
    entropy = torch.zeros_like(mean)
    for number in range(tries):
        rows = count * number + torch.arange(count)
        _, some, own = look(Chance(rows, (24, 20)))
        log_share = some.log_mean - whole.log_mean
        mean += log_share.exp() / tries
        # The entropy over those kept, of shares of the whole.
        entropy += log_share.exp() * (some.entropy - log_share) / tries
        gradient += own / tries
    assert cells_in_all > 1_000
    torch.testing.assert_close(mean, torch.ones_like(mean), atol=0.15, rtol=0)
    torch.testing.assert_close(entropy, whole.entropy, atol=0.1, rtol=0.05)
    assert relative(gradient, expected) < 0.1
