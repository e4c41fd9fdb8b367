"""Quarter turns of images against pixels that change places, and against slices."""

import pytest
import torch
from torch import Tensor

from manifold_data import BOX, FLOAT, law, manifold, optics
from multicryogan.imaging.projection import sample_modes
from multicryogan.likelihood.cells import turned_shifts
from multicryogan.likelihood.factors import ImageFactors, Scorer
from multicryogan.likelihood.poses import PoseTree
from multicryogan.rng import stream

BOXES = [BOX, BOX + 1]
ROUND = {0: (1, 0), 1: (0, 1), 2: (-1, 0), 3: (0, -1)}  # (cos, sin)


def images_of(box: int) -> Tensor:
    return torch.randn(4, box, box, generator=stream(0, "images"), dtype=FLOAT)


def turned_pixels(images: Tensor, quarter: int) -> Tensor:
    """y(R r), R a turn by quarters, about the pixel D // 2."""
    box = images.shape[-1]
    cosine, sine = ROUND[quarter]
    at = torch.arange(box) - box // 2
    y, x = torch.meshgrid(at, at, indexing="ij")
    place_x = (cosine * x - sine * y + box // 2) % box
    place_y = (sine * x + cosine * y + box // 2) % box
    return images[:, place_y, place_x]


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("quarter", list(ROUND))
def test_modes_change_places_as_pixels_do(box: int, quarter: int) -> None:
    images, images_law = images_of(box), law(2.0, box=box)
    factors = ImageFactors.of(images, None, images_law)
    found = factors.turned(torch.arange(4), torch.full((4,), quarter))
    expected = ImageFactors.of(turned_pixels(images, quarter), None, images_law)
    torch.testing.assert_close(found.linear, expected.linear)
    torch.testing.assert_close(found.squares, expected.squares)


@pytest.mark.parametrize("box", BOXES)
def test_turned_images_suit_one_pose_as_images_suit_its_mates(box: int) -> None:
    """Astigmatic ones as well: the squared CTF turns along."""
    volumes = manifold(box=box)
    factors = ImageFactors.of(images_of(box), optics(4), law(2.0, box=box))
    scorer, tree = Scorer.of(volumes, factors.modes), PoseTree(40)
    mates = tree.rotations(torch.arange(4 * 3, 4 * 4), 0).to(FLOAT)
    mates = mates @ tree.rotations(torch.tensor([21]), 0).to(FLOAT)  # of no symmetry
    expected = scorer.log_ratios(
        (factors.linear, factors.squares), scorer.slices(mates)
    )
    assert float(expected.std(1).min()) > 0.1
    for quarter in range(4):
        turned = factors.turned(torch.arange(4), torch.full((4,), quarter))
        found = scorer.log_ratios(
            (turned.linear, turned.squares), scorer.slices(mates[:1])
        )
        torch.testing.assert_close(found[:, 0], expected[:, quarter])


@pytest.mark.parametrize("box", BOXES)
def test_factors_score_slices_of_the_projector(box: int) -> None:
    """Sum of 2 Re(conj(y) S) / 2 sigma² over the full transform, from the corner."""
    images, volumes = images_of(box), manifold(box=box)
    factors = ImageFactors.of(images, None, law(2.0, box=box))
    rotation = PoseTree(40).rotations(torch.arange(3), 0).to(FLOAT)
    slices = Scorer.of(volumes, factors.modes).slices(rotation)
    found = (factors.linear @ slices.linear.T).view(4, 3, -1)
    values = sample_modes(
        volumes.basis, rotation.expand(len(volumes.basis), -1, -1, -1), factors.modes
    )  # (C, M, K)
    seen = torch.fft.rfft2(images).flatten(1)[:, factors.modes.flat_index]
    times = torch.where(factors.modes.frequency[:, 1] == 0, 1, 2) / (2.0 * box**2)
    expected = torch.einsum("bk,cmk->bmc", seen.conj() * times, values).real
    torch.testing.assert_close(found, expected)


def test_shifts_turn_along() -> None:
    """A point moved to (1, 2) comes to (2, -1) when all is turned back by a quarter."""
    found = turned_shifts(torch.tensor([[1.0, 2.0]]))
    expected = torch.tensor([[1.0, 2.0], [2.0, -1.0], [-1.0, -2.0], [-2.0, 1.0]])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("quarter", list(ROUND))
def test_images_moved_and_turned_back_are_as_they_were(quarter: int) -> None:
    shift = torch.tensor([[0.7, -1.3]], dtype=FLOAT)
    still = ImageFactors.of(images_of(BOX), None, law(2.0))
    every = torch.arange(4)
    linear, squares = still.moved(every, still.turns(-shift)[None])
    moved = ImageFactors(still.modes, linear, squares)
    turned = moved.turned(every, torch.full((4,), quarter))
    back = turned.turns(turned_shifts(shift)[quarter : quarter + 1])
    found, _ = turned.moved(every, back[None])
    expected = still.turned(every, torch.full((4,), quarter))
    torch.testing.assert_close(found, expected.linear)
