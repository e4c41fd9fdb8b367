"""Real beside simulated images: power of their shells, and the file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from multicryogan.errors import InputError
from multicryogan.imaging import CTFParams
from multicryogan.inference.likeness import (
    LIKENESS,
    PICTURES,
    Likeness,
    measure_likeness,
    read_likeness,
    write_likeness,
)
from multicryogan.rng import stream

BOX, IMAGES, PIXEL_SIZE = 16, 400, 5.0


def white(seed: int, variance: float, count: int = IMAGES) -> Tensor:
    draws = stream(seed, "white")
    return variance**0.5 * torch.randn((count, BOX, BOX), generator=draws)


def measured(real: Tensor, simulated: Tensor) -> Likeness:
    both = (real, None), (simulated, None)
    return measure_likeness(*both, (real, simulated), ["only"], PIXEL_SIZE)


def test_power_of_white_noise_is_its_variance_in_every_shell() -> None:
    found = measured(white(0, 4.0), white(1, 1.0))
    deviation = (found.power - [[[4.0]], [[1.0]]]) / found.error
    assert np.abs(deviation[:, :, 1:]).max() < 5
    # About 400 modes of shell 1 in all images: 2.5 % and less.
    assert (found.error[:, :, 1:] / found.power[:, :, 1:]).max() < 0.1


def test_noise_that_is_a_fifth_too_strong_shows() -> None:
    found = measured(white(0, 1.0), white(1, 1.2))
    gap = found.power[1] - found.power[0]
    error = np.hypot(*found.error)
    assert (gap[:, 2:] > 3 * error[:, 2:]).all()


def test_optics_groups_are_compared_apart_and_small_ones_left_out() -> None:
    group = torch.arange(IMAGES) % 4 // 2  # 0 0 1 1
    group[:2] = 2
    optics = CTFParams(*torch.ones(7, IMAGES), group=group)
    images = white(0, 1.0) * torch.where(group == 1, 3.0, 1.0)[:, None, None]
    names = ["first", "second", "rare"]
    both = (images, optics)
    found = measure_likeness(both, both, (images, images), names, PIXEL_SIZE)
    assert found.groups == ("first", "second")
    ratio = found.power[0, 1, 1:] / found.power[0, 0, 1:]
    assert np.abs(ratio / 9 - 1).max() < 0.3


def test_pictures_are_taken_from_first_to_last() -> None:
    real = torch.arange(40.0)[:, None, None].expand(-1, BOX, BOX)
    found = measured(real, real)
    assert found.real.shape == (PICTURES, BOX, BOX)
    assert found.real[0, 0, 0] == 0
    assert found.real[-1, 0, 0] == 39


def test_the_file_gives_back_what_was_written(tmp_path: Path) -> None:
    found = measured(white(0, 1.0), white(1, 1.0))
    write_likeness(found, tmp_path)
    read = read_likeness(tmp_path)
    assert read is not None
    assert read.groups == found.groups
    assert read.pixel_size == PIXEL_SIZE
    for name in ("real", "simulated", "power", "error"):
        np.testing.assert_array_equal(getattr(read, name), getattr(found, name))


def test_without_a_file_there_is_none(tmp_path: Path) -> None:
    assert read_likeness(tmp_path) is None


def test_a_broken_file_gets_one_line(tmp_path: Path) -> None:
    write_likeness(measured(white(0, 1.0), white(1, 1.0)), tmp_path)
    data = (tmp_path / LIKENESS).read_bytes()
    for broken in (b"", b"no archive", data[:-10]):
        (tmp_path / LIKENESS).write_bytes(broken)
        with pytest.raises(InputError, match=r"likeness\.npz: it is damaged .*delete"):
            read_likeness(tmp_path)
