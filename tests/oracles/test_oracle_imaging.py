"""Projection and shift against real-space references made with scipy."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from multicryogan.imaging import project, shift_images
from multicryogan.rng import stream
from multicryogan.rotations import random_rotations


def blurred_noise(box: int) -> np.ndarray:
    """An irregular object, smooth on the scale of 1.5 voxels, inside the box."""
    noise = np.random.default_rng(0).normal(size=(box, box, box))
    axis = np.arange(box) - box // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    noise[x**2 + y**2 + z**2 > (0.3 * box) ** 2] = 0
    return ndimage.gaussian_filter(noise, 1.5)


def real_space_projection(volume: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Turn the volume by cubic splines, V(Aᵀ r), and sum it along z."""
    box = volume.shape[0]
    axis = np.arange(box) - box // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    image_xyz = np.stack((x, y, z)).reshape(3, -1)
    volume_zyx = (rotation.T @ image_xyz)[::-1] + box // 2
    turned = ndimage.map_coordinates(volume, volume_zyx, order=3)
    return turned.reshape(box, box, box).sum(0)


@pytest.mark.parametrize("box", [32, 33])
def test_projection_agrees_with_a_real_space_projector(box: int) -> None:
    volume = blurred_noise(box)
    rotation = random_rotations((1, 4), stream(0, "pose")).double()
    ours = project(torch.from_numpy(volume)[None], rotation)[0].numpy()
    for image, matrix in zip(ours, rotation[0].numpy(), strict=True):
        expected = real_space_projection(volume, matrix)
        error = np.linalg.norm(image - expected) / np.linalg.norm(expected)
        assert error < 0.02


@pytest.mark.parametrize("box", [32, 33])
def test_shift_agrees_with_scipys_fourier_shift(box: int) -> None:
    image = blurred_noise(box).sum(0)
    expected = np.fft.ifft2(ndimage.fourier_shift(np.fft.fft2(image), (-0.7, 2.3))).real
    shift = torch.tensor([2.3, -0.7], dtype=torch.float64) * 4
    ours = shift_images(torch.from_numpy(image), shift, pixel_size=4.0)
    # The two treat the (weak) Nyquist row of an even box differently.
    torch.testing.assert_close(ours, torch.from_numpy(expected), atol=1e-5, rtol=0)
