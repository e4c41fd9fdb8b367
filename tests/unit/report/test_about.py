"""The record of how a folder came about."""

from pathlib import Path

import pytest

from multicryogan import __version__
from multicryogan.errors import InputError
from multicryogan.report.about import ABOUT, read_about, recorded


def test_each_work_adds_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["multicryogan", "train", "my particles.star"])
    for _ in range(2):
        with recorded(tmp_path):
            pass
    first, second = read_about(tmp_path)
    assert first["command"] == "multicryogan train 'my particles.star'"
    assert first["versions"]["multicryogan"] == __version__
    assert 0 < first["peak_memory_gb"] < 100
    assert first["minutes"] >= 0
    assert first["started"] <= second["started"]


def test_work_that_breaks_down_is_recorded_and_its_error_goes_on(
    tmp_path: Path,
) -> None:
    with pytest.raises(ValueError, match="broken"), recorded(tmp_path):
        raise ValueError("broken")
    assert len(read_about(tmp_path)) == 1


def test_work_that_is_refused_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError), recorded(tmp_path):
        raise InputError("not so")
    assert list(tmp_path.iterdir()) == []


def test_work_that_made_no_folder_leaves_none(tmp_path: Path) -> None:
    with recorded(tmp_path / "none"):
        pass
    assert not (tmp_path / "none").exists()


def test_a_broken_record_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / ABOUT).write_text("{")
    with recorded(tmp_path):
        pass
    assert len(read_about(tmp_path)) == 1
