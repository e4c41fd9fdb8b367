"""Image formation is the composition of its operators."""

from dataclasses import replace

import pytest
import torch

from multicryogan.fourier import frequency_grid, low_pass
from multicryogan.imaging import (
    CTFParams,
    ImagingParams,
    ctf,
    form_images,
    project,
    project_spectrum,
    shift_images,
)
from multicryogan.rng import stream
from multicryogan.rotations import random_rotations

FLOAT = torch.float64
VOXEL_SIZE = 3.0
VOLUMES, POSES = 2, 3


def make_volume(box: int) -> torch.Tensor:
    shape = (VOLUMES, box, box, box)
    return torch.rand(shape, generator=stream(0, "volume"), dtype=FLOAT)


def make_rotation() -> torch.Tensor:
    return random_rotations((VOLUMES, POSES), stream(0, "pose")).to(FLOAT)


def make_shift() -> torch.Tensor:
    shape = (VOLUMES, POSES, 2)
    return 5 * torch.randn(shape, generator=stream(0, "shift"), dtype=FLOAT)


def make_optics() -> CTFParams:
    one = torch.ones(VOLUMES, POSES, dtype=FLOAT)
    u = 10_000 + 5000 * torch.rand(VOLUMES, POSES, generator=stream(0, "ctf")).to(FLOAT)
    return CTFParams(
        u, u + 900, 20 * one, 0 * one, 300 * one, 2.7 * one, 0.1 * one, 50 * one, one
    )


@pytest.mark.parametrize("box", [16, 17])
def test_pose_alone_is_projection(box: int) -> None:
    images = form_images(make_volume(box), ImagingParams(make_rotation()), VOXEL_SIZE)
    torch.testing.assert_close(images, project(make_volume(box), make_rotation()))


@pytest.mark.parametrize("box", [16, 17])
def test_shift_is_applied_in_angstrom(box: int) -> None:
    params = ImagingParams(make_rotation(), make_shift())
    projections = project(make_volume(box), make_rotation())
    torch.testing.assert_close(
        form_images(make_volume(box), params, VOXEL_SIZE),
        shift_images(projections, make_shift(), VOXEL_SIZE),
    )


@pytest.mark.parametrize("box", [16, 17])
def test_ctf_multiplies_the_transform(box: int) -> None:
    params = ImagingParams(make_rotation(), ctf=make_optics())
    projections = project(make_volume(box), make_rotation())
    values = ctf(make_optics(), frequency_grid(box, VOXEL_SIZE, like=projections))
    torch.testing.assert_close(
        form_images(make_volume(box), params, VOXEL_SIZE),
        low_pass(projections, values),
    )


def test_contrast_is_a_factor_of_each_image() -> None:
    rotation = make_rotation()
    contrast = torch.rand(rotation.shape[:2], generator=stream(0, "s"), dtype=FLOAT)
    params = ImagingParams(rotation, make_shift(), make_optics())
    plain = form_images(make_volume(16), params, VOXEL_SIZE)
    uneven = replace(params, contrast=contrast)
    torch.testing.assert_close(
        form_images(make_volume(16), uneven, VOXEL_SIZE),
        contrast[..., None, None] * plain,
    )


@pytest.mark.parametrize("box", [16, 17])
def test_max_shell_is_a_low_pass(box: int) -> None:
    params = ImagingParams(make_rotation(), make_shift(), make_optics())
    full = form_images(make_volume(box), params, VOXEL_SIZE)
    is_kept = project_spectrum(make_volume(box), make_rotation(), 4)[0, 0] != 0
    torch.testing.assert_close(
        form_images(make_volume(box), params, VOXEL_SIZE, max_shell=4),
        low_pass(full, is_kept),
    )
