"""The E-step block by block: as at once, and in the order of the rows."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from manifold_data import manifold, relative
from multicryogan.data.preprocess import Preprocessing
from multicryogan.data.sampler import ImageSampler
from multicryogan.io import ParticleStack
from multicryogan.likelihood import ImageLaw, Placement, place, pose_posterior
from multicryogan.likelihood.expectation import Examination
from multicryogan.likelihood.manifold import Manifold
from multicryogan.likelihood.maximisation import Sums
from multicryogan.likelihood.poses import PoseTree
from multicryogan.likelihood.weighing import Counts
from training_data import PIXEL_SIZE, tiny_stack

BOX = 16
EXPECTATION = "multicryogan.likelihood.expectation"
ROWS = torch.tensor([5, 2, 19, 7, 0, 11, 23])


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> ParticleStack:
    """24 particles of 32 x 32 pixels."""
    return tiny_stack(tmp_path_factory.mktemp("particles"), 24)


@pytest.fixture
def sampler(stack: ParticleStack) -> ImageSampler:
    return ImageSampler(stack, Preprocessing(BOX, 1, 7.0, 1.0), 0, stack.ctf_params())


def single(conformations: Manifold) -> Manifold:
    """In single precision, as images are."""
    names = ("latents", "weights", "coefficients", "basis")
    short = {name: getattr(conformations, name).float() for name in names}
    return dataclasses.replace(conformations, **short)


def examination() -> Examination:
    power = torch.full((BOX // 2 + 1,), 0.3)
    law = ImageLaw(power[None], PIXEL_SIZE * 2, 3)
    return Examination(single(manifold(0.4, BOX)), law, PoseTree(40), level=1)


def assert_same(found: Placement, expected: Placement) -> None:
    for field in dataclasses.fields(Placement):
        torch.testing.assert_close(
            getattr(found, field.name),
            getattr(expected, field.name),
            rtol=1e-3,
            atol=1e-4,
            msg=field.name,
        )


def assert_same_sums(found: Sums, expected: Sums) -> None:
    for name in ("gradient", "precision"):
        assert relative(getattr(found, name), getattr(expected, name)) < 1e-4
    assert_same_counts(found.counts, expected.counts)


def assert_same_counts(found: Counts, expected: Counts) -> None:
    assert found.images == expected.images
    assert found.log_likelihood == pytest.approx(expected.log_likelihood, rel=1e-5)
    for name in ("weights", "views"):
        assert relative(getattr(found, name), getattr(expected, name)) < 1e-4


@pytest.mark.parametrize("images", [1, 3])
def test_the_size_of_a_block_does_not_matter(
    images: int, sampler: ImageSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = examination()
    at_once, sums = look.empty_sums(BOX), look.empty_sums(BOX)
    expected = look.place(sampler, ROWS, at_once)
    monkeypatch.setattr(f"{EXPECTATION}.BLOCK", images * BOX**2)
    assert_same(look.place(sampler, ROWS, sums), expected)
    assert sums.counts.images == len(ROWS)
    assert_same_sums(sums, at_once)


def test_sums_of_parts_add_up(sampler: ImageSampler) -> None:
    look = examination()
    whole, parts = look.empty_sums(BOX), look.empty_sums(BOX)
    look.place(sampler, ROWS, whole)
    look.place(sampler, ROWS[:3], parts)
    look.place(sampler, ROWS[3:], parts)
    assert_same_sums(parts, whole)


def test_counting_alone_counts_what_the_sums_do(sampler: ImageSampler) -> None:
    look = examination()
    sums = look.empty_sums(BOX)
    look.place(sampler, ROWS, sums)
    assert_same_counts(look.count(sampler, ROWS), sums.counts)


def test_counts_of_parts_add_up(sampler: ImageSampler) -> None:
    look = examination()
    parts = look.count(sampler, ROWS[:3]) + look.count(sampler, ROWS[3:])
    assert_same_counts(parts, look.count(sampler, ROWS))


def test_placements_are_in_the_order_of_the_rows(
    sampler: ImageSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{EXPECTATION}.BLOCK", 2 * BOX**2)
    found = examination().place(sampler, ROWS).log_likelihood
    alone = [examination().place(sampler, row[None]).log_likelihood for row in ROWS]
    assert found.std() > 0.1
    torch.testing.assert_close(found, torch.cat(alone), rtol=1e-4, atol=1e-4)


def test_placements_are_those_of_all_poses(
    sampler: ImageSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("multicryogan.likelihood.search.DROP", (1e9, 1e9))
    look = examination()
    every = look.tree.rotations(torch.arange(320), 1)
    images, optics = sampler.take(ROWS)
    dense = pose_posterior(images, optics, look.manifold.volumes, every, look.law)
    expected = place(dense, look.manifold.latents, look.manifold.weights)
    assert expected.log_likelihood.abs().max() > 1
    assert_same(look.place(sampler, ROWS), expected)


def test_poses_are_of_the_level_that_is_asked_for(sampler: ImageSampler) -> None:
    fine = dataclasses.replace(examination(), level=3)
    found = fine.place(sampler, ROWS)
    assert found.pose.max() >= 40 * 8**2
    assert found.pose.max() < 40 * 8**3
    assert (found.entropy <= math.log(4 * 40 * 8**3)).all()


def test_progress_is_told_after_each_block(
    sampler: ImageSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{EXPECTATION}.BLOCK", 3 * BOX**2)
    told: list[tuple[int, int]] = []
    examination().place(sampler, ROWS, progress=lambda *done: told.append(done))
    assert told == [(0, 7), (3, 7), (6, 7), (7, 7)]


def test_images_read_few_at_a_time_are_those_read_at_once(
    sampler: ImageSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, optics = sampler.take(ROWS)
    monkeypatch.setattr("multicryogan.io.particles._READ", 2 * 32**2)
    read_images = ParticleStack.images
    counts: list[int] = []

    def counted(stack: ParticleStack, rows: Tensor) -> NDArray[np.float32]:
        counts.append(len(rows))
        return read_images(stack, rows)

    monkeypatch.setattr(ParticleStack, "images", counted)
    found, found_optics = sampler.take(ROWS)
    assert counts == [2, 2, 2, 1]
    assert found.shape == (7, BOX, BOX)
    torch.testing.assert_close(found, images)
    assert optics is not None
    assert found_optics is not None
    torch.testing.assert_close(
        found_optics.defocus_u_angstrom, optics.defocus_u_angstrom
    )


def test_without_optics_there_is_no_ctf(sampler: ImageSampler) -> None:
    plain = dataclasses.replace(sampler, optics=None)
    assert plain.take(ROWS)[1] is None
    found = examination().place(plain, ROWS).log_likelihood
    assert (found - examination().place(sampler, ROWS).log_likelihood).abs().max() > 0.1
