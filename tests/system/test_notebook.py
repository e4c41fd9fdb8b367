"""The notebook of the docs runs from its first cell to its last."""

import json
from pathlib import Path
from typing import Any

import pytest

from refinement_data import few_poses

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"
SIZES = "IMAGES, SEEN, ITERATIONS = 20_000, 128_000, 4"

pytestmark = pytest.mark.slow


def test_every_cell_of_the_notebook_runs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With fewer images, and fewer poses, than a reader has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "multicryogan.inference.findings.LEAST_TOLD", 0.0
    )  # so few tell nothing
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    sources = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    assert SIZES in sources[0]
    sources[0] = sources[0].replace(SIZES, "IMAGES, SEEN, ITERATIONS = 300, 256, 1")
    names: dict[str, Any] = {}
    with few_poses():
        for number, source in enumerate(sources):
            exec(compile(source, f"cell {number}", "exec"), names)
    said = capsys.readouterr().out
    assert "300 particles" in said
    assert "middle: (16, 16, 16)" in said
    assert (tmp_path / "notebook/refined/report.html").is_file()


def test_the_notebook_holds_no_output() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert all(not cell.get("outputs") for cell in cells)
