"""The projector against closed forms with absolute amplitudes."""

import math

import pytest
import torch
from torch import Tensor

from multicryogan.fourier import shell_index
from multicryogan.imaging import project, project_spectrum, projection
from multicryogan.rng import stream
from multicryogan.rotations import euler_to_matrix, random_rotations

FLOAT = torch.float64


def centred_axis(box: int) -> Tensor:
    return torch.arange(box, dtype=FLOAT) - box // 2


def centres_within(radius: float, count: int) -> Tensor:
    """(n, 3) points (x, y, z) uniform in a ball."""
    direction = torch.randn(count, 3, generator=stream(0, "direction"), dtype=FLOAT)
    distance = torch.rand(count, 1, generator=stream(0, "distance"), dtype=FLOAT)
    return (
        radius * distance ** (1 / 3) * torch.nn.functional.normalize(direction, dim=1)
    )


def gaussians(box: int, centres: Tensor, sigma: float) -> Tensor:
    """(1, D, D, D) volume: a sum of Gaussians of amplitude 1."""
    x, y, z = (
        torch.exp(-((centred_axis(box) - c[:, None]) ** 2) / (2 * sigma**2))
        for c in centres.unbind(1)
    )
    return torch.einsum("nz,ny,nx->zyx", z, y, x)[None]


def projected_gaussians(
    box: int, centres: Tensor, sigma: float, rotation: Tensor
) -> Tensor:
    """(P, D, D) the same sum, rotated and integrated along z."""
    turned = torch.einsum("pij,nj->pni", rotation, centres)
    x, y = (
        torch.exp(-((centred_axis(box) - c[..., None]) ** 2) / (2 * sigma**2))
        for c in turned[..., :2].unbind(-1)
    )
    return math.sqrt(2 * math.pi) * sigma * torch.einsum("pny,pnx->pyx", y, x)


def relative_error(images: Tensor, expected: Tensor) -> float:
    """Largest relative L2 error of a set of images."""
    errors = (images - expected).flatten(1).norm(dim=1)
    return (errors / expected.flatten(1).norm(dim=1)).max().item()


@pytest.mark.parametrize("box", [32, 33, 64])
def test_sharp_gaussians_project_to_gaussians(box: int) -> None:
    centres = centres_within(0.42 * box, count=30)
    rotation = random_rotations((1, 20), stream(0, "pose")).to(FLOAT)
    images = project(gaussians(box, centres, 1.0), rotation)[0]
    expected = projected_gaussians(box, centres, 1.0, rotation[0])
    assert relative_error(images, expected) < 0.0125


@pytest.mark.parametrize("box", [32, 33])
def test_a_smooth_gaussian_off_centre_keeps_its_place_and_amplitude(box: int) -> None:
    centre = torch.tensor([[5.0, -4.0, 3.0]], dtype=FLOAT)
    rotation = random_rotations((1, 8), stream(1, "pose")).to(FLOAT)
    images = project(gaussians(box, centre, 2.0), rotation)[0]
    expected = projected_gaussians(box, centre, 2.0, rotation[0])
    torch.testing.assert_close(images, expected, atol=0.02, rtol=0)
    assert (images.sum((1, 2)) / expected.sum((1, 2)) - 1).abs().max() < 0.004


@pytest.mark.parametrize("box", [32, 33])
def test_without_rotation_the_image_is_the_sum_along_z(box: int) -> None:
    centre = torch.tensor([[3.0, -6.0, 2.0]], dtype=FLOAT)
    volume = gaussians(box, centre, 1.5)
    image = project(volume, torch.eye(3, dtype=FLOAT)[None, None])[:, 0]
    assert relative_error(image, volume.sum(1)) < 0.003


def test_rot_of_90_degrees_brings_the_volume_y_axis_to_the_image_x_axis() -> None:
    volume = gaussians(32, torch.tensor([[0.0, 7.0, 0.0]], dtype=FLOAT), 1.0)
    angles = torch.tensor([90.0, 0.0, 0.0], dtype=FLOAT)
    image = project(volume, euler_to_matrix(*angles)[None, None])
    assert divmod(int(image.argmax()), 32) == (16, 16 + 7)


