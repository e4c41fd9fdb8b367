"""metrics.jsonl, quality.jsonl, events for TensorBoard and the progress line."""

import errno
import itertools
import json
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from multicryogan import progress
from multicryogan.errors import InputError
from multicryogan.likelihood import Score
from multicryogan.training import monitor as module
from multicryogan.training.monitor import Monitor

FACTS: dict[str, float | int] = {
    "step": 20,
    "images_seen": 5120,
    "minutes": 1.5,
    "box": 16,
    "resolution": 26.4,
    "margin": 0.25,
}
SCORE = Score(31.25, 0.5)


def lines(run: Path, name: str = "metrics.jsonl") -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / name).read_text().splitlines()]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Held-out images are looked at whenever that is asked for."""
    monkeypatch.setattr(module, "JUDGED_SECONDS", 0.0)


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
    def full(*args: object, **options: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monitor = Monitor(tmp_path, 0)
    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(InputError, match=r"metrics\.jsonl: No space left.*make room"):
        monitor.log(FACTS)


@pytest.mark.usefixtures("at_once")
def test_held_out_images_have_lines_of_their_own(tmp_path: Path) -> None:
    Monitor(tmp_path, 0).judge(FACTS, lambda: SCORE)
    where = {"step": 20, "images_seen": 5120, "minutes": 1.5}
    told = {**where, "held_out": 31.25, "standard_error": 0.5}
    assert lines(tmp_path, "quality.jsonl") == [told]
    Monitor(tmp_path, 19)
    assert lines(tmp_path, "quality.jsonl") == []


@pytest.mark.usefixtures("at_once")
def test_what_cannot_be_judged_has_no_line(tmp_path: Path) -> None:
    Monitor(tmp_path, 0).judge(FACTS, lambda: None)
    assert not (tmp_path / "quality.jsonl").exists()


def test_held_out_images_take_a_small_share_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, looks = 1000.0, []
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    monitor = Monitor(tmp_path, 0)

    def measure() -> Score:
        nonlocal now
        now += 6
        looks.append(now)
        return SCORE

    for _ in range(500):
        now += 1
        monitor.judge(FACTS, measure)
    assert looks[0] == 1016
    assert [b - a for a, b in itertools.pairwise(looks)] == [206, 206]


def test_the_line_tells_how_far_the_run_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    at_once: None,
) -> None:
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.0)
    with Monitor(tmp_path, 0) as monitor:
        monitor.judge(FACTS, lambda: SCORE)
        monitor.show(0.25, "one shape", FACTS)
    assert capsys.readouterr().err == (
        " 25%  one shape, 26 Å: 57 images/s, 4 min left, held-out 31.2 nats\n"
    )


def test_events_are_what_tensorboard_reads(tmp_path: Path, at_once: None) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for first in (0, 10):  # the second goes on from step 10
        with Monitor(tmp_path, first, has_events=True) as monitor:
            for step in (first + 5, first + 15):
                monitor.log({**FACTS, "step": step})
            monitor.judge(FACTS, lambda: SCORE)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    margins = events.Scalars("metrics/margin")
    assert [(one.step, one.value) for one in margins] == [
        (5, 0.25),
        (15, 0.25),
        (25, 0.25),
    ]
    assert events.Scalars("quality/held_out")[0].value == 31.25


def test_events_without_tensorboard_say_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match=r"not installed; .*multicryogan\[tensorboard"):
        Monitor(tmp_path, 0, has_events=True)
