"""Masks that users draw."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from multicryogan.data.masks import read_mask
from multicryogan.errors import InputError
from multicryogan.io import write_volume

BOX, FIELD = 16, 80.0


def block(box: int = BOX) -> Tensor:
    """(D, D, D) block right of the centre, along x."""
    mask = torch.zeros(box, box, box)
    middle, quarter = box // 2, box // 4
    inner = slice(middle - box // 8, middle + box // 8)
    mask[inner, inner, middle : middle + quarter] = 1
    return mask


def written(folder: Path, mask: Tensor, field: float = FIELD) -> Path:
    path = folder / "mask.mrc"
    write_volume(path, mask, field / mask.shape[-1])
    return path


def test_a_mask_comes_back(tmp_path: Path) -> None:
    path = written(tmp_path, 0.25 * block())
    torch.testing.assert_close(read_mask(path, BOX, FIELD, FIELD), 0.25 * block())


def test_values_are_cut_to_0_and_1(tmp_path: Path) -> None:
    path = written(tmp_path, 7 * block() - 0.1)
    torch.testing.assert_close(read_mask(path, BOX, FIELD, FIELD), block())


@pytest.mark.parametrize("box", [32, 33, 48])
def test_finer_voxels_are_averaged(tmp_path: Path, box: int) -> None:
    found = read_mask(written(tmp_path, block(box)), BOX, FIELD, FIELD)
    assert float((found - block()).abs().mean()) < 0.03
    assert float(found.max()) <= 1


def test_the_map_may_be_wider_than_the_images(tmp_path: Path) -> None:
    path = written(tmp_path, block(32), 2 * FIELD)
    found = read_mask(path, BOX, FIELD, 2 * FIELD)
    inner = slice(5, 11)
    expected = block(32)[8:24, 8:24, 8:24]
    torch.testing.assert_close(
        found[inner, inner, inner], expected[inner, inner, inner]
    )


def test_all_symmetric_poses_are_masked(tmp_path: Path) -> None:
    found = read_mask(written(tmp_path, block()), BOX, FIELD, FIELD, "C4")
    middle = BOX // 2
    for y, x in ((0, 2), (0, -2), (2, 0), (-2, 0)):
        assert float(found[middle, middle + y, middle + x]) > 0.9


def test_nothing_is_masked_beyond_the_sphere(tmp_path: Path) -> None:
    found = read_mask(written(tmp_path, torch.ones(BOX, BOX, BOX)), BOX, FIELD, FIELD)
    assert float(found[0, 0, 0]) == 0
    assert float(found[BOX // 2, BOX // 2, BOX // 2]) == 1


@pytest.mark.parametrize(
    ("mask", "field", "cure"),
    [
        (block(), 16.0, r"mask\.mrc spans 16\.0 Å.* 80\.0 Å; draw it on that map"),
        (torch.zeros(BOX, BOX, BOX), FIELD, r"mask\.mrc is empty.*give another"),
        (-block(), FIELD, "empty"),
    ],
)
def test_what_is_no_mask_of_the_map_is_refused(
    tmp_path: Path, mask: Tensor, field: float, cure: str
) -> None:
    path = written(tmp_path, mask, field)
    with pytest.raises(InputError, match=cure) as told:
        read_mask(path, BOX, FIELD, FIELD)
    assert "\n" not in str(told.value)
