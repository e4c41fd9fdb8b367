"""The line that tells how far work is, on a terminal and elsewhere."""

import os
import pty
import re
import subprocess
import sys

import pytest

from multicryogan import progress
from multicryogan.progress import ProgressLine, span

SCRIPT = """
from multicryogan.progress import ProgressLine
with ProgressLine() as line:
    line.show("motion opens, 26 Å", 0.25, 1234.0, 90, "held-out 31.2 nats")
    print("a line above")
    line.show("[bold] iteration 2", 0.5, 10.0, 2)
    line.show("[bold] iteration 2", 0.75, 10.0, 1)
print("done")
"""


class Clock:
    """Seconds that pass only when they are told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def on_a_terminal(columns: int) -> str:
    """What a terminal of some width is sent."""
    parent, child = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=child, stderr=child, env=environment
    )
    os.close(child)
    received = b""
    while True:
        try:
            some = os.read(parent, 4096)
        except OSError:  # what Linux says when the other side is closed
            break
        if not some:
            break
        received += some
    os.close(parent)
    assert process.wait() == 0
    return received.decode()


def test_speed_and_time_left_are_those_of_the_phase(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with ProgressLine() as line:
        line.count("first", 0, 100)  # too soon to be told
        clock.now += 20
        line.count("first", 50, 100, "held-out 3.00 nats")
        clock.now += 100
        line.count("second", 100, 400)
        clock.now += 30
        line.count("second", 300, 400)
    assert capsys.readouterr().err.splitlines() == [
        " 50%  first: 2 images/s, 20 s left, held-out 3.00 nats",
        " 25%  second",
        " 75%  second: 7 images/s, 15 s left",
    ]


def test_steps_that_are_no_images_have_no_speed(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with ProgressLine() as line:
        line.count_steps("laying maps", 0, 8)
        clock.now += 20
        line.count_steps("laying maps", 2, 8)
    assert capsys.readouterr().err == " 25%  laying maps: 60 s left\n"


def test_lines_are_rare_where_there_is_no_terminal(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with ProgressLine() as line:
        for done in range(24 * 3600):
            clock.now += 1
            line.count("a day", done, 24 * 3600)
    lines = capsys.readouterr().err.splitlines()
    assert 300 < len(lines) < 600


def test_a_terminal_has_one_line_that_goes_in_the_end() -> None:
    text = on_a_terminal(80)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    first, _, rest = plain.partition("a line above")
    assert "motion opens, 26 Å  25% " in first
    assert "1,234 images/s, 90 s left, held-out 31.2 nats" in first
    assert "[bold] iteration 2  50% " in rest  # no markup; a new phase, so at once
    assert "75%" not in rest  # a moment later
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # cursor back
    assert plain.rstrip().endswith("done")


@pytest.mark.parametrize(
    ("seconds", "name"),
    [(0.4, "0 s"), (99, "99 s"), (240, "4 min"), (5990, "100 min"), (9000, "2.5 h")],
)
def test_spans_of_time_have_two_digits_or_so(seconds: float, name: str) -> None:
    assert span(seconds) == name
