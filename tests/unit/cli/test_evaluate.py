"""What `evaluate` reads: the shares that go with the maps."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from evaluation_phantoms import hinge
from multicryogan.cli.evaluate import score_run
from multicryogan.config import LawConfig, SimulationConfig
from multicryogan.errors import InputError
from multicryogan.inference import read_series
from multicryogan.inference.manifold_file import save_manifold
from multicryogan.io import write_volume
from multicryogan.likelihood import Manifold
from multicryogan.priors import LatentPrior
from multicryogan.synthetic import simulate
from training_data import tiny_config

BOX, SHARES = 16, (0.5, 0.2, 0.3)


def assigned(folder: Path, dimensions: int = 1) -> Path:
    """A folder of assign with three class maps."""
    folder.mkdir()
    for number, volume in enumerate(hinge(BOX, [0, 20, 40]), start=1):
        write_volume(folder / f"class_{number:03d}.mrc", volume, 10.0)
    latents = LatentPrior("segment", 1).grid(3).repeat(1, dimensions)
    np.savez(folder / "latents.npz", conformation_latents=latents.numpy())
    table = {"latent_0": latents[:, 0], "share": SHARES, "low": 0.0, "high": 1.0}
    pd.DataFrame(table).to_csv(folder / "populations.csv", index=False)
    return folder


def test_class_maps_come_with_the_shares_that_images_tell(tmp_path: Path) -> None:
    series = read_series(assigned(tmp_path / "a"))
    torch.testing.assert_close(series.volumes, hinge(BOX, [0, 20, 40]))
    torch.testing.assert_close(
        series.latents[:, 0], torch.tensor([1 / 6, 1 / 2, 5 / 6])
    )
    torch.testing.assert_close(series.weights, torch.tensor(SHARES))
    assert series.voxel_size == 10.0


def test_class_maps_without_shares_are_refused(tmp_path: Path) -> None:
    folder = assigned(tmp_path / "a")
    (folder / "populations.csv").unlink()
    with pytest.raises(
        InputError, match=r"no populations\.csv in .*; evaluate the run"
    ):
        read_series(folder)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "damaged or no table"),
        (b"\xff\xfe\x00\x80", "damaged or no table"),
        (b'a,b\n1,"2\n', "damaged or no table"),
        (b"latent_0,low\n0.5,0\n", "it lacks share"),
        (b"share\n0.5\n0.5\n", "has 2 rows for 3 conformations"),
        (b"share\n0.5\nmuch\n0.3\n", "a share is no number"),
        (b"share,low\n0.5,0\n,0\n0.3,0\n", "a share is no number"),
        (b"share\n0.5\n-0.2\n0.7\n", "a share is no number"),
        (b"share\n0.5\n0.2\n0.\n", "its shares sum to 0.7, not to 1"),
        (b"share\n0.5\n0.2\ninf\n", "its shares sum to inf, not to 1"),
    ],
)
def test_damaged_shares_are_refused(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    folder = assigned(tmp_path / "a")
    (folder / "populations.csv").write_bytes(content)
    with pytest.raises(InputError, match=rf"populations\.csv.*{reason}.*assign again"):
        read_series(folder)


def test_shares_may_be_rounded(tmp_path: Path) -> None:
    folder = assigned(tmp_path / "a")
    (folder / "populations.csv").write_text("share\n0.3333\n0.3333\n0.3333\n")
    assert len(read_series(folder).weights) == 3


def test_class_maps_of_two_dimensions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="assigned in 2 latent dimensions; evaluate"):
        read_series(assigned(tmp_path / "a", dimensions=2))


def test_a_refined_manifold_comes_with_its_weights(tmp_path: Path) -> None:
    latents = LatentPrior("segment", 1).grid(3)
    volumes = hinge(BOX, [0, 20, 40])
    manifold = Manifold.span(volumes, latents, torch.tensor(SHARES), 2)
    save_manifold(tmp_path, manifold, tiny_config(), 10.0)
    torch.testing.assert_close(read_series(tmp_path).weights, torch.tensor(SHARES))


def test_shares_reach_the_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Seen(Exception):  # noqa: N818
        pass

    def seen(*given: object) -> None:
        raise Seen(given[2])

    monkeypatch.setattr("multicryogan.evaluation.score", seen)
    config = SimulationConfig(images=4, box=BOX, pixel_size=10.0, law=LawConfig(maps=5))
    simulate(config, tmp_path / "data")
    with pytest.raises(Seen) as caught:
        score_run(assigned(tmp_path / "a"), tmp_path / "data", tmp_path / "out")
    torch.testing.assert_close(caught.value.args[0], torch.tensor(SHARES))
