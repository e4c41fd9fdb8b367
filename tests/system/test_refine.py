"""SIGKILL while `multicryogan refine` runs, and the same command again."""

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from multicryogan.config import LawConfig, RunConfig, SimulationConfig
from multicryogan.inference import read_series
from multicryogan.synthetic import simulate
from multicryogan.training.build import build_generator
from multicryogan.training.state import save_snapshot
from system_runs import finish, start

BOX, PIXEL_SIZE = 16, 12.0
LITTLE = ("--iterations", "4", "--start-shell", "3", "--components", "1")


def command(folder: Path, output: str) -> list[str]:
    run, star = str(folder / "run"), str(folder / "data" / "particles.star")
    ours = ["refine", run, star, "-o", str(folder / output), "--conformations", "2"]
    common = ["--threads", "1", "--device", "cpu"]
    return [sys.executable, "-m", "multicryogan", *ours, *LITTLE, *common]


def refined(folder: Path, output: str) -> str:
    """Refine to the end; return what was printed."""
    done = finish(command(folder, output))
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_killed_refinement_goes_on_from_its_last_iteration(tmp_path: Path) -> None:
    law = LawConfig(kind="discrete")
    config = SimulationConfig(
        images=30, box=BOX, pixel_size=PIXEL_SIZE, law=law, snr_db=-3.0
    )
    simulate(config, tmp_path / "data")
    (tmp_path / "run").mkdir()
    generator = build_generator(RunConfig(), BOX)
    save_snapshot(tmp_path / "run", generator, RunConfig(), PIXEL_SIZE)

    told = tmp_path / "killed" / "refine.json"
    process = start(command(tmp_path, "killed"), told)
    process.kill()
    process.communicate()
    assert json.loads(told.read_text())["finished"] is False
    assert read_series(tmp_path / "killed").volumes.isfinite().all()

    said = refined(tmp_path, "killed")
    assert "iteration 1:" not in said
    assert "iteration 4:" in said
    assert "done: " in said
    assert json.loads(told.read_text())["finished"] is True
    whole = refined(tmp_path, "whole")
    assert "iteration 1:" in whole
    ours, expected = (
        load_file(tmp_path / output / "manifold.safetensors")
        for output in ("killed", "whole")
    )
    for name in ("latents", "weights", "coefficients", "basis"):
        assert torch.equal(ours[name], expected[name]), name
