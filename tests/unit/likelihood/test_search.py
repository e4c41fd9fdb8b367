"""The search over poses against sums over all of them."""

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
    log_ratios_of_pixels,
    manifold,
    no_chance,
    optics,
    white_noise,
)
from multicryogan.imaging import CTFParams
from multicryogan.likelihood import PosePosterior, pose_posterior
from multicryogan.likelihood.factors import ImageFactors
from multicryogan.likelihood.manifold import Manifold
from multicryogan.likelihood.poses import CHILDREN, PoseTree, children
from multicryogan.likelihood.search import likely_cells
from multicryogan.rng import stream
from multicryogan.rotations import random_rotations

SEARCH = "multicryogan.likelihood.search"
POWER = 1.0


def noisy_images(
    count: int, is_modulated: bool = True
) -> tuple[Tensor, CTFParams | None]:
    """Images of the conformations in turn, at random poses."""
    shown = torch.arange(count) % 4
    rotations = random_rotations((count,), stream(0, "pose"))
    ctfs = optics(count) if is_modulated else None
    clean = clean_images(manifold().volumes[shown], rotations, ctfs, BOX // 2)
    return clean + white_noise(count, POWER), ctfs


def every(level: int, tree: PoseTree = TREE) -> Tensor:
    return tree.rotations(torch.arange(tree.count(level)), level)


@pytest.fixture
def leave_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{SEARCH}.DROP", (1e9, 1e9))


def assert_same(found: PosePosterior, expected: PosePosterior) -> None:
    for field in dataclasses.fields(PosePosterior):
        torch.testing.assert_close(
            getattr(found, field.name), getattr(expected, field.name), msg=field.name
        )


def posterior_of(ratios: Tensor) -> PosePosterior:
    """That of (B, V, M) log ratios of all poses."""
    best, pose = ratios.max(2)
    return PosePosterior(
        log_mean=ratios.exp().mean(2).log(),
        best=best,
        pose=pose,
        shift_px=ratios.new_zeros(*pose.shape, 2),
        entropy=torch.special.entr(ratios.softmax(2)).sum(2),
        poses=ratios.shape[2],
    )


@pytest.mark.usefixtures("leave_nothing_out")
@pytest.mark.parametrize("is_modulated", [False, True])
def test_with_no_cell_left_out_it_is_the_sum_over_all_poses(is_modulated: bool) -> None:
    images, ctfs = noisy_images(5, is_modulated)
    ratios = log_ratios_of_pixels(
        images, ctfs, manifold().volumes, every(1), law(POWER)
    )
    factors = ImageFactors.of(images, ctfs, law(POWER))
    _, _, found, _ = found_in(factors, manifold())
    assert ratios.amax((1, 2)).min() > 10
    assert_same(found, posterior_of(ratios))


@pytest.mark.usefixtures("leave_nothing_out")
@pytest.mark.parametrize("levels", [1, 2])
def test_with_no_cell_left_out_it_is_the_posterior_over_all_poses(levels: int) -> None:
    tree = PoseTree(20)
    images, ctfs = noisy_images(8)
    factors = ImageFactors.of(images, ctfs, law(POWER))
    _, _, found, _ = found_in(factors, manifold(), tree, levels)
    expected = pose_posterior(
        images, ctfs, manifold().volumes, every(levels, tree).to(FLOAT), law(POWER)
    )
    assert found.poses == 20 * CHILDREN**levels
    assert_same(found, expected)


@pytest.mark.usefixtures("leave_nothing_out")
def test_separate_volumes_are_compared_as_a_manifold_of_them_is() -> None:
    images, ctfs = noisy_images(8)
    factors, spanned = ImageFactors.of(images, ctfs, law(POWER)), manifold()
    separate = Manifold(
        spanned.latents,
        spanned.weights,
        torch.eye(4, dtype=FLOAT),
        spanned.volumes,
        torch.arange(4).expand(2, -1),
    )
    assert_same(found_in(factors, separate)[2], found_in(factors, spanned)[2])


@pytest.mark.usefixtures("leave_nothing_out")
def test_single_precision_is_enough() -> None:
    images, ctfs = noisy_images(8)
    double, single = manifold(), manifold()
    single = dataclasses.replace(
        single,
        **{
            name: getattr(single, name).float()
            for name in ("latents", "weights", "coefficients", "basis")
        },
    )
    short = dataclasses.replace(law(POWER), noise_power=law(POWER).noise_power.float())
    assert ctfs is not None
    factors = ImageFactors.of(images.float(), ctfs.to(torch.float32), short)
    found = found_in(factors, single)[2]
    expected = found_in(ImageFactors.of(images, ctfs, law(POWER)), double)[2]
    assert expected.log_mean.max() > 200
    for name, error in (("log_mean", 1e-3), ("best", 1e-3), ("entropy", 0.03)):
        torch.testing.assert_close(
            getattr(found, name),
            getattr(expected, name).float(),
            rtol=0,
            atol=error,
        )


@pytest.mark.parametrize(
    ("roots", "levels", "mean", "most"), [(576, 1, 0.05, 0.5), (100, 2, 0.3, 1.5)]
)
def test_what_is_left_out_hardly_counts(
    roots: int, levels: int, mean: float, most: float
) -> None:
    """Of 94 nats per image."""
    tree = PoseTree(roots)
    images, ctfs = noisy_images(16)
    factors = ImageFactors.of(images, ctfs, law(POWER))
    cells, _, _, placement = found_in(factors, manifold(), tree, levels)
    expected = pose_posterior(
        images, ctfs, manifold().volumes, every(levels, tree).to(FLOAT), law(POWER)
    )
    joint = (manifold().weights.log() + expected.log_mean).logsumexp(1)
    loss = joint - placement.log_likelihood
    assert joint.mean() > 80
    assert len(cells.image) < 0.2 * len(images) * tree.count(levels - 1)
    assert loss.min() > -1e-9
    assert loss.mean() < mean
    assert loss.max() < most


@pytest.mark.usefixtures("leave_nothing_out")
def test_images_score_highest_with_what_they_show() -> None:
    tree, count = PoseTree(72), 24
    shown = torch.arange(count) % 4
    pose = torch.randint(tree.count(1), (count,), generator=stream(0, "pose"))
    clean = clean_images(
        manifold().volumes[shown], tree.rotations(pose, 1), optics(count), BOX // 2
    )
    images = clean + white_noise(count, 0.1)
    factors = ImageFactors.of(images, optics(count), law(0.1))
    _, _, found, placement = found_in(factors, manifold(), tree)
    torch.testing.assert_close(found.best.argmax(1), shown)
    torch.testing.assert_close(placement.conformation, shown)
    torch.testing.assert_close(placement.pose, pose)


def kept_by(ratios: Tensor, drop: float) -> set[tuple[int, int]]:
    """Pairs of image and pose within `drop` of the image's best, of (B, V, M)."""
    best = ratios.amax(1)
    kept = best > best.amax(1, keepdim=True) - drop
    return {(i, p) for i, p in kept.nonzero().tolist()}


def test_roots_are_kept_that_low_shells_find_likely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(f"{SEARCH}.DROP", (4.0, 4.0))
    monkeypatch.setattr(f"{SEARCH}.SLACK", 0.0)
    images, ctfs = noisy_images(8)
    factors = ImageFactors.of(images, ctfs, law(POWER))
    cells = likely_cells(factors, manifold(), TREE, 1, no_chance(8))
    coarse = law(POWER, max_shell=TREE.shell(0))
    assert coarse.max_shell == 2
    ratios = log_ratios_of_pixels(images, ctfs, manifold().volumes, every(0), coarse)
    kept = kept_by(ratios, 4.0)
    assert len(images) < len(kept) < 0.7 * len(images) * TREE.count(0)
    assert set(zip(cells.image.tolist(), cells.pose.tolist(), strict=True)) == kept
    assert cells.level == 0
    assert (cells.pose.diff() >= 0).all()


def test_children_are_kept_that_more_shells_find_likely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(f"{SEARCH}.DROP", (4.0, 4.0))
    monkeypatch.setattr(f"{SEARCH}.SLACK", 0.0)
    images, ctfs = noisy_images(8)
    factors = ImageFactors.of(images, ctfs, law(POWER))
    roots = likely_cells(factors, manifold(), TREE, 1, no_chance(8))
    cells = likely_cells(factors, manifold(), TREE, 2, no_chance(8))
    ratios = log_ratios_of_pixels(
        images, ctfs, manifold().volumes, every(1), law(POWER, max_shell=TREE.shell(1))
    )
    likely = torch.zeros(8, TREE.count(1), dtype=torch.bool)
    likely[roots.image[:, None], children(roots.pose)] = True
    ratios = ratios.masked_fill(~likely[:, None], -math.inf)
    kept = kept_by(ratios, 4.0)
    assert len(kept) > len(images)
    assert set(zip(cells.image.tolist(), cells.pose.tolist(), strict=True)) == kept
    assert cells.level == 1


@pytest.mark.parametrize(
    ("name", "value"), [("SLICES_AT_ONCE", 8), ("SCORES_AT_ONCE", 1)]
)
def test_working_in_parts_changes_nothing(
    name: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, ctfs = noisy_images(8)
    factors = ImageFactors.of(images, ctfs, law(POWER))
    at_once = found_in(factors, manifold(), levels=2)[2]
    for module in (SEARCH, "multicryogan.likelihood.cells"):
        monkeypatch.setattr(f"{module}.{name}", value)
    assert_same(found_in(factors, manifold(), levels=2)[2], at_once)


def test_low_shells_of_image_factors_are_those_of_a_law_that_ends_there() -> None:
    images, ctfs = noisy_images(3)
    found = ImageFactors.of(images, ctfs, law(POWER)).up_to(3)
    expected = ImageFactors.of(images, ctfs, law(POWER, max_shell=3))
    assert found.modes.frequency.tolist() == expected.modes.frequency.tolist()
    torch.testing.assert_close(found.linear, expected.linear)
    torch.testing.assert_close(found.squares, expected.squares)
