"""A latent plane from end to end: evaluated as trained, refined, evaluated again."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from multicryogan.cli.evaluate import evaluate
from multicryogan.config import (
    LawConfig,
    MoleculeConfig,
    MotionConfig,
    RefineConfig,
    RunConfig,
    SimulationConfig,
    run_config,
)
from multicryogan.inference import latent_grid, load_manifold, read_series, refine_run
from multicryogan.inference.refined import WEIGHTS, Refined
from multicryogan.inference.series import density_over, spread_places
from multicryogan.io import read_particles
from multicryogan.priors import LatentPrior
from multicryogan.synthetic import read_truth, simulate
from refinement_data import Known, few_poses

BOX, VOXEL_SIZE, IMAGES = 12, 13.0, 500
TABLE = np.array([[8.0, 1.0, 1.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
MOTIONS = (
    MotionConfig(chains=("A",), axis=(0, 1, 0), range_deg=(0, 30)),
    MotionConfig(chains=("B",), axis=(0, 0, 1), range_deg=(0, 30)),
)
CONFIG = run_config(
    {"data": {"box": BOX}, "latent": {"kind": "uniform", "dimensions": 2}}
)
SETTINGS = RefineConfig(iterations=4, conformations=3, components=4, start_shell=4)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plane")
    np.save(folder / "table.npy", TABLE)
    law = LawConfig(kind="table", table=str(folder / "table.npy"))
    config = SimulationConfig(
        images=IMAGES,
        box=BOX,
        pixel_size=VOXEL_SIZE,
        law=law,
        molecule=MoleculeConfig(motions=MOTIONS),
        snr_db=6.0,
    )
    simulate(config, folder / "data")
    return folder / "data"


@pytest.fixture(scope="module")
def generator(data: Path) -> Known:
    return Known(read_truth(data).maps)


@pytest.fixture(scope="module")
def refined(
    data: Path, generator: Known, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Refined]:
    folder = tmp_path_factory.mktemp("refined")
    stack = read_particles(data / "particles.star")
    with few_poses():
        return folder, refine_run(generator, CONFIG, SETTINGS, stack, 1, folder)


@pytest.fixture(autouse=True)
def few_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multicryogan.inference.series.CELLS", 9)


def occupancy(folder: Path, data: Path, output: Path) -> dict[str, float]:
    assert evaluate(folder, truth=data, output=output, threads=1) == 0
    assert (output / "occupancy.png").is_file()
    assert not (output / "fsccc.png").exists()
    scores = json.loads((output / "scores.json").read_text())
    assert min(scores["own_frames"]["order"]["explained"]) > 0.5
    return dict(scores["occupancy"])


def test_a_run_of_two_dimensions_is_evaluated(
    data: Path,
    generator: Known,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It draws all states as often, and its true maps match themselves."""
    found = (generator, CONFIG, VOXEL_SIZE)
    monkeypatch.setattr(
        "multicryogan.inference.series.load_snapshot", lambda run: found
    )
    scores = occupancy(tmp_path / "run", data, tmp_path / "scores")
    table = torch.tensor(scores["recovered"])
    assert float(table.max() / table.min()) < 1.7
    assert abs(scores["correlation"]) < 0.6
    said = capsys.readouterr().out
    assert "correlation with the true occupancy" in said
    assert "paper's rule" not in said


def test_a_refined_plane_is_evaluated_with_its_weights(
    data: Path, refined: tuple[Path, Refined], tmp_path: Path
) -> None:
    scores = occupancy(refined[0], data, tmp_path / "scores")
    assert scores["correlation"] > 0.8


def test_refined_weights_follow_the_particles(refined: tuple[Path, Refined]) -> None:
    weights = refined[1].state.manifold.weights
    assert int(weights.argmax()) == 0
    assert float(weights[0]) == pytest.approx(0.5, abs=0.15)
    assert float(weights.sum()) == pytest.approx(1)


def test_refined_weights_are_listed_and_read_again(
    refined: tuple[Path, Refined],
) -> None:
    folder, found = refined
    table = pd.read_csv(folder / WEIGHTS)
    assert list(table) == ["latent_0", "latent_1", "weight"]
    manifold, _, _ = load_manifold(folder)
    assert torch.equal(manifold.weights, found.state.manifold.weights)
    listed = torch.tensor(table["weight"].to_numpy(np.float32))
    torch.testing.assert_close(listed, manifold.weights, atol=1e-5, rtol=0)
    assert torch.equal(*(half.weights for half in found.state.halves))


def test_density_is_spread_evenly_in_each_cell() -> None:
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0])
    density = density_over(LatentPrior("uniform", 2), weights)
    corner = (density.points < 0.5).all(1)
    assert set(density.weights[corner].tolist()) == {1.0}
    assert float(corner.float().mean()) == pytest.approx(0.25)


@pytest.mark.parametrize(("count", "dimensions", "kept"), [(81, 2, 9), (21, 1, 21)])
def test_some_of_a_refined_plane_are_looked_at(
    count: int, dimensions: int, kept: int
) -> None:
    picked = spread_places(count, dimensions)
    assert len(picked) == kept
    assert {0, count - 1} <= set(picked)


def test_a_line_is_evaluated_along_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    class Flat:
        def __call__(self, latent: Tensor) -> Tensor:
            return latent[:, :, None, None].expand(-1, 4, 4, 4)

    found = (Flat(), RunConfig(), VOXEL_SIZE)
    monkeypatch.setattr(
        "multicryogan.inference.series.load_snapshot", lambda run: found
    )
    series = read_series(Path("run"))
    torch.testing.assert_close(series.latents[:, 0], torch.linspace(0, 1, 21))


@pytest.mark.parametrize(("dimensions", "count"), [(1, 21), (2, 121), (3, 125)])
def test_as_many_conformations_as_suit_the_dimensions(
    dimensions: int, count: int
) -> None:
    config = run_config({"latent": {"kind": "uniform", "dimensions": dimensions}})
    assert len(latent_grid(config, 0)) == count
