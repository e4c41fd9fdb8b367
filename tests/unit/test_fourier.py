"""Grids, shells, crop and pad against closed forms."""

import math

import pytest
import torch
from torch import Tensor

from multicryogan.fourier import (
    centre_to_corner,
    corner_to_centre,
    disc_mask,
    fourier_resize,
    frequency_grid,
    low_pass,
    resize_density,
    shell_index,
    shell_mean,
    shell_weights,
)
from multicryogan.rng import stream

LIKE = torch.zeros(1, dtype=torch.float64)


def centred_axis(box: int, pixel_size: float = 1.0) -> Tensor:
    return (torch.arange(box, dtype=torch.float64) - box // 2) * pixel_size


def gaussian(box: int, ndim: int, pixel_size: float = 1.0) -> Tensor:
    """Amplitude 1, sigma 3, off centre; the same object at any pixel size."""
    axis = centred_axis(box, pixel_size)
    profiles = [torch.exp(-((axis - c) ** 2) / 18) for c in (2.0, -1.0, 0.5)[:ndim]]
    result = profiles[0]
    for profile in profiles[1:]:
        result = result[..., None] * profile
    return result


def full_radius(box: int, ndim: int) -> Tensor:
    k = torch.fft.fftfreq(box, 1 / box, dtype=torch.float64)
    return torch.stack(torch.meshgrid(*(k,) * ndim, indexing="ij")).norm(dim=0)


@pytest.mark.parametrize("box", [32, 33])
def test_frequencies_are_ky_kx_in_inverse_angstrom(box: int) -> None:
    grid = frequency_grid(box, 2.0, like=LIKE)
    assert grid.shape == (box, box // 2 + 1, 2)
    expected = torch.tensor([-1, 3], dtype=torch.float64) / (2 * box)
    torch.testing.assert_close(grid[-1, 3], expected)


def test_grids_take_the_dtype_of_like() -> None:
    assert frequency_grid(8, 1.0, like=torch.zeros(1)).dtype == torch.float32
    assert disc_mask(8, 2, like=LIKE).dtype == torch.float64


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("box", [16, 17])
def test_shell_is_the_rounded_radius(box: int, ndim: int) -> None:
    expected = full_radius(box, ndim).round().long()[..., : box // 2 + 1]
    assert torch.equal(shell_index(box, ndim, like=LIKE), expected)


def test_a_changed_shell_index_does_not_change_the_next_one() -> None:
    shell_index(8, like=LIKE).fill_(7)
    assert shell_index(8, like=LIKE)[0, 0] == 0


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("box", [16, 17])
def test_shell_weights_count_every_mode(box: int, ndim: int) -> None:
    assert shell_weights(box, ndim).sum() == box**ndim


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("box", [12, 13])
def test_shell_mean_is_the_mean_over_the_full_transform(box: int, ndim: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, *(box,) * ndim, generator=generator, dtype=torch.float64)
    axes = tuple(range(1, ndim + 1))
    full = torch.fft.fftn(x, dim=axes).abs().square()
    shells = full_radius(box, ndim).round()
    expected = torch.stack(
        [full[:, shells == s].mean(-1) for s in range(box // 2 + 1)], dim=-1
    )
    half = torch.fft.rfftn(x, dim=axes).abs().square()
    torch.testing.assert_close(shell_mean(half, box, ndim), expected)


@pytest.mark.parametrize("box", [32, 33])
def test_disc_is_one_up_to_its_radius_and_zero_beyond(box: int) -> None:
    radius = full_radius(box, 2)[:, : box // 2 + 1]
    assert torch.equal(disc_mask(box, 10, like=LIKE), (radius <= 10).double())


def test_disc_edge_is_a_raised_cosine() -> None:
    row = disc_mask(32, 8, like=LIKE, edge=4)[0]
    expected = torch.tensor([1, 0.5, 0], dtype=torch.float64)
    torch.testing.assert_close(row[[8, 10, 12]], expected)


@pytest.mark.parametrize("box", [32, 33])
def test_low_pass_removes_what_the_mask_removes(box: int) -> None:
    angle = 2 * math.pi * centred_axis(box) / box
    kept, removed = (3 * angle).cos(), (9 * angle).cos()
    image = (kept + removed).expand(box, box)
    filtered = low_pass(image, disc_mask(box, 5, like=LIKE))
    torch.testing.assert_close(filtered, kept.expand(box, box))


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("new_box", [24, 25, 48, 49])
@pytest.mark.parametrize("box", [32, 33])
def test_resize_keeps_the_object_its_place_and_its_values(
    box: int, new_box: int, ndim: int
) -> None:
    resized = fourier_resize(gaussian(box, ndim), new_box, ndim)
    expected = gaussian(new_box, ndim, pixel_size=box / new_box)
    torch.testing.assert_close(resized, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("new_box", [8, 9, 24, 25])
@pytest.mark.parametrize("box", [16, 17])
def test_resize_keeps_a_constant(box: int, new_box: int) -> None:
    resized = fourier_resize(torch.full((2, box, box), 3.0), new_box)
    torch.testing.assert_close(resized, torch.full((2, new_box, new_box), 3.0))


def test_resize_to_the_same_box_is_the_identity() -> None:
    image = torch.rand(2, 8, 8)
    assert fourier_resize(image, 8) is image


@pytest.mark.parametrize(("small", "large"), [(16, 24), (16, 25), (8, 16)])
def test_resize_empties_the_nyquist_rows_of_the_smaller_box(
    small: int, large: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(large, large, generator=generator, dtype=torch.float64)
    spectrum = torch.fft.rfft2(fourier_resize(image, small))
    assert spectrum[small // 2].abs().max() < 1e-12
    assert spectrum[:, -1].abs().max() < 1e-12


@pytest.mark.parametrize("large", [24, 25])
def test_padding_then_cropping_gives_an_odd_image_back(large: int) -> None:
    image = torch.rand(3, 17, 17, dtype=torch.float64)
    torch.testing.assert_close(fourier_resize(fourier_resize(image, large), 17), image)


@pytest.mark.parametrize("box", [8, 9])
def test_centre_to_corner_moves_the_centre_pixel(box: int) -> None:
    image = torch.zeros(box, box)
    image[box // 2, box // 2] = 1
    assert centre_to_corner(image, 2)[0, 0] == 1
    assert torch.equal(corner_to_centre(centre_to_corner(image, 2), 2), image)


@pytest.mark.parametrize("new_box", [16, 21, 40])
def test_a_resized_density_projects_to_the_resized_image(new_box: int) -> None:
    volume = torch.randn(2, 24, 24, 24, generator=stream(0, "density")).double()
    image = resize_density(volume, new_box).sum(-3)
    torch.testing.assert_close(image, fourier_resize(volume.sum(-3), new_box))