@pytest.mark.parametrize("box", [16, 17])
def test_opposite_views_are_mirror_images(box: int) -> None:
    generator = stream(0, "volume")
    volume = torch.randn(1, box, box, box, generator=generator, dtype=FLOAT)
    rotation = random_rotations((1, 3), stream(0, "pose")).to(FLOAT)
    # Half a turn about the image's y axis: x and z change sign.
    behind = torch.diag(torch.tensor([-1.0, 1.0, -1.0], dtype=FLOAT)) @ rotation
    mirrored = project(volume, rotation).roll(-(box // 2), -1).flip(-1)
    mirrored = mirrored.roll(box // 2 + 1, -1)
    torch.testing.assert_close(project(volume, behind), mirrored)


@pytest.mark.parametrize("box", [16, 17])
def test_spectrum_is_the_transform_of_a_real_image(box: int) -> None:
    volume = torch.rand(2, box, box, box, generator=stream(0, "volume"), dtype=FLOAT)
    rotation = random_rotations((2, 3), stream(0, "pose")).to(FLOAT)
    spectrum = project_spectrum(volume, rotation)
    images = torch.fft.irfft2(spectrum, s=(box, box))
    torch.testing.assert_close(torch.fft.rfft2(images), spectrum)


@pytest.mark.parametrize("box", [16, 17])
def test_max_shell_only_empties_the_modes_beyond(box: int) -> None:
    volume = torch.rand(2, box, box, box, generator=stream(0, "volume"), dtype=FLOAT)
    rotation = random_rotations((2, 3), stream(0, "pose")).to(FLOAT)
    k = torch.fft.fftfreq(box, 1 / box, dtype=FLOAT)
    radius2 = k[:, None] ** 2 + torch.arange(box // 2 + 1) ** 2
    expected = project_spectrum(volume, rotation) * (radius2 <= 25)
    torch.testing.assert_close(project_spectrum(volume, rotation, 5), expected)


@pytest.mark.parametrize("box", [16, 17])
def test_shells_are_filled_up_to_below_nyquist(box: int) -> None:
    volume = torch.rand(1, box, box, box, generator=stream(0, "volume"), dtype=FLOAT)
    spectrum = project_spectrum(volume, torch.eye(3, dtype=FLOAT)[None, None])[0, 0]
    filled = shell_index(box, like=volume)[spectrum != 0]
    k = torch.fft.fftfreq(box, 1 / box)
    below = (k[:, None] ** 2 + torch.arange(box // 2 + 1) ** 2).sqrt() < box / 2
    assert len(filled) == below.sum()


def test_max_shell_0_keeps_the_sum() -> None:
    volume = gaussians(16, torch.zeros(1, 3, dtype=FLOAT), 1.5)
    spectrum = project_spectrum(volume, torch.eye(3, dtype=FLOAT)[None, None], 0)
    assert spectrum[0, 0, 0, 0].real.item() == pytest.approx(
        volume.sum().item(), rel=0.004
    )
    assert (spectrum != 0).sum() == 1


@pytest.mark.parametrize("samples", [1, 300, 700])
def test_working_in_parts_changes_nothing(
    samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = torch.rand(5, 8, 8, 8, generator=stream(0, "volume"), dtype=FLOAT)
    rotation = random_rotations((5, 9), stream(0, "pose")).to(FLOAT)
    at_once = project(volume, rotation)
    monkeypatch.setattr(projection, "SAMPLES_AT_ONCE", samples)
    torch.testing.assert_close(project(volume, rotation), at_once)


@pytest.mark.parametrize(
    ("volume", "poses"), [((1, 8, 8, 9), (1, 2)), ((2, 8, 8, 8), (1, 2))]
)
def test_wrong_shapes_are_named(
    volume: tuple[int, ...], poses: tuple[int, int]
) -> None:
    with pytest.raises(ValueError, match=r"expected V cubic volumes .* got \("):
        project(torch.zeros(volume), torch.eye(3).expand(*poses, 3, 3))
