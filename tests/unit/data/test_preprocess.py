"""Facts about the preparation of images, real and simulated alike."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from multicryogan.data import (
    Preprocessing,
    background_mask,
    detect_contrast,
    normalise_background,
    standardise,
    working_images,
)
from multicryogan.errors import InputError
from multicryogan.io import read_particles, write_stack
from multicryogan.rng import stream

FLOAT = torch.float64


def settings(box: int = 32, **changes: float) -> Preprocessing:
    values = {"sign": 1, "background_radius_px": 0.4 * box, "window_edge_px": 2.0}
    return Preprocessing(box=box, **(values | changes))


def random_images(count: int, box: int, dtype: torch.dtype = FLOAT) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(count, box, box, generator=generator, dtype=dtype)


def radius(box: int) -> Tensor:
    offset = torch.arange(box, dtype=FLOAT) - box // 2
    return torch.hypot(offset[:, None], offset)


@pytest.mark.parametrize("box", [32, 33])
def test_the_background_has_mean_zero_and_deviation_one(box: int) -> None:
    images = normalise_background(5 * random_images(3, box) + 7, settings(box))
    outside = images[:, radius(box) > 0.4 * box]
    torch.testing.assert_close(outside.mean(1), torch.zeros(3, dtype=FLOAT))
    torch.testing.assert_close(outside.std(1, correction=0), torch.ones(3, dtype=FLOAT))


def test_each_image_has_its_own_background() -> None:
    images = random_images(3, 32)
    scaled = images * torch.tensor([1.0, 2.0, 30.0], dtype=FLOAT)[:, None, None]
    torch.testing.assert_close(
        standardise(scaled, settings()), standardise(images, settings())
    )


def test_an_offset_of_the_intensity_changes_nothing() -> None:
    images = random_images(3, 32)
    torch.testing.assert_close(
        standardise(images + 100, settings()), standardise(images, settings())
    )


def test_a_particle_keeps_its_height_above_the_background() -> None:
    images = random_images(1, 32)
    images[0, 16, 16] += 50.0
    outside = images[:, radius(32) > 0.4 * 32]
    expected = (images[0, 16, 16] - outside.mean()) / outside.std(correction=0)
    found = normalise_background(images, settings())[0, 16, 16]
    torch.testing.assert_close(found, expected)


def below_nyquist(box: int) -> Tensor:
    """(D, D) which modes of the full transform have |k| < box / 2."""
    k = torch.fft.fftfreq(box, 1 / box, dtype=FLOAT)
    return k[:, None].square() + k.square() < box**2 / 4


@pytest.mark.parametrize("box", [32, 33])
def test_modes_at_or_beyond_nyquist_do_not_matter(box: int) -> None:
    images = random_images(2, box)
    spectrum = torch.fft.fft2(random_images(2, box) * 5)
    beyond = torch.fft.ifft2(spectrum * ~below_nyquist(box)).real
    torch.testing.assert_close(
        standardise(images + beyond, settings(box)), standardise(images, settings(box))
    )


@pytest.mark.parametrize("box", [32, 33])
def test_images_are_band_limited_normalised_and_windowed(box: int) -> None:
    images = random_images(2, box)
    banded = torch.fft.ifft2(torch.fft.fft2(images) * below_nyquist(box)).real
    edge = ((box // 2 - radius(box)) / 2.0).clamp(0, 1)
    expected = (
        normalise_background(banded, settings(box))
        * torch.sin(math.pi / 2 * edge).square()
    )
    torch.testing.assert_close(
        standardise(images, settings(box)), expected, atol=1e-6, rtol=1e-5
    )


def test_without_an_edge_the_window_is_a_disc() -> None:
    images = standardise(random_images(1, 32), settings(32, window_edge_px=0))
    assert torch.equal(images[0] != 0, radius(32) < 16)


def test_the_sign_turns_dark_protein_white() -> None:
    images = random_images(2, 32)
    turned = working_images(images, settings(sign=-1))
    torch.testing.assert_close(turned, -images)


@pytest.mark.parametrize(("box", "working"), [(64, 32), (65, 32), (64, 33)])
def test_the_centre_stays_in_the_centre(box: int, working: int) -> None:
    blob = torch.exp(-0.5 * (radius(box) / 4) ** 2)[None]
    small = working_images(blob, settings(working))[0]
    sigma = 4 * working / box
    expected = torch.exp(-0.5 * (radius(working) / sigma) ** 2)
    torch.testing.assert_close(small, expected, atol=2e-3, rtol=0)


def test_a_working_box_larger_than_the_images_is_refused() -> None:
    with pytest.raises(InputError, match="64 pixels is larger than the images"):
        working_images(random_images(1, 32), settings(64))


def test_a_wrong_box_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(\.\.\., 32, 32\), got \(1, 33, 33\)"):
        standardise(random_images(1, 33), settings(32))


@pytest.mark.parametrize("make", [standardise, working_images, normalise_background])
def test_inputs_are_left_untouched(
    make: Callable[[Tensor, Preprocessing], Tensor],
) -> None:
    images = random_images(2, 32)
    before = images.clone()
    make(images, settings(sign=-1))
    assert torch.equal(images, before)


def test_more_leading_axes_are_allowed() -> None:
    images = random_images(6, 32)
    together = standardise(images.reshape(2, 3, 32, 32), settings())
    assert torch.equal(together.reshape(6, 32, 32), standardise(images, settings()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_is_kept(dtype: torch.dtype) -> None:
    assert standardise(random_images(1, 32, dtype), settings()).dtype == dtype


def test_the_gradient_is_that_of_finite_differences() -> None:
    images = random_images(1, 8).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: standardise(x, settings(8)), (images,), fast_mode=True
    )


def test_a_second_gradient_exists() -> None:
    images = random_images(1, 8).requires_grad_()
    assert torch.autograd.gradgradcheck(
        lambda x: standardise(x, settings(8)), (images,), fast_mode=True
    )


@pytest.mark.parametrize("value", [0.0, 0.1, 1000.1])
def test_a_blank_image_becomes_zero(value: float) -> None:
    images = torch.full((1, 32, 32), value)
    assert standardise(images, settings()).abs().max() == 0


def test_a_blank_image_has_a_finite_gradient() -> None:
    images = torch.zeros(1, 32, 32, requires_grad=True)
    standardise(images, settings()).sum().backward()
    assert images.grad is not None
    assert images.grad.isfinite().all()


def test_the_background_is_outside_the_radius() -> None:
    mask = background_mask(settings(32, background_radius_px=10))
    assert mask[16, 26] == 0
    assert mask[16, 27] == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sign": 0}, "sign"),
        ({"background_radius_px": 23.0}, "leaves no pixel outside"),
        ({"background_radius_px": 0.0}, "background radius"),
        ({"window_edge_px": -1.0}, "window_edge_px"),
        ({"window_edge_px": 17.0}, "window_edge_px"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    changes: dict[str, float], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        settings(32, **changes)


def blobs(path: Path, height: float, count: int = 200) -> Path:
    """Images of a blob in noise of deviation one."""
    blob = torch.exp(-0.5 * (radius(32) / 5) ** 2)
    write_stack(path, random_images(count, 32) + height * blob, 1.0)
    return path


@pytest.mark.parametrize("sign", [1, -1])
def test_the_contrast_is_detected(tmp_path: Path, sign: int) -> None:
    found = detect_contrast(read_particles(blobs(tmp_path / "a.mrcs", 0.2 * sign)))
    assert found.sign == sign
    assert sign * found.evidence > 3
    assert ("white" if sign > 0 else "dark") in found.text


def test_contrast_without_evidence_is_taken_as_white(tmp_path: Path) -> None:
    found = detect_contrast(read_particles(blobs(tmp_path / "a.mrcs", -0.005)))
    assert found.sign == 1
    assert "unclear" in found.text


def test_two_images_of_noise_seldom_claim_a_contrast(tmp_path: Path) -> None:
    """A z-score of 3 would be reached by one pair in five."""
    noise = torch.randn(400, 32, 32, generator=stream(0, "test/pairs"))
    write_stack(tmp_path / "noise.mrcs", noise, 4.0)
    stack = read_particles(tmp_path / "noise.mrcs")
    rows = [stack.select(np.arange(i, i + 2)) for i in range(0, 400, 2)]
    claims = sum("unclear" not in detect_contrast(pair).text for pair in rows)
    assert claims <= 3


def test_the_evidence_is_a_z_score(tmp_path: Path) -> None:
    found = detect_contrast(read_particles(blobs(tmp_path / "a.mrcs", 0.2)))
    r, blob = radius(32) / 16, 0.2 * torch.exp(-0.5 * (radius(32) / 5) ** 2)
    centre, rim = r < 0.4, (r >= 0.8) & (r < 1)
    height = blob[centre].mean() - blob[rim].mean()
    deviation = math.sqrt(1 / centre.sum() + 1 / rim.sum())
    expected = float(height / deviation * math.sqrt(200))
    assert found.evidence == pytest.approx(expected, abs=3)  # one is its own deviation


def test_rows_are_spread_over_the_stack(tmp_path: Path) -> None:
    blob = torch.exp(-0.5 * (radius(32) / 5) ** 2)
    first, rest = blob.expand(30, 32, 32), -blob.expand(270, 32, 32)
    write_stack(
        tmp_path / "a.mrcs", torch.cat((first, rest)) + random_images(300, 32), 1.0
    )
    assert detect_contrast(read_particles(tmp_path / "a.mrcs"), rows=30).sign == -1


def test_a_single_image_is_no_evidence(tmp_path: Path) -> None:
    found = detect_contrast(read_particles(blobs(tmp_path / "a.mrcs", -9.0, count=1)))
    assert (found.sign, found.evidence) == (1, 0.0)


@pytest.mark.parametrize(
    ("name", "sign"),
    [
        ("betagal_101/particles_first101_128px.star", -1),
        ("betagal_101/particles_26_with_relion_poses.star", -1),
        ("star_dialects/empiar_10076_7.star", -1),
        ("star_dialects/empiar_10076_7.cs", 1),  # its blob/sign is applied on reading
        ("star_dialects/relion31.star", 1),
    ],
)
def test_the_contrast_of_real_particles(
    shared_data: Path, name: str, sign: int
) -> None:
    assert detect_contrast(read_particles(shared_data / name)).sign == sign


def test_real_backgrounds_show_no_particle(shared_data: Path) -> None:
    path = shared_data / "betagal_101/background_first101_128px.star"
    assert abs(detect_contrast(read_particles(path)).evidence) < 3
