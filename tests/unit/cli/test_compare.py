"""Maps and folders of maps, compared by the command."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from evaluation_phantoms import hinge, scrambled
from multicryogan.cli import main
from multicryogan.cli.compare import compare
from multicryogan.errors import InputError
from multicryogan.io import read_volume, write_volume

BOX, VOXEL_SIZE = 24, 6.0
STATES = hinge(BOX, [0.0, 40.0])
MIXED = scrambled(STATES, seed=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two maps in `a`, the same in other frames and order in `b`."""
    for name, volumes in (("a", STATES), ("b", MIXED.flip(0))):
        (tmp_path / name).mkdir()
        for number, volume in enumerate(volumes):
            write_volume(tmp_path / name / f"map_{number}.mrc", volume, VOXEL_SIZE)
    write_volume(tmp_path / "a" / "map_0_half1.mrc", STATES[0], VOXEL_SIZE)
    write_volume(tmp_path / "a" / "mask.mrc", torch.ones(BOX, BOX, BOX), VOXEL_SIZE)
    return tmp_path


def test_two_maps_are_laid_on_each_other(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder / "out"
    assert compare(folder / "a/map_0.mrc", folder / "b/map_1.mrc", output=out) == 0
    said = capsys.readouterr().out
    assert "the same hand, the same sign" in said
    assert f"multicryogan compare {folder}/a {folder}/b finds" in said
    assert "correlation in the mask 0.99" in said or "mask 1.000" in said
    facts = json.loads((out / "compare.json").read_text())
    assert facts["correlation"] > 0.98
    assert facts["resolution_0.5_angstrom"] < 4 * VOXEL_SIZE
    table = pd.read_csv(out / "fsc.csv")
    assert table["shell"].tolist() == list(range(1, BOX // 2 + 1))
    assert table["resolution_angstrom"].iloc[-1] == pytest.approx(2 * VOXEL_SIZE)
    assert (out / "fsc.png").stat().st_size > 1000
    aligned, reference = (
        read_volume(out / name) for name in ("aligned.mrc", "reference.mrc")
    )
    assert aligned.voxel_size == pytest.approx(VOXEL_SIZE)
    torch.testing.assert_close(reference.values, STATES[0])
    gap = (aligned.values - reference.values).square().mean()
    assert gap < 0.02 * reference.values.square().mean()


def test_a_mask_of_the_user_is_used(folder: Path) -> None:
    one, other = folder / "a/map_0.mrc", folder / "b/map_0.mrc"
    assert compare(one, other, output=folder / "free") == 0
    mask = folder / "a/mask.mrc"
    assert compare(one, other, output=folder / "masked", mask=mask) == 0
    free, masked = (
        json.loads((folder / name / "compare.json").read_text())["correlation"]
        for name in ("free", "masked")
    )
    assert free != masked


def test_maps_of_no_series_are_no_reason_to_compare_folders(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = (folder / "a/map_0.mrc").rename(folder / "a/own.mrc")
    for other in ("a/map_1.mrc", "b/map_1.mrc"):
        assert compare(one, folder / other, output=folder / "out") == 0
    assert "latents" not in capsys.readouterr().out


def test_a_mask_in_which_a_map_shows_nothing_is_refused(folder: Path) -> None:
    dot, corner = torch.zeros(2, BOX, BOX, BOX)
    dot[12, 12, 12], corner[:3, :3, :3] = 1, 1
    hollow = STATES[0] * (1 - corner)
    for number, volume in enumerate((dot, corner, hollow)):
        write_volume(folder / f"{number}.mrc", volume, VOXEL_SIZE)
    for mask in ("0.mrc", "1.mrc"):
        with pytest.raises(InputError, match="the same everywhere in the mask"):
            compare(
                folder / "2.mrc",
                folder / "2.mrc",
                output=folder / "out",
                mask=folder / mask,
            )
    assert not (folder / "out").exists()


def test_each_map_of_a_folder_finds_its_own(folder: Path) -> None:
    out = folder / "out"
    assert compare(folder / "a", folder / "b", output=out) == 0
    table = pd.read_csv(out / "matches.csv")
    assert table["map"].tolist() == ["map_0.mrc", "map_1.mrc"]
    assert table["match"].tolist() == ["map_1.mrc", "map_0.mrc"]
    assert (table["fsc_area"] > 0.9).all()
    assert sorted(path.name for path in out.glob("*.mrc")) == [
        "on_map_0.mrc",
        "on_map_1.mrc",
    ]


def test_a_folder_without_maps_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "none").mkdir()
    out = folder / "out"
    with pytest.raises(SystemExit) as stop:
        main(["compare", str(folder / "a"), str(folder / "none"), "-o", str(out)])
    assert stop.value.code == 2
    assert "holds no map" in capsys.readouterr().err
    assert not out.exists()


def test_a_mask_of_another_grid_is_refused(folder: Path) -> None:
    write_volume(folder / "wrong.mrc", torch.ones(16, 16, 16), VOXEL_SIZE)
    one, other = folder / "a/map_0.mrc", folder / "b/map_0.mrc"
    with pytest.raises(InputError, match=r"wrong\.mrc has 16 voxels"):
        compare(one, other, output=folder / "out", mask=folder / "wrong.mrc")
    assert not (folder / "out").exists()


@pytest.mark.parametrize("level", [0.0, -1.0])
def test_an_empty_mask_is_refused(folder: Path, level: float) -> None:
    write_volume(folder / "m.mrc", torch.full((BOX, BOX, BOX), level), VOXEL_SIZE)
    one, other = folder / "a/map_0.mrc", folder / "b/map_0.mrc"
    with pytest.raises(InputError, match=r"m\.mrc is empty: no value above 0; give"):
        compare(one, other, output=folder / "out", mask=folder / "m.mrc")
    assert not (folder / "out").exists()


@pytest.mark.parametrize("pair", [("flat.mrc", "a/map_0.mrc"), ("b", ".")])
def test_a_map_that_is_the_same_everywhere_is_refused(
    folder: Path, pair: tuple[str, str]
) -> None:
    write_volume(folder / "flat.mrc", torch.full((BOX, BOX, BOX), 3.0), VOXEL_SIZE)
    with pytest.raises(InputError, match=r"flat\.mrc is 3 everywhere; give a map"):
        compare(*(folder / name for name in pair), output=folder / "out")
    assert not (folder / "out").exists()


def test_a_mask_is_not_for_folders(folder: Path) -> None:
    mask = folder / "a/mask.mrc"
    with pytest.raises(InputError, match="not for folders"):
        compare(folder / "a", folder / "b", output=folder / "out", mask=mask)


def test_maps_of_a_folder_share_a_grid(folder: Path) -> None:
    write_volume(folder / "a/other.mrc", STATES[0][:16, :16, :16], VOXEL_SIZE)
    with pytest.raises(InputError, match=r"other\.mrc has another box"):
        compare(folder / "a", folder / "b", output=folder / "out")
