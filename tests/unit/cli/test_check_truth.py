"""`multicryogan check --against-truth`."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from multicryogan.cli import main
from multicryogan.config import RunConfig, SimulationConfig
from multicryogan.training.mismatch import Area, Mismatch
from training_data import write_particles

Checked = Callable[..., int]


def mismatch(box: int, ratio: float, by_network: float) -> Mismatch:
    """Shell 3 differs."""
    ratios, error = torch.ones(box // 2 + 1), torch.full((box // 2 + 1,), 0.001)
    ratios[3] = ratio
    areas = Area(by_network, 0.006), Area(0.502, 0.006)
    return Mismatch(box, 160 / box, *areas, 1.0, ratios, error)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[RunConfig, int]]:
    """Collect what would be measured."""
    calls: list[tuple[RunConfig, int]] = []

    def collect(config: RunConfig, *others: object) -> Mismatch:
        box = others[-1]
        assert isinstance(box, int)
        calls.append((config, box))
        return mismatch(box, 1.0, 0.502)

    monkeypatch.setattr("multicryogan.training.mismatch.measure_mismatch", collect)
    return calls


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Checked:
    """Run the command on tiny particles and a truth of a given voxel size."""

    def run(*more: str, voxel_size: float = 5.0) -> int:
        truth = SimpleNamespace(
            maps=torch.zeros(1, 32, 32, 32),
            map_weights=torch.ones(1),
            voxel_size=voxel_size,
            config=SimulationConfig(shift_sigma_angstrom=3.0),
        )
        monkeypatch.setattr("multicryogan.synthetic.read_truth", lambda folder: truth)
        path = str(write_particles(tmp_path))
        with pytest.raises(SystemExit) as ending:
            main(["check", path, "--threads", "1", "--trial-seconds", "0", *more])
        assert isinstance(ending.value.code, int)
        return ending.value.code

    return run


def test_without_the_option_nothing_is_measured(
    check: Checked, measured: list[tuple[RunConfig, int]]
) -> None:
    assert check() == 0
    assert measured == []


def test_both_boxes_of_a_run_are_measured(
    check: Checked, measured: list[tuple[RunConfig, int]]
) -> None:
    assert check("--against-truth", "truth") == 0
    assert [box for _, box in measured] == [16, 32]


def test_shifts_are_as_strong_as_the_truth_s(
    check: Checked, measured: list[tuple[RunConfig, int]]
) -> None:
    check("--against-truth", "truth")
    assert measured[0][0].imaging.shift_sigma_angstrom == 3.0


@pytest.mark.usefixtures("measured")
def test_a_match_is_said(check: Checked, capsys: pytest.CaptureFixture[str]) -> None:
    check("--against-truth", "truth")
    page = " ".join(capsys.readouterr().out.split())
    assert "cannot be told apart (AUC 0.502 +- 0.006 by the network" in page
    assert "Ready to train" in page


def test_a_mismatch_ends_with_1_and_names_the_shells(
    check: Checked,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        "multicryogan.training.mismatch.measure_mismatch",
        lambda *arguments: mismatch(arguments[-1], 1.02, 0.6),
    )
    assert check("--against-truth", "truth") == 1
    assert "shells 3 (+2.0%)" in capsys.readouterr().out


@pytest.mark.usefixtures("measured")
def test_the_truth_of_other_particles_is_refused(
    check: Checked, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check("--against-truth", "truth", voxel_size=4.0) == 2
    assert "give the truth of these particles" in capsys.readouterr().err
