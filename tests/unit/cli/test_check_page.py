"""The page of `multicryogan check`: on a terminal, and in a file."""

import pytest

from multicryogan.cli.check import print_report
from multicryogan.data import Report

LONG = "/data/" + "a_long_folder/" * 12 + "particles.star"
REPORT = Report((("file", LONG), ("sign", "[red]white[/red]\x1b")), (), (LONG,))


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    print_report(REPORT)
    return capsys.readouterr().out


def test_a_long_path_stays_whole_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = printed(capsys).splitlines()
    assert lines[0].split() == ["file", LONG]
    assert f"- {LONG}" in lines


@pytest.mark.parametrize("terminal", [False, True])
def test_text_of_files_is_no_markup(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if terminal:
        monkeypatch.setenv("TTY_COMPATIBLE", "1")
    assert "[red]white[/red]?" in printed(capsys)


def test_a_terminal_is_not_overrun(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "60")
    facts = printed(capsys).split("Would")[0]
    assert LONG not in facts
    assert LONG in "".join(line[20:].strip() for line in facts.splitlines())
