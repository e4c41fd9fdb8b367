"""The picture of a particle file is a whole PNG."""

from dataclasses import replace
from pathlib import Path

import pytest

from multicryogan.config import DataConfig
from multicryogan.data import Portrait, portray
from multicryogan.io import read_particles
from multicryogan.report.portrait import plot_portrait
from particle_files import ball_images, write_particles

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def portrait(tmp_path: Path) -> Portrait:
    stack = read_particles(write_particles(tmp_path, ball_images(5)))
    return portray(stack, DataConfig(), 1)


def test_a_portrait_becomes_a_picture(portrait: Portrait, tmp_path: Path) -> None:
    path = plot_portrait(portrait, tmp_path / "picture.png")
    assert path.read_bytes().startswith(PNG)


def test_particles_without_optics_are_drawn(portrait: Portrait, tmp_path: Path) -> None:
    bare = replace(portrait, coverage=None, defocus_um=None)
    path = plot_portrait(bare, tmp_path / "picture.png")
    assert path.read_bytes().startswith(PNG)
