"""The marginal likelihood against sums over pixels, over blocks, and over truths."""

import math

import pytest
import torch
from torch import Tensor

from multicryogan.errors import InputError
from multicryogan.imaging import (
    CTFParams,
    ImagingParams,
    form_images,
    project,
    sample_noise,
)
from multicryogan.likelihood import (
    ImageLaw,
    mean_score,
    pose_posterior,
)
from multicryogan.rng import stream
from multicryogan.rotations import random_rotations, super_fibonacci

FLOAT = torch.float64
PIXEL_SIZE = 4.0
BOXES = [16, 17]


def blob(box: int, centre: tuple[float, float, float], width: float = 1.5) -> Tensor:
    """(D, D, D) Gaussian about (x, y, z) voxels from the centre."""
    axis = torch.arange(box, dtype=FLOAT) - box // 2
    x, y, z = ((-((axis - c) ** 2) / (2 * width**2)).exp() for c in centre)
    return z[:, None, None] * y[:, None] * x


def particle(box: int, name: str = "atoms", atoms: int = 12) -> Tensor:
    """(D, D, D) sum of narrow blobs near the centre: nothing symmetric about it."""
    places = box / 7 * torch.randn(atoms, 3, generator=stream(0, name), dtype=FLOAT)
    return sum(
        (blob(box, (x, y, z), 0.9) for x, y, z in places.clamp(-5, 5).tolist()),
        torch.zeros(box, box, box, dtype=FLOAT),
    )


