"""Facts about what a picture of particles shows."""

from pathlib import Path

import pytest
import torch

from multicryogan.config import DataConfig
from multicryogan.data import Portrait, portray
from multicryogan.io import read_particles
from particle_files import ball_images, write_particles


def portrait_of(folder: Path, *, dark: bool, box: int = 32) -> Portrait:
    path = write_particles(folder, ball_images(200, dark=dark))
    return portray(read_particles(path), DataConfig(box=box), -1 if dark else 1)


@pytest.mark.parametrize("dark", [False, True])
def test_the_profile_is_that_of_the_file(tmp_path: Path, dark: bool) -> None:
    portrait = portrait_of(tmp_path, dark=dark)
    assert portrait.profile.shape == (15,)
    # exp(-r² / 32) at r = 4, noise 1
    expected = -0.61 if dark else 0.61
    assert float(portrait.profile[3]) == pytest.approx(expected, abs=0.08)
    assert float(portrait.profile[-1]) == pytest.approx(0, abs=0.05)


def test_pictures_show_white_protein(tmp_path: Path) -> None:
    images = portrait_of(tmp_path, dark=True).images
    assert images.shape == (8, 32, 32)
    assert images[:, 12:20, 12:20].mean() > 0.4


def test_the_working_box_is_shown(tmp_path: Path) -> None:
    portrait = portrait_of(tmp_path, dark=False, box=16)
    assert portrait.images.shape == (8, 16, 16)
    assert portrait.pixel_size == 8.0


def test_the_defocus_of_every_particle_is_in_micrometres(tmp_path: Path) -> None:
    defocus = portrait_of(tmp_path, dark=False).defocus_um
    assert defocus is not None
    expected = (11_950 + 10 * torch.arange(200)) / 1e4
    torch.testing.assert_close(defocus, expected)
