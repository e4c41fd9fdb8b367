"""States of a landscape on the page, as numbers and text."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from multicryogan.report import states
from multicryogan.report.contents import Contents, Shapes, gather
from multicryogan.report.findings import numbers, sentences
from multicryogan.report.page import sections
from report_data import CONFORMATIONS, assigned, landscaped, refined


def contents(folder: Path, count: int) -> Contents:
    """Folders of refine, assign and landscape with so many states."""
    parts = [refined(folder / "r"), assigned(folder / "a")]
    return gather([*parts, landscaped(folder / "l", states=count)])


def test_states_are_counted_told_and_drawn(tmp_path: Path) -> None:
    found = contents(tmp_path, 2)
    assert sentences(found)[0].startswith("The molecule has two states: all")
    counted, shared = numbers(found)[:2]
    assert (counted["label"], counted["value"]) == ("States", "2")
    assert shared["value"] == "66.7 / 33.3 %"
    assert shared["note"] == "95 % interval 65.7 to 67.7 / 32.3 to 34.3"
    (part,) = [part for part in sections(found) if part.id == "states"]
    (head, rows), (_, ways) = part.tables
    assert dict(zip(head, rows[1], strict=True)) == {
        "state": "2",
        "particles, %": "33.3",
        "95 % interval": "32.3 to 34.3",
        "deepest at conformation": "4",
    }
    assert ways == [["1", "2", "2.0", "0.2", "3"]]
    ((_, drawn),) = part.figures
    first, second = (trace for trace in drawn["data"] if "customdata" in trace)
    assert first["customdata"] + second["customdata"] == list(range(CONFORMATIONS))
    assert first["y"] == [0, 0, 0, 2]
    assert first["error_y"]["array"] == [0.25] * 4
    assert first["marker"]["symbol"] != second["marker"]["symbol"]
    assert drawn["layout"]["meta"] == {"selects": True}


def test_one_state_is_a_continuous_motion_and_many_are_cut_short(
    tmp_path: Path,
) -> None:
    one = contents(tmp_path / "one", 1)
    assert "continuously" in sentences(one)[0]
    assert numbers(one)[0]["label"] == "Conformations"
    (part,) = [part for part in sections(one) if part.id == "states"]
    assert len(part.tables) == 1
    many = contents(tmp_path / "many", 5)
    assert sentences(many)[0].startswith("The molecule has 5 states")
    assert numbers(many)[1]["value"] == "33.3 / 26.7 / 20.0 / 13.3 / ... %"


def test_a_plane_has_states_and_ways_at_its_latents() -> None:
    latents = torch.cartesian_prod(*[torch.linspace(0, 1, 3)] * 2)
    even = torch.full((9,), 1 / 9)
    shapes = Shapes(torch.zeros(9, 4, 4, 4), 1.0, latents, even, None)
    energy = [0.0, 1.0, 9.5, 1.0, 3.0, 1.0, 2.0, 1.0, 0.5]
    table = pd.DataFrame({"free_energy_kt": energy})
    lowest = pd.DataFrame({"state": [1, 2], "conformation": [1, 9]})
    way = pd.DataFrame({"conformations": ["1 2 6 9"]})
    squares, line, named = states.free_energy(shapes, table, lowest, way)["data"]
    assert squares["marker"]["color"] == pytest.approx([*energy[:2], 8, *energy[3:]])
    assert list(zip(line["x"], line["y"], strict=True)) == [
        (0, 0),
        (0.5, 0),
        (1, 0.5),
        (1, 1),
    ]
    assert (named["x"], named["y"], named["text"]) == ([0, 1], [0, 1], ["1", "2"])


def test_states_of_other_conformations_are_told_but_not_drawn(tmp_path: Path) -> None:
    folders = [refined(tmp_path / "r"), landscaped(tmp_path / "l", count=5)]
    (part,) = [part for part in sections(gather(folders)) if part.id == "states"]
    assert part.figures == ()
    assert len(part.tables) == 2
