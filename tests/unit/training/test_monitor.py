"""metrics.jsonl and the progress line."""

import errno
import json
from pathlib import Path
from typing import NoReturn

import pytest

from multicryogan.errors import InputError
from multicryogan.training.monitor import Monitor

FACTS: dict[str, float | int] = {
    "step": 20,
    "images_seen": 5120,
    "minutes": 1.5,
    "box": 16,
    "resolution": 26.4,
    "margin": 0.25,
}


def lines(run: Path) -> list[dict[str, float]]:
    text = (run / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_a_line_is_json_with_six_digits(tmp_path: Path) -> None:
    Monitor(tmp_path, 0).log({"step": 3, "margin": 1 / 3})
    assert lines(tmp_path) == [{"step": 3, "margin": 0.333333}]


def test_a_resumed_run_drops_the_lines_of_lost_work(tmp_path: Path) -> None:
    first = Monitor(tmp_path, 0)
    for step in (1, 2, 3):
        first.log({"step": step})
    Monitor(tmp_path, 2).log({"step": 3, "margin": 0.5})
    assert lines(tmp_path) == [{"step": 1}, {"step": 2}, {"step": 3, "margin": 0.5}]


def test_a_line_that_a_kill_cut_short_is_dropped(tmp_path: Path) -> None:
    Monitor(tmp_path, 0).log({"step": 1})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "mar')
    Monitor(tmp_path, 5).log({"step": 6})
    assert lines(tmp_path) == [{"step": 1}, {"step": 6}]


def test_a_full_disk_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monitor = Monitor(tmp_path, 0)
    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(InputError, match=r"metrics\.jsonl: No space left.*make room"):
        monitor.log(FACTS)


def test_the_line_tells_how_far_the_run_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Monitor(tmp_path, 0).show(0.25, FACTS)
    told = capsys.readouterr().err
    assert "25%" in told
    assert "4.5 min left" in told
    assert "5,120 images, 57 a second" in told
    assert told.endswith("\n")


def test_lines_are_rare_where_there_is_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monitor = Monitor(tmp_path, 0)
    for _ in range(5):
        monitor.show(0.25, FACTS)
    assert capsys.readouterr().err.count("\n") == 1
