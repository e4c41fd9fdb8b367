"""The benchmark of quality: what it counts, what it skips, what it shows."""

import functools
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark_files import BENCHMARKS, load_benchmark
from evaluation_phantoms import hinge
from multicryogan.errors import InputError
from multicryogan.evaluation import score

COORDINATES = torch.tensor([0.0, 20.0, 40.0])


quality_table = load_benchmark("quality_table")  # first: quality imports it
quality = load_benchmark("quality")
JOB = quality.Job("continuous", "fast", 0, 60.0, 100_000, 32, 2, "cpu")


def place(coordinate: float, area: float, shell: int, weight: float) -> dict[str, Any]:
    own = {"area": area, "shell": shell}
    mean = {"area": 0.81, "shell": 16, "common_area": 0.78, "common_shell": 15}
    return {
        "coordinate": coordinate,
        "weight": weight,
        "best match": own | {"common_area": area - 0.2, "common_shell": shell - 3},
        "true mean map": mean,
    }


def record(seed: int, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """A line of results.jsonl as a good run writes it."""
    motion = {"rank": 0.95, "from_deg": 2.0, "to_deg": 18.0}
    motion |= {"difference": 0.5, "size": 0.9}
    figures = {
        "places": [place(x, 0.9, 9, w) for x, w in ((0.0, 0.25), (20.0, 0.75))],
        **motion,
        "common": motion | {"rank": 0.35},
        "mirrored": 0,
        "shares": {
            "paper_shares": [0.25, 0.70, 0.05],
            "paper_shares_aligned": [0.25, 0.70, 0.05],
            "relative_shares": [0.25, 0.75, 0.0],
            "matched_shares": [0.3, 0.7],
        },
    } | changes
    job = quality.Job("discrete", "fast", seed, 60.0, 100_000, 32, 2, "cpu")
    return {
        "settings": asdict(job),
        "commit": "abc1234",
        "machine": "a machine",
        "torch": "2.0",
        "load_before": 0.1,
        "load_after": 2.0,
        "minutes": 60.5,
        "peak_gb": 1.5,
        "is_resumed": False,
        "updates": 1000,
        "verdict": "",
        "failure": "",
        "figures": figures,
    }


def failed(seed: int) -> dict[str, Any]:
    failure = "train ended with status 1: ValueError: no"
    return record(seed) | {"figures": None, "failure": failure}


def shell_record(seed: int, shell: int) -> dict[str, Any]:
    return record(seed, places=[place(0.0, 0.9, shell, 1.0)])


def target(sense: str, limit: float, figure: str = "least_shell") -> Any:  # noqa: ANN401
    function = getattr(quality_table, figure)
    return quality_table.Target("discrete", "fast", "a figure", function, sense, limit)


def rows_of(lines: Sequence[str], word: str) -> list[str]:
    return [line for line in lines if line.startswith("|") and word in line]


def test_a_cell_is_the_median_and_the_range() -> None:
    assert quality_table.spread([0.3, 0.1, 0.2]) == "0.20 (0.10 to 0.30)"


def test_a_cell_has_no_range_where_seeds_agree() -> None:
    assert quality_table.spread([9, 9], ".0f") == "9"


def test_a_cell_counts_undefined_values() -> None:
    assert quality_table.spread([0.5, None, 0.5]) == "0.50, 1 undefined"


def test_the_median_seed_decides_a_target() -> None:
    records = [shell_record(0, 12), shell_record(1, 9), shell_record(2, 3)]
    assert quality_table.is_met(target(">=", 9), records)
    assert not quality_table.is_met(target(">=", 10), records)


def test_a_failed_seed_counts_as_missed() -> None:
    assert quality_table.is_met(
        target(">=", 9), [shell_record(0, 12), shell_record(1, 9), failed(2)]
    )
    assert not quality_table.is_met(
        target(">=", 9), [shell_record(0, 12), failed(1), failed(2)]
    )


def test_a_failed_seed_counts_as_missed_under_an_upper_limit() -> None:
    records = [record(0), failed(1), failed(2)]
    assert not quality_table.is_met(target("<=", 5, "transition"), records)


def test_an_undefined_rank_counts_as_missed() -> None:
    records = [record(0), record(1, rank=None), record(2, rank=None)]
    assert not quality_table.is_met(target(">=", 0.9, "rank"), records)


def test_a_map_as_good_as_the_mean_map_does_not_pass() -> None:
    records = [record(0, places=[place(0.0, 0.81, 16, 0.25)])]
    assert not quality_table.is_met(target(">", 0, "rare_gain"), records)


def test_the_published_shares_meet_the_targets_of_mode_paper() -> None:
    records = [record(0)]
    assert quality_table.is_met(target("<=", 5, "share_error"), records)
    assert quality_table.is_met(target("<=", 5, "transition"), records)


def test_a_gain_is_that_of_the_worse_end() -> None:
    ends = [place(0.0, 0.91, 9, 0.5), place(20.0, 0.71, 9, 0.5)]
    assert quality_table.end_gain({"places": ends}) == pytest.approx(-0.1)


def test_the_harder_frame_of_the_mean_map_counts() -> None:
    end = place(0.0, 0.85, 9, 0.5)
    end["true mean map"]["common_area"] = 0.9
    assert quality_table.end_gain({"places": [end, end]}) == pytest.approx(-0.05)


def test_the_table_has_the_mean_map_at_every_place() -> None:
    lines = quality_table.table([record(0), record(1)])
    cells = "true mean map | 0.81 | 16 | 0.78 | 15 |"
    assert rows_of(lines, "true mean map | ") == [
        f"| discrete, fast | 0 | {cells}",
        f"| discrete, fast | 20 | {cells}",
    ]


def test_the_table_has_the_motion_in_own_frames_above_that_in_one() -> None:
    cells = [row.split(" | ")[:3] for row in quality_table.table([record(0)])]
    rows = [c for c in cells if len(c) == 3 and c[1] in ("own", "one")]
    assert [c[1:] for c in rows] == [["own", "0.95"], ["one", "0.35"]]


def test_the_caption_names_the_frames_of_the_targets() -> None:
    assert "own frames" in quality_table.CAPTION[-1]
    assert quality_table.CAPTION[-1] in quality_table.table([record(0)])


def test_targets_are_judged_in_own_frames() -> None:
    assert quality_table.end_gain(record(0)["figures"]) == pytest.approx(0.09)


def test_the_table_counts_a_failed_seed_and_names_its_error() -> None:
    lines = quality_table.table([record(0), failed(1), record(2)])
    assert rows_of(lines, "2 of 3")
    assert lines[-1].endswith("seed 1: train ended with status 1: ValueError: no")


def test_the_table_stands_where_all_seeds_failed() -> None:
    lines = quality_table.table([failed(0), failed(1)])
    judged = rows_of(lines, "<= 5")
    assert judged
    assert all("no seed done | 0 of 2 | missed" in row for row in judged)


def test_devices_never_share_a_row() -> None:
    """Mode fast is meant for two cores: on a GPU it is shown, not judged."""
    other = record(1)
    other["settings"]["device"] = "cuda"
    lines = quality_table.table([record(0), other])
    for name, verdict in (("discrete, fast", "met"), ("discrete, fast, cuda", "not")):
        judged = rows_of(lines, f"| {name} | in transition")
        assert len(judged) == 1
        assert f"1 of 1 | {verdict}" in judged[0]


def test_mode_paper_is_judged_on_any_device() -> None:
    paper = record(0)
    paper["settings"] |= {"device": "cuda", "mode": "paper"}
    assert (
        "1 of 1 | met" in rows_of(quality_table.table([paper]), "in transition, %")[-1]
    )


def test_a_quick_run_is_not_judged() -> None:
    quick = record(0)
    quick["settings"]["box"] = 16
    verdicts = [row for row in quality_table.table([quick]) if "not judged" in row]
    assert len(verdicts) == len(rows_of(quality_table.table([record(0)]), "met |"))


@functools.cache
def plain_scores() -> dict[str, Any]:
    states, ones = hinge(16, COORDINATES.tolist()), torch.ones(3)
    latents = torch.linspace(0, 1, 3)
    found = score(states, latents, ones, states, COORDINATES, ones, 5.0)
    return found.to_dict()


def test_a_perfect_result_has_full_area_at_ends_and_middle() -> None:
    places = quality.collect(plain_scores())["places"]
    assert [p["coordinate"] for p in places] == [0.0, 20.0, 40.0]
    areas = [p["best match"]["area"] for p in places]
    assert areas == pytest.approx([1.0] * 3, abs=0.01)
    assert [p["best match"]["shell"] for p in places] == [8] * 3


def turned_last() -> dict[str, Any]:
    """Scores of the truth with its last state seen in a mirror and turned."""
    states, ones = hinge(16, COORDINATES.tolist()), torch.ones(3)
    volumes = states.clone()
    volumes[2] = states[2].flip(0).roll(1, 0).transpose(1, 2)
    latents = torch.linspace(0, 1, 3)
    return score(volumes, latents, ones, states, COORDINATES, ones, 5.0).to_dict()


def test_a_turned_state_is_collected_in_its_own_frame() -> None:
    figures = quality.collect(turned_last())
    last = figures["places"][-1]["best match"]
    assert last["area"] > 0.95 > last["common_area"]
    assert figures["rank"] == pytest.approx(1)


def test_the_mean_map_falls_short_at_the_ends() -> None:
    places = quality.collect(plain_scores())["places"]
    assert places[0]["true mean map"]["area"] < 0.97 * places[0]["best match"]["area"]


def test_the_first_share_is_that_of_the_first_state() -> None:
    scores = json.loads(json.dumps(plain_scores()))
    scores["own_frames"]["order"]["rank_correlation"] = [-1.0]
    scores["populations"]["paper_shares"] = [0.7, 0.25, 0.05]
    figures = quality.collect(scores)
    assert figures["rank"] == 1.0
    assert figures["shares"]["paper_shares"] == [0.25, 0.7, 0.05]


def test_training_leaves_all_settings_as_they_are() -> None:
    command = quality.train_command(JOB, Path("data"), Path("run"))
    options = [word for word in command if word.startswith("-")]
    assert options == ["-o", "--seed", "--time-limit", "--threads", "--device"]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_training_runs_on_the_device_of_the_job(device: str) -> None:
    command = quality.train_command(
        replace(JOB, device=device), Path("data"), Path("run")
    )
    assert command[command.index("--device") + 1] == device


def test_a_missing_gpu_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(InputError, match="leave --device out"):
        quality.machine("cuda")


def test_the_recorded_lines_make_a_table() -> None:
    path = BENCHMARKS.parent / "docs" / "quality.jsonl"
    records = quality.read_records(path)
    lines = quality_table.table(records)
    assert len(rows_of(lines, "best match")) >= len(records) / 3
    names = set(asdict(JOB))
    assert all(set(record["settings"]) == names for record in records)


def test_the_homogeneous_set_is_trained_as_a_single_volume() -> None:
    job = quality.Job("homogeneous", "fast", 0, 60.0, 100_000, 32, 2, "cpu")
    command = quality.train_command(job, Path("data"), Path("run"))
    assert command[-2:] == ["--generator.kind", "volume"]


def test_runs_of_other_settings_never_share_a_folder() -> None:
    changes: list[dict[str, Any]] = [
        {"data": "discrete"},
        {"mode": "paper"},
        {"seed": 1},
        {"minutes": 3.0},
        {"images": 10},
        {"box": 16},
        {"threads": 1},
        {"device": "cuda"},
    ]
    jobs = [quality.Job(**(asdict(JOB) | change)) for change in changes]
    assert len({job.name for job in jobs} | {JOB.name}) == len(asdict(JOB)) + 1


def test_a_command_that_fails_tells_its_status_and_last_line(tmp_path: Path) -> None:
    ending = quality.run_command(["train", "--no-such-option"], tmp_path / "a.log")
    assert ending.status == 2
    assert ending.last_line.startswith("multicryogan: ")


class Commands:
    """Stands in for the commands: evaluation writes scores, training what is said."""

    def __init__(self, training: int = 0) -> None:
        self.training = training
        self.given: list[str] = []

    def run(self, command: Sequence[str], log: Path) -> Any:  # noqa: ANN401
        """Note a command and do as if it had run."""
        self.given.append(command[0])
        if command[0] == "evaluate":
            folder = Path(command[1]) / "evaluation"
            folder.mkdir(parents=True)
            (folder / "scores.json").write_text(json.dumps(plain_scores()))
        if command[0] == "simulate":
            Path(command[command.index("-o") + 1]).mkdir(parents=True)
        status = self.training if command[0] == "train" else 0
        return quality.Ending(status, "last words", 0.0, 0.0)


def run_main(work: Path, *options: str) -> int:
    start = ["--structures", "a.pdb", "b.pdb", "-o", str(work), "--quick"]
    status = quality.main([*start, "--sets", "continuous", *options])
    assert isinstance(status, int)
    return status


def test_a_run_that_is_done_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = Commands()
    monkeypatch.setattr(quality, "run_command", commands.run)
    run_main(tmp_path, "--seeds", "0")
    run_main(tmp_path, "--seeds", "0", "1")
    assert commands.given == ["simulate", *["train", "evaluate"] * 2]


def test_a_run_with_other_minutes_is_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = Commands()
    monkeypatch.setattr(quality, "run_command", commands.run)
    run_main(tmp_path)
    run_main(tmp_path, "--minutes", "5")
    assert commands.given.count("train") == 2


def test_a_run_that_fails_has_a_line_and_the_table_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "run_command", Commands(training=-9).run)
    assert run_main(tmp_path) == 0
    line = json.loads((tmp_path / "results.jsonl").read_text())
    assert line["failure"] == "train ended with status -9: last words"
    assert "last words" in (tmp_path / "table.md").read_text()


def test_a_run_that_was_stopped_has_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(command: Sequence[str], log: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(quality, "run_command", stop)
    assert run_main(tmp_path) == 130
    assert not (tmp_path / "results.jsonl").exists()
