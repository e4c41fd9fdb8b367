"""Two processes play the game of one."""

from pathlib import Path

import pytest
import torch

from multicryogan.io import read_particles
from multicryogan.training import Trainer, train
from system_runs import Workplace, metrics, newest_weights

PLAYERS = ("generator", "average", "discriminator")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """Particles and settings of all runs in this file, with laws to learn."""
    laws = {"imaging": {"contrast_spread": 0.1}}
    return Workplace(tmp_path_factory.mktemp("place"), laws)


@pytest.fixture(scope="module")
def alone(place: Workplace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run of one process."""
    torch.set_num_threads(1)
    run = tmp_path_factory.mktemp("alone") / "run"
    assert train(place.config, read_particles(place.particles), 1, run)
    return run


def assert_same_run(ours: Path, theirs: Path) -> None:
    """Compare two runs within the tolerance of float sums in another order."""
    for a, b in zip(metrics(ours), metrics(theirs), strict=True):
        assert a == pytest.approx(b, rel=2e-3, abs=2e-4)
    for player in PLAYERS:
        a, b = newest_weights(ours, player), newest_weights(theirs, player)
        assert (a - b).norm() < 1e-3 * b.norm(), player


@pytest.mark.slow
def test_two_processes_with_half_the_batch_play_the_same_game(
    place: Workplace, alone: Path, tmp_path: Path
) -> None:
    said = place.train(tmp_path / "run", processes=2)
    assert said.count("96 particles") == 1  # the first process alone speaks
    assert_same_run(tmp_path / "run", alone)


@pytest.mark.slow
def test_a_run_started_on_one_process_resumes_on_two(
    place: Workplace, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_must_stop", lambda trainer: trainer.step >= 4)
        assert not train(place.config, read_particles(place.particles), 1, run)
    place.train(run, processes=2)
    assert_same_run(run, alone)
