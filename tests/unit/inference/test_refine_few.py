"""Particles that are too few to be refined in two halves."""

from pathlib import Path

import pytest

from multicryogan.errors import InputError
from multicryogan.inference import check_halves
from multicryogan.io import read_particles
from particle_files import ball_images, write_particles


@pytest.mark.parametrize(
    ("subset", "told"),
    [([1], "1 and 0"), ([1] * 7, "4 and 3"), ([1, 2, *[2] * 8], "1 and 9")],
)
def test_both_halves_need_particles(
    tmp_path: Path, subset: list[int], told: str
) -> None:
    images = ball_images(len(subset))
    star = write_particles(tmp_path, images, rlnRandomSubset=subset)
    with pytest.raises(InputError, match=f"hold {told} particles, .* 4 in each; give"):
        check_halves(read_particles(star), 0)


def test_eight_particles_have_two_halves(tmp_path: Path) -> None:
    check_halves(read_particles(write_particles(tmp_path, ball_images(8))), 0)
