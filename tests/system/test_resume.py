"""The same command resumes, and repeats the uninterrupted run."""

import subprocess
from pathlib import Path

import pytest
import torch

from multicryogan.io import read_particles
from multicryogan.training import Trainer, train
from system_runs import Workplace, environment, metrics, newest_weights

STEPS = 12


@pytest.mark.slow
def test_the_same_command_repeats_an_uninterrupted_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    place = Workplace(tmp_path)
    stack = read_particles(place.particles)
    assert train(place.config, stack, 1, tmp_path / "whole")

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_must_stop", lambda trainer: trainer.step >= 5)
        assert not train(place.config, stack, 1, tmp_path / "run")
    place.train(tmp_path / "run")

    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")
    for player in ("generator", "average", "discriminator"):
        ours, whole = (
            newest_weights(tmp_path / name, player) for name in ("run", "whole")
        )
        assert torch.equal(ours, whole), player


@pytest.mark.slow
def test_another_seed_in_the_same_folder_is_a_users_mistake(tmp_path: Path) -> None:
    place, run = Workplace(tmp_path, {"data": {"box": 16}}), tmp_path / "run"
    train(place.config, read_particles(place.particles), 1, run)
    refused = subprocess.run(
        place.command(run, "--seed", "7"),
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert refused.returncode == 2
    assert "train.seed was 0, now 7" in refused.stderr
    assert "Traceback" not in refused.stderr
