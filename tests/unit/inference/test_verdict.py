"""What a finished run says of itself."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from multicryogan.cli.train import run_training
from multicryogan.config import RunConfig
from multicryogan.inference import read_likeness
from multicryogan.inference.likeness import PICTURES
from multicryogan.inference.manifold_file import save_manifold
from multicryogan.inference.verdict import judge_refined, judge_run
from multicryogan.io import ParticleStack
from multicryogan.likelihood import Manifold
from multicryogan.priors import ViewLaw
from multicryogan.priors.views import CELLS, view_directions
from multicryogan.training import load_snapshot, train
from training_data import PIXEL_SIZE, POINTS_PX, SIGMA_PX, tiny_config, tiny_stack

BOX = 32
SHORT: dict[str, Any] = {"train": {"images": 8, "discriminator_warmup": 0}}
Claim = Callable[[Tensor], None]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> ParticleStack:
    """2,000 particles, a hundred of them held out."""
    return tiny_stack(tmp_path_factory.mktemp("large"), 2_000, BOX)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, stack: ParticleStack) -> Path:
    """A run that ended after two updates, not judged yet."""
    run = tmp_path_factory.mktemp("runs") / "run"
    assert train(tiny_config(SHORT), stack, 1, run)
    return run


def facts(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "verdict.json").read_text())
    return found


def gaussians(points: tuple[tuple[float, float, float], ...]) -> Tensor:
    """(1, D, D, D) Gaussians that project to those of the tiny images."""
    axis = torch.arange(BOX) - BOX // 2
    x, y, z = (
        (-((axis - c[:, None]) ** 2) / (2 * SIGMA_PX**2)).exp()
        for c in torch.tensor(points).T
    )
    volume = torch.einsum("pz,py,px->zyx", z, y, x) / (SIGMA_PX * math.sqrt(math.tau))
    return volume[None]


TRUE = gaussians(POINTS_PX)
WRONG = gaussians(((1, -6, 2), (-5, 2, 4), (4, 5, 0), (3, -1, -6)))


@pytest.fixture
def claim(monkeypatch: pytest.MonkeyPatch, stopped: Path) -> Claim:
    """Let a density take the place of what the run has found."""
    generator, config, voxel_size = load_snapshot(stopped)

    def put(density: Tensor) -> None:
        monkeypatch.setattr(
            generator, "forward", lambda z: density.expand(len(z), -1, -1, -1)
        )
        found = (generator, config, voxel_size)
        monkeypatch.setattr(
            "multicryogan.inference.verdict.load_snapshot", lambda run: found
        )
        monkeypatch.setattr(
            "multicryogan.inference.verdict.load_views", lambda run: None
        )

    return put


def test_the_true_density_is_sound(
    claim: Claim, stack: ParticleStack, tmp_path: Path
) -> None:
    claim(TRUE)
    assert "as well as it claims" in judge_run(tmp_path, stack, 1)
    found = facts(tmp_path)
    assert found["verdict"] == "sound"
    real, simulated = (found["whole"][kind] for kind in ("real", "simulated"))
    error = real["standard_error"]
    assert real["mean"] == pytest.approx(simulated["mean"], abs=4 * error)


def test_images_of_the_true_density_have_the_power_of_real_ones(
    claim: Claim, stack: ParticleStack, tmp_path: Path
) -> None:
    claim(TRUE)
    judge_run(tmp_path, stack, 1)
    found = read_likeness(tmp_path)
    assert found is not None
    assert found.real.shape == found.simulated.shape == (PICTURES, BOX, BOX)
    assert found.pixel_size == PIXEL_SIZE
    gap = np.abs(found.power[1] - found.power[0])
    assert (gap[:, 1:] < 5 * np.hypot(*found.error)[:, 1:]).all()  # 0: the grey level
    assert (gap[:, 3:] < 0.1 * found.power[0, :, 3:]).all()


@pytest.mark.parametrize("density", [WRONG, 1.5 * TRUE], ids=["wrong", "too strong"])
def test_a_false_density_is_unsound(
    claim: Claim,
    stack: ParticleStack,
    tmp_path: Path,
    density: Tensor,
) -> None:
    claim(density)
    assert "train longer or with another --seed" in judge_run(tmp_path, stack, 1)
    assert facts(tmp_path)["verdict"] == "unsound"


def test_the_verdict_holds_each_mean_with_its_error(
    stopped: Path, stack: ParticleStack
) -> None:
    judge_run(stopped, stack, 1)
    found = facts(stopped)
    wanted = {"verdict", "faults", "moves", "resolution_angstrom"}
    assert set(found) == wanted | {"whole", "groups", "motion"}
    assert found["groups"] == {}
    for score in (*found["whole"].values(), found["motion"]):
        assert set(score) == {"mean", "standard_error"}
        assert all(math.isfinite(value) for value in score.values())


def test_a_run_that_is_stopped_at_once_is_unsound(
    stopped: Path, stack: ParticleStack
) -> None:
    assert "train longer or with another --seed" in judge_run(stopped, stack, 1)
    assert facts(stopped)["verdict"] == "unsound"


def test_training_ends_with_the_verdict_and_the_page(
    tmp_path: Path, stack: ParticleStack, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_training(tiny_config(SHORT), stack, tmp_path / "run", "cpu")
    verdict, page, done = capsys.readouterr().out.splitlines()[-3:]
    assert verdict == judge_run(tmp_path / "run", stack, 1)
    assert page == f"page: {tmp_path / 'run' / 'report.html'}"
    assert "Images and noise" in (tmp_path / "run" / "report.html").read_text()
    assert done.startswith("done: ")


def test_a_small_set_is_not_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = tiny_stack(tmp_path)
    assert run_training(tiny_config(SHORT), few, tmp_path / "run", "cpu")
    assert "not judged: too few particles" in capsys.readouterr().out
    assert not (tmp_path / "run" / "verdict.json").exists()


def test_a_drawn_defocus_is_not_judged(stack: ParticleStack, tmp_path: Path) -> None:
    drawn = {"imaging": {"defocus_um": (1.0, 2.0)}}
    run = tmp_path / "run"
    assert train(tiny_config({**SHORT, **drawn}), stack, 1, run)
    assert judge_run(run, stack, 1).startswith("not judged: the defocus")
    assert not (run / "verdict.json").exists()


def refined(
    folder: Path, volumes: Tensor, config: RunConfig, views: ViewLaw | None = None
) -> Path:
    """A folder of refine with these conformations (V, D, D, D), each as likely."""
    count = len(volumes)
    latents, weights = torch.linspace(0, 1, count), torch.full((count,), 1 / count)
    found = Manifold.separate(volumes, latents[:, None], weights)
    if views is not None:
        found = found.seen_from(views)
    save_manifold(folder, found, config, PIXEL_SIZE)
    return folder


def test_true_conformations_are_sound(stack: ParticleStack, tmp_path: Path) -> None:
    folder = refined(tmp_path, TRUE.expand(2, -1, -1, -1), tiny_config())
    assert "as well as it claims" in judge_refined(folder, stack, 1)
    found = facts(folder)
    assert (found["verdict"], found["moves"]) == ("sound", False)
    real, simulated = (found["whole"][kind] for kind in ("real", "simulated"))
    assert real["mean"] == pytest.approx(
        simulated["mean"], abs=4 * real["standard_error"]
    )


@pytest.mark.parametrize("density", [WRONG, 1.5 * TRUE], ids=["wrong", "too strong"])
def test_false_conformations_are_unsound(
    stack: ParticleStack, tmp_path: Path, density: Tensor
) -> None:
    folder = refined(tmp_path, density.expand(2, -1, -1, -1), tiny_config())
    assert "does NOT fit: images" in judge_refined(folder, stack, 1)
    assert facts(folder)["verdict"] == "unsound"


def test_refined_shifts_contrasts_and_views_count(
    stack: ParticleStack, tmp_path: Path
) -> None:
    laws = {"imaging": {"contrast_spread": 0.3, "shift_sigma_angstrom": 10.0}}
    one_side = (view_directions(CELLS)[:, 2] > 0.9).float().expand(2, -1)
    views = ViewLaw(one_side / one_side.sum(1, keepdim=True))
    twice = TRUE.expand(2, -1, -1, -1)
    means = {}
    for name, changes, seen in (
        ("as they are", {}, None),
        ("wide laws", laws, None),
        ("one side", {}, views),
    ):
        (tmp_path / name).mkdir()
        folder = refined(tmp_path / name, twice, tiny_config(changes), seen)
        judge_refined(folder, stack, 1)
        means[name] = facts(folder)["whole"]["real"]["mean"]
    # What is not so costs images their likelihood.
    assert means["wide laws"] < means["as they are"] - 0.5
    assert means["one side"] < means["as they are"] - 5
