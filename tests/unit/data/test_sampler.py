"""Batches of real images with their optics."""

from dataclasses import replace
from unittest.mock import create_autospec

import pytest
import torch
from torch import Tensor

from multicryogan.data.preprocess import Preprocessing, working_images
from multicryogan.data.sampler import ImageSampler
from multicryogan.imaging import CTFParams
from multicryogan.io import ParticleStack
from multicryogan.rng import Shard
from training_data import tiny_stack


@pytest.fixture(scope="module")
def sampler(tmp_path_factory: pytest.TempPathFactory) -> ImageSampler:
    stack = tiny_stack(tmp_path_factory.mktemp("data"))
    return ImageSampler(stack, Preprocessing(16, -1, 7.0, 1.0), 0, stack.ctf_params())


def everything(sampler: ImageSampler) -> Tensor:
    """(N, D, D) all images as the sampler prepares them."""
    raw = torch.from_numpy(sampler.stack.images(slice(None)))
    return working_images(raw, sampler.preprocessing)


def rows_of(sampler: ImageSampler, images: Tensor) -> Tensor:
    """(B,) which particle each image is of."""
    distance = torch.cdist(images.flatten(1), everything(sampler).flatten(1))
    assert distance.min(dim=1).values.max() < 0.1  # different rows: more than 2
    return distance.argmin(dim=1)


def defocus(optics: CTFParams | None) -> Tensor:
    assert optics is not None
    return optics.defocus_u_angstrom


def test_rows_are_read_as_working_images(sampler: ImageSampler) -> None:
    rows = torch.tensor([5, 0, 5, 95])
    images, _ = sampler.take(rows)
    torch.testing.assert_close(images, everything(sampler)[rows])


def test_rows_come_with_their_optics(sampler: ImageSampler) -> None:
    rows = torch.tensor([5, 0, 5, 95])
    _, optics = sampler.take(rows)
    assert torch.equal(defocus(optics), defocus(sampler.optics)[rows])


def test_a_batch_holds_rows_of_the_stack_with_their_optics(
    sampler: ImageSampler,
) -> None:
    images, optics = sampler.batch(8, 0)
    assert len(defocus(sampler.optics).unique()) == len(sampler.stack)
    rows = rows_of(sampler, images)
    assert torch.equal(defocus(optics), defocus(sampler.optics)[rows])


def test_images_without_optics_stay_without(sampler: ImageSampler) -> None:
    images, optics = replace(sampler, optics=None).batch(8, 3)
    assert optics is None
    assert torch.equal(images, sampler.batch(8, 3)[0])


def test_all_rows_are_drawn(sampler: ImageSampler) -> None:
    rows = rows_of(sampler, sampler.batch(960, 0)[0])
    assert len(rows.unique()) == len(sampler.stack)


@pytest.mark.parametrize("world", [2, 4])
def test_shards_together_are_the_batch_of_one_process(
    sampler: ImageSampler, world: int
) -> None:
    parts = [
        replace(sampler, shard=Shard(rank, world)).batch(8, 3) for rank in range(world)
    ]
    images, optics = sampler.batch(8, 3)
    torch.testing.assert_close(torch.cat([part for part, _ in parts]), images)
    joined = torch.cat([defocus(theirs) for _, theirs in parts])
    assert torch.equal(joined, defocus(optics))


def test_the_same_step_repeats(sampler: ImageSampler) -> None:
    assert torch.equal(sampler.batch(8, 3)[0], sampler.batch(8, 3)[0])


@pytest.mark.parametrize("other", [{"step": 4}, {"step": 3, "purpose": "preview"}])
def test_step_and_purpose_separate_the_draws(
    sampler: ImageSampler, other: dict[str, int | str]
) -> None:
    theirs, _ = sampler.batch(8, **other)  # type: ignore[arg-type]
    assert not torch.equal(sampler.batch(8, 3)[0], theirs)


def of_length(sampler: ImageSampler, count: int) -> ImageSampler:
    """Pretend that there are `count` particles."""
    stack = create_autospec(ParticleStack, instance=True)
    stack.__len__.return_value = count
    return replace(sampler, stack=stack)


@pytest.mark.parametrize("count", [96, 1_999, 2_000, 2_001, 2_019, 39_999, 100_000])
def test_every_row_is_either_drawn_or_held_out(
    sampler: ImageSampler, count: int
) -> None:
    many = of_length(sampler, count)
    drawn = many.rows(torch.arange(many.in_use))
    both = torch.cat((drawn, many.held_out()))
    assert torch.equal(both.sort().values, torch.arange(count))


@pytest.mark.parametrize(
    ("count", "expected"),
    [(96, 0), (1_999, 0), (2_000, 100), (2_001, 101), (40_000, 2_000)],
)
def test_one_row_in_twenty_is_held_out_of_a_set_that_can_spare_it(
    sampler: ImageSampler, count: int, expected: int
) -> None:
    assert len(of_length(sampler, count).held_out()) == expected


@pytest.mark.parametrize("count", [40_001, 100_000, 1_000_000])
def test_at_most_two_thousand_rows_are_held_out(
    sampler: ImageSampler, count: int
) -> None:
    assert 1_900 < len(of_length(sampler, count).held_out()) <= 2_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> ImageSampler:
    """2,000 particles, a hundred of them held out."""
    stack = tiny_stack(tmp_path_factory.mktemp("large"), 2_000, 16)
    return ImageSampler(stack, Preprocessing(16, -1, 7.0, 1.0), 0, stack.ctf_params())


def test_a_batch_never_holds_a_held_out_image(large: ImageSampler) -> None:
    drawn = torch.cat([defocus(large.batch(500, step)[1]) for step in range(12)])
    held_out = defocus(large.take(large.held_out())[1])
    assert len(drawn.unique()) > 1_700
    assert not torch.isin(drawn, held_out).any()