def flat(box: int, power: float) -> Tensor:
    return torch.full((box // 2 + 1,), power, dtype=FLOAT)


def white(shape: tuple[int, ...], power: float = 1.0) -> Tensor:
    return sample_noise(shape, flat(shape[-1], power), stream(0, "noise"))


def poses(count: int) -> Tensor:
    return random_rotations((count,), stream(0, "pose")).to(FLOAT)


def astigmatic(count: int) -> CTFParams:
    one = torch.ones(count, dtype=FLOAT)
    u = 10_000 + 9_000 * torch.rand(count, generator=stream(0, "ctf")).to(FLOAT)
    angle = torch.linspace(0, 170, count, dtype=FLOAT)
    return CTFParams(u, u - 3_000, angle, 0 * one, 300 * one, 2.7 * one, 0.1 * one)


def ratio_of_pixels(image: Tensor, clean: Tensor, variance: float) -> Tensor:
    """Log likelihood ratio of white noise, summed over pixels, mean grey left out."""
    clean = clean - clean.mean((-2, -1), keepdim=True)
    return (image * clean - clean.square() / 2).sum((-2, -1)) / variance


@pytest.mark.parametrize("box", BOXES)
def test_one_pose_of_a_gaussian_is_the_sum_over_pixels(box: int) -> None:
    images = 0.3 * white((3, box, box)) + 5
    x, y, z = 1.2, -0.7, 2.1
    # A quarter turn about z, A (x, y, z) = (-y, x, z); a Gaussian projects to one.
    quarter = torch.tensor([[[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]], dtype=FLOAT)
    plane = blob(box, (-y, x, 0))[box // 2] * 1.5 * math.sqrt(2 * math.pi)
    found = pose_posterior(
        images,
        None,
        blob(box, (x, y, z))[None],
        quarter,
        ImageLaw(flat(box, 0.09)[None], PIXEL_SIZE, box),
    ).log_mean
    expected = ratio_of_pixels(images, plane, 0.09)
    # The projector is right to 1e-3 of the amplitude.
    torch.testing.assert_close(found[:, 0], expected, rtol=3e-3, atol=0)


@pytest.mark.parametrize("box", BOXES)
def test_one_pose_is_the_sum_over_pixels_in_single_precision(box: int) -> None:
    volume, rotation = particle(box), poses(1)
    clean = project(volume[None], rotation[None])[0]
    images = clean + white((3, box, box), 4.0)
    found = pose_posterior(
        images.float(),
        None,
        volume[None].float(),
        rotation.float(),
        ImageLaw(flat(box, 4.0)[None].float(), PIXEL_SIZE, box),
    ).log_mean
    expected = ratio_of_pixels(images, clean, 4.0).float()
    torch.testing.assert_close(found[:, 0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("box", BOXES)
def test_each_image_has_its_own_astigmatic_ctf(box: int) -> None:
    volume, rotation, optics = particle(box), poses(1), astigmatic(4)
    params = ImagingParams(rotation.expand(1, 4, 3, 3), ctf=optics.reshape(1, 4))
    clean = form_images(volume[None], params, PIXEL_SIZE, 6)[0]
    images = clean + white((4, box, box))
    law = ImageLaw(flat(box, 1.0)[None], PIXEL_SIZE, 6)
    found = pose_posterior(images, optics, volume[None], rotation, law).log_mean
    torch.testing.assert_close(found[:, 0], ratio_of_pixels(images, clean, 1.0))


@pytest.mark.parametrize("box", BOXES)
def test_each_shell_is_divided_by_its_own_noise(box: int) -> None:
    volume, rotation, images = particle(box), poses(1), white((3, box, box))
    power = 1 + torch.arange(box // 2 + 1, dtype=FLOAT) ** 2
    k = torch.fft.fftfreq(box, 1 / box, dtype=FLOAT)
    shells = (k[:, None] ** 2 + k**2).sqrt().round().long()
    # The full transform of the image, whitened, against the slice, whitened.
    gain = power[shells.clamp(max=box // 2)].rsqrt() * (shells > 0)
    clean = project(volume[None], rotation[None])[0]
    clean, image = (torch.fft.fft2(x, norm="ortho") * gain for x in (clean, images))
    expected = (image.conj() * clean).real - clean.abs().square() / 2
    found = pose_posterior(
        images, None, volume[None], rotation, ImageLaw(power[None], PIXEL_SIZE, box)
    ).log_mean
    torch.testing.assert_close(found[:, 0], expected.sum((-2, -1)))


def test_ratio_averages_to_one_over_images_of_noise() -> None:
    power = 1 + 4 / (1 + torch.arange(9, dtype=FLOAT))
    noise = sample_noise((20_000, 16, 16), power, stream(0, "noise"))
    volume = 0.1 * particle(16)[None]
    law = ImageLaw(power[None], PIXEL_SIZE, 8)
    ratio = pose_posterior(noise, None, volume, poses(1), law).log_mean.exp()
    assert ratio.std() > 0.2
    error = ratio.std().item() / math.sqrt(len(noise))
    assert ratio.mean().item() == pytest.approx(1, abs=4 * error)


def evidence(
    images: Tensor,
    optics: CTFParams | None,
    volumes: Tensor,
    rotations: Tensor,
    law: ImageLaw,
) -> Tensor:
    """(B,) nats, of volumes that are equally likely."""
    each = pose_posterior(images, optics, volumes, rotations, law).log_mean
    return each.logsumexp(1) - math.log(len(volumes))


def test_poses_and_volumes_are_averaged() -> None:
    volumes = torch.stack((particle(16), particle(16, "others")))
    images, optics = white((5, 16, 16)), astigmatic(5)
    law = ImageLaw(flat(16, 1.0)[None], PIXEL_SIZE, 8)
    single = torch.stack(
        [
            pose_posterior(images, optics, v[None], r[None], law).log_mean[:, 0]
            for v in volumes
            for r in poses(7)
        ]
    )
    found = evidence(images, optics, volumes, poses(7), law)
    torch.testing.assert_close(found, single.exp().mean(0).log())


def test_evidence_has_a_column_for_each_volume() -> None:
    volumes = torch.stack((particle(16), particle(16, "others")))
    images, law = white((5, 16, 16)), ImageLaw(flat(16, 1.0)[None], PIXEL_SIZE, 8)
    both = pose_posterior(images, None, volumes, poses(7), law).log_mean
    second = pose_posterior(images, None, volumes[1:], poses(7), law).log_mean
    torch.testing.assert_close(both[:, 1:], second)


def log_ratios(images: Tensor, volume: Tensor, rotations: Tensor) -> Tensor:
    """(B, M) of every pose alone, under white noise of variance one."""
    law = ImageLaw(flat(16, 1.0)[None], PIXEL_SIZE, 8)
    columns = [
        pose_posterior(images, None, volume[None], r[None], law).log_mean
        for r in rotations
    ]
    return torch.cat(columns, dim=1)


@pytest.mark.parametrize("scores_at_once", [2**20, 16])
def test_the_posterior_over_poses_is_that_of_all_ratios(scores_at_once: int) -> None:
    volumes = torch.stack((particle(16), 0.2 * particle(16, "others")))
    # Half of the images show the last pose: their posterior is narrow.
    shown = project(volumes[:1], poses(50)[None, -1:])[0].expand(4, -1, -1)
    images = torch.cat((white((5, 16, 16)), shown + white((4, 16, 16))))
    law = ImageLaw(flat(16, 1.0)[None], PIXEL_SIZE, 8)
    found = pose_posterior(
        images, None, volumes, poses(50), law, scores_at_once=scores_at_once
    )
    for v, volume in enumerate(volumes):
        ratio = log_ratios(images, volume, poses(50))
        weight = ratio.softmax(1)
        entropy = torch.special.entr(weight).sum(1)
        best, pose = ratio.max(1)
        torch.testing.assert_close(found.log_mean[:, v], ratio.exp().mean(1).log())
        torch.testing.assert_close(found.best[:, v], best)
        torch.testing.assert_close(found.pose[:, v], pose)
        torch.testing.assert_close(found.entropy[:, v], entropy)
    assert found.pose[5:, 0].tolist() == [49] * 4


def test_nothing_is_known_of_poses_by_an_empty_volume() -> None:
    images, law = white((3, 16, 16)), ImageLaw(flat(16, 1.0)[None], PIXEL_SIZE, 8)
    found = pose_posterior(images, None, 0 * particle(16)[None], poses(50), law)
    expected = torch.full((3, 1), math.log(50), dtype=FLOAT)
    torch.testing.assert_close(found.entropy, expected)


def test_log_ratios_of_hundreds_neither_overflow_nor_vanish() -> None:
    volume, rotation = particle(16), poses(1)
    clean = project(volume[None], rotation[None])[0].float()
    found = evidence(
        torch.cat((clean, -clean)),
        None,
        volume[None].float(),
        rotation.float(),
        ImageLaw(flat(16, 0.01)[None].float(), PIXEL_SIZE, 8),
    )
    expected = ratio_of_pixels(torch.cat((clean, -clean)), clean, 0.01)
    assert expected[0] > 500
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)


def test_grey_level_of_an_image_plays_no_part() -> None:
    law = ImageLaw(flat(16, 1.0)[None], PIXEL_SIZE, 8)
    arguments = (None, particle(16)[None], poses(3), law)
    images = white((4, 16, 16))
    torch.testing.assert_close(
        evidence(images + 7, *arguments),
        evidence(images, *arguments),
    )


def test_an_empty_volume_scores_zero() -> None:
    empty = torch.zeros(3, 16, 16, 16)
    images, power = white((5, 16, 16)).float(), flat(16, 1.0).float()
    law = ImageLaw(power[None], PIXEL_SIZE, 8)
    found = evidence(images, None, empty, super_fibonacci(1500), law)
    torch.testing.assert_close(found, torch.zeros(5))


@pytest.fixture(scope="module")
def held_out() -> tuple[Tensor, CTFParams, Tensor, float]:
    """400 images at -10 dB with astigmatic CTFs, and the volume they show."""
    volume, optics = particle(16), astigmatic(400)
    params = ImagingParams(poses(400)[None], ctf=optics.reshape(1, 400))
    clean = form_images(volume[None], params, PIXEL_SIZE)[0]
    variance = 10 * clean.var().item()
    return clean + white((400, 16, 16), variance), optics, volume, variance


def low_passed(volume: Tensor, shell: int) -> Tensor:
    k = torch.fft.fftfreq(16, 1 / 16, dtype=FLOAT)
    radius = (k[:, None, None] ** 2 + k[:, None] ** 2 + k**2).sqrt()
    return torch.fft.ifftn(torch.fft.fftn(volume) * (radius <= shell)).real


@pytest.mark.parametrize("rival", ["low-passed", "wrong", "empty"])
def test_the_true_volume_scores_highest(
    held_out: tuple[Tensor, CTFParams, Tensor, float], rival: str
) -> None:
    images, optics, truth, variance = held_out
    other = {
        "low-passed": low_passed(truth, 3),
        "wrong": particle(16, "others"),
        "empty": 0 * truth,
    }[rival]
    true, false = (
        evidence(
            images.float(),
            optics.to(torch.float32),
            volume[None].float(),
            super_fibonacci(2000),
            ImageLaw(flat(16, variance)[None].float(), PIXEL_SIZE, 8),
        )
        for volume in (truth, other)
    )
    difference = mean_score(true - false)
    print(rival, difference)
    assert difference.mean > 5 * difference.standard_error


def test_a_mean_comes_with_its_standard_error() -> None:
    score = mean_score(torch.tensor([1.0, 2.0, 3.0]))
    assert score.mean == pytest.approx(2)
    assert score.standard_error == pytest.approx(1 / math.sqrt(3))


def test_one_image_has_no_standard_error() -> None:
    with pytest.raises(ValueError, match="at least 2 images, got 1"):
        mean_score(torch.ones(1))


def test_images_without_noise_in_a_shell_are_a_mistake() -> None:
    power = flat(16, 1.0)
    power[6:] = 0
    arguments = (white((2, 16, 16)), None, particle(16)[None], poses(1))
    with pytest.raises(InputError, match="shell 6 of 8: set max_shell below it"):
        pose_posterior(*arguments, ImageLaw(power[None], PIXEL_SIZE, 8))
