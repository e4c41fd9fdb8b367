"""Batches of real images, and the exact symmetries of their law."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from multicryogan.data.preprocess import Preprocessing, working_images
from multicryogan.data.sampler import ImageSampler, apply_symmetry
from multicryogan.rng import Shard, stream
from training_data import tiny_stack


@pytest.fixture(scope="module")
def sampler(tmp_path_factory: pytest.TempPathFactory) -> ImageSampler:
    stack = tiny_stack(tmp_path_factory.mktemp("data"))
    return ImageSampler(stack, Preprocessing(16, 1, 7.0, 1.0), 0, is_symmetric=False)


def eight(image: Tensor) -> Tensor:
    """The image under every element."""
    return apply_symmetry(image.expand(8, -1, -1), torch.arange(8))


def random_image(box: int) -> Tensor:
    return torch.randn(1, box, box, generator=stream(0, "image"))


@pytest.mark.parametrize("box", [16, 17])
def test_symmetries_keep_the_centre_pixel(box: int) -> None:
    image = torch.zeros(1, box, box)
    image[0, box // 2, box // 2] = 1
    assert torch.equal(eight(image), image.expand(8, -1, -1))


@pytest.mark.parametrize("box", [16, 17])
def test_symmetries_move_a_pixel_about_the_centre(box: int) -> None:
    image, centre = torch.zeros(1, box, box), box // 2
    image[0, centre + 2, centre + 5] = 1
    found = (eight(image).nonzero()[:, 1:] - centre).tolist()
    expected = {
        (a * y, b * x) for a in (1, -1) for b in (1, -1) for y, x in ((2, 5), (5, 2))
    }
    assert {tuple(place) for place in found} == expected


@pytest.mark.parametrize("box", [16, 17])
def test_the_eight_symmetries_differ(box: int) -> None:
    images = eight(random_image(box))
    distance = torch.cdist(images.flatten(1), images.flatten(1))
    assert (distance + 99 * torch.eye(8)).min() > 1


@pytest.mark.parametrize("box", [16, 17])
def test_each_symmetry_is_a_permutation_of_the_pixels(box: int) -> None:
    image = random_image(box)
    ordered = eight(image).flatten(1).sort(dim=1).values
    assert torch.equal(ordered, image.flatten().sort().values.expand(8, -1))


def test_each_image_gets_its_own_element() -> None:
    images = torch.randn(3, 16, 16, generator=stream(0, "images"))
    mixed = apply_symmetry(images, torch.tensor([0, 4, 0]))
    assert torch.equal(mixed, torch.stack((images[0], images[1].T, images[2])))


def test_images_are_left_untouched() -> None:
    image = random_image(16)
    before = image.clone()
    eight(image)
    assert torch.equal(image, before)


def test_a_batch_holds_prepared_rows_of_the_stack(sampler: ImageSampler) -> None:
    everything = torch.from_numpy(sampler.stack.images(slice(None)))
    prepared = working_images(everything, sampler.preprocessing).flatten(1)
    distance = torch.cdist(sampler.batch(8, 0).flatten(1), prepared)
    assert distance.min(dim=1).values.max() < 0.1  # different rows: more than 2


def test_all_rows_are_drawn(sampler: ImageSampler) -> None:
    everything = torch.from_numpy(sampler.stack.images(slice(None)))
    prepared = working_images(everything, sampler.preprocessing).flatten(1)
    rows = torch.cdist(sampler.batch(960, 0).flatten(1), prepared).argmin(dim=1)
    assert len(rows.unique()) == len(sampler.stack)


@pytest.mark.parametrize("is_symmetric", [False, True])
@pytest.mark.parametrize("world", [2, 4])
def test_shards_together_are_the_batch_of_one_process(
    sampler: ImageSampler, is_symmetric: bool, world: int
) -> None:
    ours = replace(sampler, is_symmetric=is_symmetric)
    parts = [
        replace(ours, shard=Shard(rank, world)).batch(8, 3) for rank in range(world)
    ]
    torch.testing.assert_close(torch.cat(parts), ours.batch(8, 3))


def test_the_same_step_repeats(sampler: ImageSampler) -> None:
    ours = replace(sampler, is_symmetric=True)
    assert torch.equal(ours.batch(8, 3), ours.batch(8, 3))


@pytest.mark.parametrize("other", [{"step": 4}, {"step": 3, "purpose": "preview"}])
def test_step_and_purpose_separate_the_draws(
    sampler: ImageSampler, other: dict[str, int | str]
) -> None:
    theirs = sampler.batch(8, **other)  # type: ignore[arg-type]
    assert not torch.equal(sampler.batch(8, 3), theirs)


def test_symmetric_batches_are_the_plain_ones_turned(sampler: ImageSampler) -> None:
    plain = sampler.batch(8, 3)
    turned = replace(sampler, is_symmetric=True).batch(8, 3)
    for before, after in zip(plain, turned, strict=True):
        distance = (eight(before[None]) - after).flatten(1).norm(dim=1)
        assert distance.min() < 1e-3
