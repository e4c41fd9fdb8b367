"""Maps along the latent, written by the command."""

from pathlib import Path

import mrcfile
import pytest
import torch
from torch import Tensor

from evaluation_phantoms import hinge
from multicryogan.cli.volumes import volumes
from multicryogan.config import RunConfig
from multicryogan.errors import InputError
from multicryogan.evaluation import align
from multicryogan.evaluation.rigid import mirror
from report_data import CONFORMATIONS, refined

BOX = 24
STATES = hinge(BOX, [0, 10, 20])


class Turning:
    """A generator of three states, the last in the other hand."""

    box = BOX

    def __call__(self, latent: Tensor) -> Tensor:
        """Make one volume per latent (V, 1)."""
        shown = torch.stack((STATES[0], STATES[1], mirror(STATES[2:])[0]))
        return shown[(2 * latent[:, 0]).round().long()]


def write(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = (Turning(), RunConfig(), 5.0)
    monkeypatch.setattr("multicryogan.training.load_snapshot", lambda run: found)
    assert volumes(folder / "run", output=folder / "maps", count=3) == 0
    return folder / "maps"


def test_the_series_has_one_hand_and_says_so(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    maps = write(tmp_path, monkeypatch)
    assert "1 of 3 maps had the other hand than the first" in capsys.readouterr().out
    last = torch.from_numpy(mrcfile.read(maps / "volume_003.mrc").copy())
    found = align(last, STATES[2])
    assert not found.is_mirrored
    assert found.correlation > 0.98


def test_each_map_stands_in_the_table_with_its_latent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = write(tmp_path, monkeypatch)
    lines = (maps / "latents.csv").read_text().splitlines()
    assert lines == [
        "map,latent_0",
        "volume_001.mrc,0",
        "volume_002.mrc,0.5",
        "volume_003.mrc,1",
    ]
    with mrcfile.open(maps / "volume_001.mrc") as file:
        assert float(file.voxel_size.x) == 5.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 1\n1 0\n", "has 2 columns; the run has 1 latent dim.* write one column"),
        ("0\nnan\n", "latent 2 is not finite; write numbers alone"),
    ],
)
def test_latents_that_cannot_be_used_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    found = (Turning(), RunConfig(), 5.0)
    monkeypatch.setattr("multicryogan.training.load_snapshot", lambda run: found)
    (tmp_path / "z.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        volumes(tmp_path / "run", output=tmp_path / "maps", latents=tmp_path / "z.txt")


@pytest.mark.parametrize("count", [0, 401, 9_999_999_999])
def test_as_many_maps_as_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    found = (Turning(), RunConfig(), 5.0)
    monkeypatch.setattr("multicryogan.training.load_snapshot", lambda run: found)
    with pytest.raises(InputError, match=f"--count is {count}; give 1 to 400"):
        volumes(tmp_path / "run", output=tmp_path / "maps", count=count)
    assert not (tmp_path / "maps").exists()


def test_a_refined_folder_gives_its_own_conformations(tmp_path: Path) -> None:
    folder = refined(tmp_path / "refined")
    assert volumes(folder, output=tmp_path / "maps") == 0
    names = sorted(path.name for path in (tmp_path / "maps").glob("*.mrc"))
    assert names == [f"volume_{n:03d}.mrc" for n in range(1, CONFORMATIONS + 1)]
    others = {path.name for path in (tmp_path / "maps").iterdir()} - set(names)
    assert others == {"latents.csv", "open.cxc", "morph.cxc", "motion.gif"}


def test_a_refined_folder_has_no_other_conformations(tmp_path: Path) -> None:
    folder = refined(tmp_path / "refined")
    with pytest.raises(InputError, match="leave --count and --latents away"):
        volumes(folder, output=tmp_path / "maps", count=5)
    assert not (tmp_path / "maps").exists()
