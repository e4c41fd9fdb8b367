"""What is in a folder already is not lost, and nothing half-written stays."""

import os
from pathlib import Path

import pytest

from evaluation_phantoms import hinge
from multicryogan.cli import main
from multicryogan.cli.folders import forget, result_folder
from multicryogan.errors import InputError
from multicryogan.io import one_writer, write_volume
from multicryogan.report.page import write_report
from report_data import assigned, refined


def test_a_new_folder_is_made_and_an_empty_one_is_taken(tmp_path: Path) -> None:
    for _ in range(2):
        with result_folder(tmp_path / "a/b", "mark"):
            pass
    assert (tmp_path / "a/b").is_dir()


@pytest.mark.parametrize("name", ["", "typo/notes.txt"])
def test_folders_above_go_again_with_work_that_is_refused(
    tmp_path: Path, name: str
) -> None:
    def refuse() -> None:
        (tmp_path / name).touch()  # of somebody else, meanwhile
        raise InputError("no run")

    with (
        pytest.raises(InputError, match="no run"),
        result_folder(tmp_path / "typo/deep/evaluation", "mark"),
    ):
        refuse()
    assert (tmp_path / "typo").exists() == bool(name)
    assert not (tmp_path / "typo/deep").exists()


@pytest.mark.parametrize("name", ["thesis.tex", "latents.csv"])
def test_a_folder_of_other_things_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with (
        pytest.raises(InputError, match="holds no mark"),
        result_folder(tmp_path, "mark"),
    ):
        pass
    assert (tmp_path / name).read_text() == "mine"


def test_earlier_results_are_replaced_and_none_of_them_is_left(tmp_path: Path) -> None:
    for name in ("mark", "about.json", "map_3.mrc", "notes.txt"):
        (tmp_path / name).touch()
    with result_folder(tmp_path, "mark"):
        forget(tmp_path, "map_*.mrc")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "about.json",
        "mark",
        "notes.txt",
    ]


def interrupted(folder: Path, name: str) -> None:
    """Work that is stopped when it has made something."""
    with result_folder(folder, "mark"):
        (folder / name).mkdir()
        raise KeyboardInterrupt


@pytest.mark.parametrize("was_there", [True, False])
def test_work_that_fails_leaves_no_folder_of_its_own(
    tmp_path: Path, was_there: bool
) -> None:
    folder = tmp_path / "out"
    if was_there:
        folder.mkdir()
    with pytest.raises(KeyboardInterrupt):
        interrupted(folder, "half")
    assert folder.exists() == was_there


def test_work_that_can_go_on_stays(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "out", "checkpoints")
    assert (tmp_path / "out/checkpoints").is_dir()


def test_one_process_works_in_a_folder_at_a_time(tmp_path: Path) -> None:
    with (
        one_writer(tmp_path),
        pytest.raises(InputError, match="another process"),
        one_writer(tmp_path),
    ):
        pass
    with one_writer(tmp_path):
        pass
    assert os.listdir(tmp_path) == []


def test_a_page_is_not_written_over_what_is_none(tmp_path: Path) -> None:
    folder = refined(tmp_path / "r")
    thesis = tmp_path / "thesis.html"
    thesis.write_text("<p>mine</p>")
    for path in (thesis, folder / "manifold.safetensors"):
        before = path.read_bytes()
        with pytest.raises(InputError, match=path.name):
            write_report([folder], path)
        assert path.read_bytes() == before
    for _ in range(2):
        write_report([folder], tmp_path / "page.html")


def test_folders_that_say_nothing_are_refused(tmp_path: Path) -> None:
    parts = [refined(tmp_path / "r"), assigned(tmp_path / "a"), tmp_path / "typo"]
    with pytest.raises(InputError, match="typo is no folder"):
        write_report(parts, tmp_path / "page.html")


@pytest.mark.parametrize(
    "tokens",
    [
        ["compare", "r/a.mrc", "r/b.mrc", "-o", "r"],
        ["volumes", "r", "-o", "a"],
        ["report", "r", "-o", "r/fsc.csv"],
    ],
)
def test_results_do_not_go_into_folders_of_other_kinds(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tokens: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    refined(Path("r"))
    assigned(Path("a"))
    for name, angle in (("a", 0.0), ("b", 10.0)):
        write_volume(Path("r") / f"{name}.mrc", hinge(16, [angle])[0], 5.0)
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    with pytest.raises(SystemExit) as stop:
        main(tokens)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "-o" in line
    after = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    assert after == before
