"""In-plane shifts: sign, axes and size."""

import pytest
import torch

from multicryogan.fourier import frequency_grid
from multicryogan.imaging import shift_images, shift_phase

PIXEL_SIZE = 2.0


@pytest.mark.parametrize("box", [32, 33])
def test_shift_moves_the_particle_by_plus_x_and_plus_y(box: int) -> None:
    image = torch.zeros(1, box, box)
    image[0, 10, 12] = 1  # (y, x)
    shifted = shift_images(image, torch.tensor([[6.0, -4.0]]), PIXEL_SIZE)
    assert divmod(int(shifted.argmax()), box) == (8, 15)


@pytest.mark.parametrize("box", [32, 33])
def test_whole_pixels_roll_the_image(box: int) -> None:
    image = torch.rand(3, box, box, dtype=torch.float64)
    shift = torch.tensor([4.0, -6.0], dtype=torch.float64)
    expected = image.roll((-3, 2), dims=(-2, -1))
    torch.testing.assert_close(shift_images(image, shift, PIXEL_SIZE), expected)


@pytest.mark.parametrize("box", [32, 33])
def test_half_a_pixel_moves_a_gaussian_by_half_a_pixel(box: int) -> None:
    axis = torch.arange(box, dtype=torch.float64) - box // 2

    def gaussian(x: float, y: float) -> torch.Tensor:
        return torch.exp(-((axis[:, None] - y) ** 2 + (axis - x) ** 2) / 8)

    shift = torch.tensor([1.0, -0.6], dtype=torch.float64)
    shifted = shift_images(gaussian(2, 3), shift, PIXEL_SIZE)
    torch.testing.assert_close(shifted, gaussian(2.5, 2.7), atol=1e-6, rtol=0)


def test_phase_has_modulus_one_and_is_one_at_zero_frequency() -> None:
    freqs = frequency_grid(8, PIXEL_SIZE, like=torch.zeros(1))
    phase = shift_phase(torch.tensor([[[3.0, 1.0]], [[0.5, 9.0]]]), freqs)
    assert phase.shape == (2, 1, 8, 5)
    torch.testing.assert_close(phase.abs(), torch.ones(2, 1, 8, 5))
    assert (phase[..., 0, 0] == 1).all()


def test_every_image_has_its_own_shift() -> None:
    image = torch.rand(8, 8, dtype=torch.float64).expand(2, 8, 8)
    shift = torch.tensor([[2.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    moved = shift_images(image, shift, PIXEL_SIZE)
    torch.testing.assert_close(moved[0], image[0].roll(1, dims=1))
    torch.testing.assert_close(moved[1], image[1].roll(1, dims=0))
