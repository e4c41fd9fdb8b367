"""Scripts for ChimeraX and the moving picture beside a series of maps."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evaluation_phantoms import hinge
from multicryogan.report.viewers import (
    MOVIE,
    morph,
    series,
    with_atoms,
    write_viewers,
)

NUMBER = r"[\d.e+-]+"
# As https://www.rbvi.ucsf.edu/chimerax/docs/user/commands/ has them.
GRAMMAR = (
    r"open volume_(\*|\d{3})\.mrc( vseries (true|false))?",
    r"open atoms\.cif( coordsets (true|false))?",
    rf"volume #\d+(-\d+)? style surface step \d+ level {NUMBER} "
    r"color ([a-z]+|#[\da-f]{8})",
    r"set bgColor [a-z]+",
    r"lighting (soft|simple|full|flat)",
    r"view",
    r"vseries play #\d+ loop true direction oscillate maxFrameRate \d+",
    r"(vseries|coordset) slider #\d+",
    rf"volume morph #\d+-\d+ frames \d+ playStep {NUMBER}",
)


@pytest.mark.parametrize("count", [1, 2, 21])
def test_every_line_is_a_documented_command(count: int) -> None:
    lines = series(0.02, count) + with_atoms(0.02, count)
    lines += morph(0.02, count) if count > 1 else []
    for text in lines:
        assert any(re.fullmatch(rule, text) for rule in GRAMMAR), text


def test_maps_are_opened_before_they_are_shown_and_played() -> None:
    first, *_, last = series(0.02, 21)
    assert first == "open volume_*.mrc vseries true"
    assert last.startswith("vseries play #1 ")
    lines = morph(0.02, 3)
    assert lines[:3] == [f"open volume_{n:03d}.mrc" for n in (1, 2, 3)]
    assert lines[-1] == "volume morph #1-3 frames 9 playStep 0.1111"


def test_the_level_shows_the_molecule_and_no_noise(tmp_path: Path) -> None:
    volumes = hinge(24, [0, 10, 20])
    write_viewers(volumes, tmp_path)
    text = (tmp_path / "open.cxc").read_text()
    found = re.search(rf"level ({NUMBER})", text)
    assert found is not None
    inside = (volumes.mean(0) > float(found[1])).float().mean()
    assert 0.01 < inside < 0.2


def test_the_picture_moves_there_and_back(tmp_path: Path) -> None:
    write_viewers(hinge(24, [0, 10, 20, 30]), tmp_path)
    with Image.open(tmp_path / MOVIE) as movie:
        assert movie.n_frames == 6
        frames = []
        for number in range(6):
            movie.seek(number)
            frames.append(np.array(movie.convert("L"), dtype=float))
    assert min(frames[0].shape) >= 320
    still = np.abs(frames[1] - frames[5]).mean()  # the same map
    moved = np.abs(frames[0] - frames[3]).mean()
    assert still < 0.1 * moved


def test_a_single_map_has_no_movie(tmp_path: Path) -> None:
    write_viewers(torch.rand(1, 8, 8, 8), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["open.cxc"]
