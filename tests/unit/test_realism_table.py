"""The benchmark of realism: what it runs, what it skips, what it shows."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmark_files import BENCHMARKS, load_benchmark
from multicryogan.config import SimulationConfig
from multicryogan.tables import build, read_toml

load_benchmark("quality_table")
quality = load_benchmark("quality")
realism = load_benchmark("realism")
TOLD = [
    "pose error: median 4.4 degrees; above 30 degrees 2.5 +- 0.2 %",
    "coordinate, posterior mean: rank correlation 0.934, rms error 2.05 deg",
    "in thirds of the range, as placed: 32.0 % / 36.0 % / 32.0 %; of these: 9 % / 9 %",
    "run/assigned: posterior mean: rank correlation 0.925; pose error: median 5.8; in "
    "thirds of the range, as placed: 36.0 % / 32.1 % / 31.9 %; of these: 9 % / 9 % / "
    "9 %",
]
ASKED = ["--structures", "a.pdb", "b.pdb", "--table", "t.npy", "--sets", "all"]


class Commands:
    """Stands in for the commands: evaluation writes scores."""

    def __init__(self, fails: str = "") -> None:
        self.fails = fails
        self.given: list[Sequence[str]] = []

    def run(self, command: Sequence[str], log: Path) -> Any:  # noqa: ANN401
        """Note a command and do as if it had run."""
        self.given.append(command)
        if command[0] == self.fails:
            return quality.Ending(0, "stopped", 1.0, 0.0)
        folder = Path(command[command.index("-o") + 1])
        folder.mkdir(parents=True)
        if command[0] == "evaluate":
            (folder / "scores.json").write_text(json.dumps(scores()))
        elif command[0] in ("train", "refine"):
            verdict = "sound" if command[0] == "train" else "unsound"
            (folder / "verdict.json").write_text(json.dumps({"verdict": verdict}))
        return quality.Ending(0, "done: it", 2.0, 0.0)


def scores() -> dict[str, Any]:
    """What evaluate writes, as far as it is read: three states."""
    own = {"fsc_area": 0.9, "resolution_angstrom": 10.5}
    state = {"recovered": own, "mean_map": own | {"fsc_area": 0.8}}
    order = {"rank_correlation": [-0.97], "coverage_min": [1.0], "coverage_max": [18.0]}
    motion = {"difference_correlation": 0.76}
    judged = {"states": [state] * 3, "order": order, "motion": motion}
    judged |= {"distribution": {"shares": [0.3, 0.3, 0.4]}}
    return {"own_frames": judged, "occupancy": None}


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    stand_in = Commands()
    monkeypatch.setattr(realism, "run_command", stand_in.run)
    monkeypatch.setattr(realism, "single_particles", lambda *_: TOLD)
    return stand_in


def test_every_set_has_a_config() -> None:
    for name in realism.SETS:
        stem = "paper-continuous" if name == "clean" else f"realism-{name}"
        path = BENCHMARKS.parent / "configs" / f"{stem}.toml"
        build(SimulationConfig, read_toml(path))


def test_particles_are_assigned_that_no_step_has_seen(
    tmp_path: Path, commands: Commands
) -> None:
    assert realism.main([*ASKED, "-o", str(tmp_path)]) == 0
    by_name = {command[0]: command for command in commands.given}
    seen, others = (by_name[name] for name in ("refine", "assign"))
    assert "data/particles.star" in " ".join(seen)
    assert "others/particles.star" in " ".join(others)
    seeds = [
        command[command.index("--seed") + 1]
        for command in commands.given
        if command[0] == "simulate"
    ]
    assert seeds == ["0", "1"]


def test_the_same_command_goes_on(tmp_path: Path, commands: Commands) -> None:
    commands.fails = "refine"
    assert realism.main([*ASKED, "-o", str(tmp_path)]) == 2
    commands.fails, commands.given = "", []
    assert realism.main([*ASKED, "-o", str(tmp_path)]) == 0
    assert [command[0] for command in commands.given] == [
        "refine",
        "assign",
        "evaluate",
        "evaluate",
    ]
    commands.given = []
    realism.main([*ASKED, "-o", str(tmp_path)])
    assert commands.given == []


def test_views_are_a_setting_of_the_run(tmp_path: Path, commands: Commands) -> None:
    realism.main([*ASKED, "-o", str(tmp_path), "--views", *realism.VIEWS])
    given = [" ".join(c) for c in commands.given]
    trained = [command for command in given if command.startswith("train")]
    refined = [command for command in given if command.startswith("refine")]
    assert list(realism.VIEWS) == ["learned", "uniform", "refined"]
    assert "--imaging.views learned" in trained[0]
    assert "--imaging.views uniform" in trained[1]
    assert len(trained) == 2  # what trains alike is trained once
    assert " --views learned" in refined[0]
    assert " --views uniform" in refined[1]
    assert " --views learned" in refined[2]


def test_the_table_has_a_row_for_each_stage(
    tmp_path: Path, commands: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    realism.main([*ASKED, "-o", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[-1] == (
        "| all | 32 | learned | 0 | refined | 0.97 | 1 to 18 | 0.90 / 0.90 / 0.90 | "
        "10.5 / 10.5 / 10.5 | 0.80 / 0.80 / 0.80 | 0.76 | 30 / 30 / 40 | - | 0 of 1 | "
        "0.93 | 0.93 | 36 / 32 / 32 | 32 / 36 / 32 |"
    )
    assert len(commands.given) == 7


def test_the_single_particles_of_every_kind_of_set_are_picked() -> None:
    lines = [
        "coordinate, posterior mean: rank correlation 0.98, rms error 1 deg",
        "coordinate, posterior mean: rank correlation 0.96, rms error 2 deg",
        "/tmp/assigned: posterior mean: rank correlation 0.91 / 0.89; pose error: 3",
    ]
    told = realism.told_of_particles({"single particles": lines})
    assert told == ([0.91, 0.89], [0.98, 0.96])
    assert realism.placed_shares({"single particles": lines}) == ([], [])
    lines = [
        "in the right group: 98.3 +- 0.2 %",
        "shares by the mean posterior: 70.1 % / 29.9 %; of these images: 1.0 % / 99 %",
        "x/assigned: in the right group: 65.4 +- 0.7 %; shares by the mean posterior "
        "of all: 77.9 % / 22.1 %; pose error: median 18.4 degrees",
    ]
    told = realism.told_of_particles({"single particles": lines})
    assert told == ([0.654], [0.983])
    lines[0] = "domain there or not, told rightly: 98.3 +- 0.2 %"
    assert realism.told_of_particles({"single particles": lines}) == told
    placed = realism.placed_shares({"single particles": lines})
    assert placed == ([77.9, 22.1], [70.1, 29.9])


def test_a_run_whose_matches_have_no_order_has_a_row(
    tmp_path: Path,
    commands: Commands,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = scores()
    plain["own_frames"]["order"]["rank_correlation"] = [None]
    monkeypatch.setitem(globals(), "scores", lambda: plain)
    realism.main([*ASKED, "-o", str(tmp_path)])
    assert "| trained | - | 1 to 18 |" in capsys.readouterr().out


def test_seeds_share_a_row_of_medians_and_ranges(
    tmp_path: Path,
    commands: Commands,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ranks = iter([-0.97, 0.91, 0.95, 0.95, -0.99, 0.93])
    plain = scores()

    def of_a_run() -> dict[str, Any]:
        plain["own_frames"]["order"]["rank_correlation"] = [next(ranks)]
        return plain

    monkeypatch.setitem(globals(), "scores", of_a_run)
    realism.main([*ASKED, "-o", str(tmp_path), "--seeds", "0", "1", "2"])
    trained, refined = capsys.readouterr().out.splitlines()[2:]
    assert "| 0, 1, 2 | trained | 0.97 (0.95 to 0.99) | 1 to 18 |" in trained
    assert "| 0, 1, 2 | refined | 0.93 (0.91 to 0.95) |" in refined


def test_half_the_box_keeps_the_field_and_the_noise_of_a_frequency(
    tmp_path: Path, commands: Commands
) -> None:
    realism.main([*ASKED, "-o", str(tmp_path), "--half"])
    simulated = [c for c in commands.given if c[0] == "simulate"]
    config = Path(simulated[0][simulated[0].index("--config") + 1])
    made = build(SimulationConfig, read_toml(config))
    full = BENCHMARKS.parent / "configs" / "realism-all.toml"
    asked = build(SimulationConfig, read_toml(full))
    assert made.box * made.pixel_size == asked.box * asked.pixel_size
    assert (made.box, made.snr_db) == (16, pytest.approx(-10 + 6.02, abs=0.01))
    boxes = [(group.box, group.pixel_size) for group in made.groups]
    assert boxes == [(None, None), (20, 8.0), (24, 7.0)]
    assert made.groups[1].noise_factor == asked.groups[1].noise_factor
    assert "50000" in simulated[0]
    trained = next(" ".join(c) for c in commands.given if c[0] == "train")
    assert "all-box16/data/particles.star" in trained
    assert "--data.box 16" in trained
