"""Every command of the tutorial runs, in its order."""

import re
import shlex
from pathlib import Path

import pytest

from multicryogan.cli import main
from refinement_data import few_poses

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
# Fewer images and updates than a reader has.
SMALLER = {"--images 20000": "--images 300", "--images 128000": "--images 256"}
SMALLER |= {"--iterations 4": "--iterations 1"}
MADE = (
    "data/particles.star",
    "look.png",
    "run/report.html",
    "refined/report.html",
    "assigned/latents.csv",
    "landscape/states.csv",
    "maps/open.cxc",
    "report.html",
    "refined/evaluation/scores.json",
    "ends/compare.json",
)

pytestmark = pytest.mark.slow


def commands() -> list[str]:
    """Lines of the blocks of the tutorial."""
    blocks = re.findall(r"```\n(.*?)```", TUTORIAL.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def test_every_command_of_the_tutorial_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "multicryogan.inference.findings.LEAST_TOLD", 0.0
    )  # so few tell nothing
    lines = commands()
    assert len(lines) >= 10
    for line in lines:
        for large, small in SMALLER.items():
            line = line.replace(large, small)
        name, *arguments = shlex.split(line)
        assert name == "multicryogan"
        with few_poses(), pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0, line
    for name in MADE:
        assert (tmp_path / name).is_file(), name


def test_the_tutorial_still_says_what_is_made_smaller() -> None:
    text = " ".join(commands())
    assert all(large in text for large in SMALLER)
