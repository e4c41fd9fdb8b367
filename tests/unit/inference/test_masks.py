"""What volumes are kept in: the molecule, the focus, the level outside."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from evaluation_phantoms import blobs, grid_points
from multicryogan.config import RefineConfig, run_config
from multicryogan.errors import InputError
from multicryogan.evaluation import solvent_mask
from multicryogan.imaging import ASYMMETRIC, Symmetry
from multicryogan.inference.masks import Masks, given_masks, molecule, sphere
from multicryogan.io import write_volume
from multicryogan.rng import stream
from multicryogan.training.build import build_generator

BOX, VOXEL_SIZE = 24, 5.0
BODY = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [-2.0, 1.0, 0.0]])
ARM = [torch.tensor([[0.0, 6.0, 0.0]]), torch.tensor([[0.0, 0.0, 6.0]])]


def moving() -> Tensor:
    """(2, D, D, D) a body and an arm in two places."""
    return torch.stack([blobs(BOX, torch.cat((BODY, arm)), 1.2) for arm in ARM])


def noise(count: int) -> Tensor:
    return torch.randn((count, BOX, BOX, BOX), generator=stream(0, "noise"))


def small() -> Tensor:
    """(D, D, D) soft ball within the sphere."""
    return (6 - grid_points(BOX).norm(dim=-1)).clamp(0, 1)


# About the molecule


@pytest.mark.parametrize("strength", [0.0, 0.1])
def test_the_mask_covers_all_conformations(strength: float) -> None:
    common, rare = moving()
    volumes = torch.stack([common] * 19 + [rare]) + strength * noise(20)
    mask = molecule(volumes, VOXEL_SIZE)
    for clean in moving():
        assert (mask[clean > 0.2 * clean.max()] > 0.99).all()
    # Of one conformation alone it would not.
    alone = solvent_mask(volumes[0], VOXEL_SIZE)
    other = moving()[1]
    assert not (alone[other > 0.2 * other.max()] > 0.99).all()


def test_the_mask_is_zero_on_the_solvent() -> None:
    mask = molecule(moving() + 0.1 * noise(2), VOXEL_SIZE)
    assert (mask[sphere(mask) == 0] == 0).all()
    assert float(mask.sum()) < 0.75 * float(sphere(mask).sum())
    assert float(mask[BOX // 2, 3, BOX // 2]) == 0  # opposite of an arm


def test_where_nothing_stands_out_the_sphere_stays() -> None:
    volumes = torch.ones(2, BOX, BOX, BOX)
    assert torch.equal(molecule(volumes, VOXEL_SIZE), sphere(volumes[0]))


# What they do


def test_the_level_is_that_of_the_solvent() -> None:
    masks = Masks(small())
    inner = small() == 1
    volumes = torch.stack((2.0 + 3.0 * inner, -1.0 + 0.5 * inner))
    expected = torch.stack((3.0 * inner, 0.5 * inner))
    torch.testing.assert_close(masks.keep(volumes), expected)
    torch.testing.assert_close(masks.levelled(volumes), expected)


def test_nothing_is_left_on_the_solvent() -> None:
    found = Masks(small()).keep(noise(2) + 3)
    assert (found[:, small() == 0] == 0).all()
    assert (found[:, small() == 1] != 0).all()


def test_motions_alone_are_kept_in_the_focus() -> None:
    focus = small().roll(4, 2) * sphere(small())
    masks = Masks.around(sphere(focus), focus)
    given = noise(3)
    found = masks.confine(given)
    assert torch.equal(found[0], given[0])
    torch.testing.assert_close(found[1:], focus * given[1:])
    assert torch.equal(Masks(masks.solvent).confine(given), given)


def test_the_molecule_reaches_as_far_as_the_focus() -> None:
    focus = small().roll(7, 2)
    masks = Masks.around(small(), focus)
    assert torch.equal(masks.solvent, torch.maximum(small(), focus))


def test_motions_end_at_the_focus_as_well() -> None:
    focus = small().roll(2, 0) * small()
    masks = Masks.around(small(), focus)
    windows = masks.windows(3)
    assert torch.equal(windows[0], masks.solvent)
    for window in windows[1:]:
        assert torch.equal(window, masks.solvent * focus)
    assert torch.equal(Masks(small()).windows(2), small().expand(2, -1, -1, -1))


# Those that users give

CONFIG = run_config({"data": {"box": BOX}, "generator": {"components": 1}})
GENERATOR = build_generator(CONFIG, BOX)


def given(
    folder: Path, symmetry: Symmetry = ASYMMETRIC, **settings: object
) -> tuple[Tensor | None, Tensor | None]:
    write_volume(folder / "mask.mrc", small().roll(4, 2), VOXEL_SIZE)
    files = {k: str(v).replace("FOLDER", str(folder)) for k, v in settings.items()}
    values = {k: files[k] if isinstance(v, str) else v for k, v in settings.items()}
    config = RefineConfig(**values)  # type: ignore[arg-type]
    return given_masks(config, GENERATOR, symmetry, BOX, VOXEL_SIZE)


@pytest.mark.parametrize("mask", ["auto", "sphere"])
def test_without_files_there_are_none(tmp_path: Path, mask: str) -> None:
    assert given(tmp_path, mask=mask) == (None, None)


def test_files_are_read(tmp_path: Path) -> None:
    solvent, focus = given(tmp_path, mask="FOLDER/mask.mrc")
    assert focus is None
    assert solvent is not None
    expected = small().roll(4, 2)
    assert float((solvent - expected).abs().max()) < 0.1  # of the edge of the sphere
    none, focus = given(tmp_path, focus_mask="FOLDER/mask.mrc")
    assert none is None
    assert focus is not None
    assert torch.equal(focus, solvent)


def test_only_symmetric_motions_have_a_symmetric_focus(tmp_path: Path) -> None:
    files = {"mask": "FOLDER/mask.mrc", "focus_mask": "FOLDER/mask.mrc"}
    far = (BOX // 2, BOX // 2, BOX // 2 - 6)  # opposite of what was drawn
    solvent, focus = given(tmp_path, Symmetry("C2"), **files)
    assert solvent is not None
    assert focus is not None
    assert (float(solvent[far]), float(focus[far])) == (1, 0)
    _, focus = given(tmp_path, Symmetry("C2", has_motion=True), **files)
    assert focus is not None
    assert float(focus[far]) == 1


@pytest.mark.parametrize(
    ("settings", "cure"),
    [
        ({"mask": "FOLDER/mask.mrc", "start": "random"}, "use --start generator"),
        ({"focus_mask": "FOLDER/mask.mrc", "start": "both"}, "use --start generator"),
        ({"focus_mask": "FOLDER/mask.mrc", "components": 0}, "--components 1 or more"),
        ({"mask": "FOLDER/none.mrc"}, r"none\.mrc"),
    ],
)
def test_masks_that_cannot_be_meant_are_refused(
    tmp_path: Path, settings: dict[str, object], cure: str
) -> None:
    with pytest.raises(InputError, match=cure) as told:
        given(tmp_path, **settings)
    assert "\n" not in str(told.value)
