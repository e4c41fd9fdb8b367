"""The page as text: nothing of the input runs, nothing is fetched, little is large."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from multicryogan.cli import main
from multicryogan.errors import InputError
from multicryogan.report.contents import gather
from multicryogan.report.findings import numbers, sentences, warnings
from multicryogan.report.page import SCRIPTS, as_script, render, sections
from multicryogan.rng import stream
from report_data import (
    CONFORMATIONS,
    HOSTILE,
    assigned,
    facts,
    refined,
    verdict,
    write_json,
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of two folders, without plotly."""
    folder = tmp_path_factory.mktemp("page")
    text = render(gather([refined(folder / "r"), assigned(folder / "a")]))
    assert get_plotlyjs() in text
    return text.replace(get_plotlyjs(), "")


def test_text_of_the_input_is_never_markup(page: str) -> None:
    assert HOSTILE not in page
    assert "<img" not in page
    assert page.count(str(Markup.escape(HOSTILE))) >= 4  # it is shown as text
    assert page.count("</script>") == page.count("<script") == len(SCRIPTS) + 3


def test_no_text_ends_a_script() -> None:
    text = as_script({"name": HOSTILE})
    assert "<" not in text
    assert json.loads(text) == {"name": HOSTILE}


def test_numbers_that_are_not_finite_are_gaps() -> None:
    text = as_script({"y": [1.0, float("nan"), (float("inf"), 2)]})
    assert json.loads(text) == {"y": [1.0, None, [None, 2]]}


def test_the_page_asks_nothing_of_a_network(page: str) -> None:
    assert not re.search(r"""(src|href)\s*=\s*["'](?!#|data:)""", page)
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "@import" not in page
    assert "url(" not in page


def test_every_figure_has_its_place_and_its_data(page: str) -> None:
    places = re.findall(r'data-figure="([^"]+)"', page)
    data = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    drawn = json.loads(data[1])["figures"]
    assert sorted(places) == sorted(drawn)
    assert {"landscape-0", "resolution-0", "pairs-0", "images-0"} <= set(drawn)


def test_21_conformations_of_64_voxels_stay_below_8_mb(tmp_path: Path) -> None:
    folder = refined(tmp_path / "r", count=21)
    draws = stream(0, "noise")
    noisy = torch.randn((21, 64, 64, 64), generator=draws)  # no component is spared
    found = gather([folder])
    assert found.likeness is not None
    shapes = dataclasses.replace(found.shapes, volumes=noisy)
    pictures = noisy[:16, 0].numpy()
    likeness = dataclasses.replace(
        found.likeness, real=pictures[:8], simulated=pictures[8:]
    )
    text = render(dataclasses.replace(found, shapes=shapes, likeness=likeness))
    assert len(text.encode()) < 8e6
    assert "Surfaces show" in text


def test_what_no_folder_holds_is_left_out(tmp_path: Path) -> None:
    folder = refined(tmp_path / "r")
    whole = [part.id for part in sections(gather([folder]))]
    for name in ("likeness.npz", "views.csv", "fsc.csv", "refine.json"):
        (folder / name).unlink()
    left = [part.id for part in sections(gather([folder]))]
    assert [x for x in whole if x not in left] == [
        "resolution",
        "images",
        "views",
        "course",
    ]


def test_what_was_found_is_said_in_three_sentences_and_five_numbers(
    tmp_path: Path,
) -> None:
    found = gather([refined(tmp_path / "r"), assigned(tmp_path / "a")])
    moved, reached, trusted = sentences(found)
    assert "two states" in moved
    assert "4.4 ± 0.1 nats" in moved
    assert "10.4 Å" in reached
    assert "as well as the result claims" in trusted
    labels = [number["label"] for number in numbers(found)]
    assert labels == [
        "States",
        "Populations",
        "Resolution",
        "Confidence",
        "Warnings",
    ]
    assert numbers(found)[1]["value"] == "25.0 / 75.0 %"
    assert "24.0 to 26.0" in numbers(found)[1]["note"]
    listed, leaked, power = warnings(found)
    assert (listed, leaked) == (HOSTILE, f"latent 1 goes with {HOSTILE}")
    assert "2.00 times the power" in power
    assert numbers(found)[4]["value"] == "3"


def test_a_false_optimum_and_a_rigid_molecule_are_said(tmp_path: Path) -> None:
    folder = refined(tmp_path / "r")
    write_json(folder / "verdict.json", verdict(is_sound=False, moves=False))
    found = gather([folder])
    moved, _, trusted = sentences(found)
    assert "rigid" in moved
    assert f"does NOT fit: held-out images of {HOSTILE}" in trusted
    assert numbers(found)[3]["value"] == "not sound"
    assert any("--seed" in line for line in warnings(found))


def test_work_that_goes_on_is_said_and_drawn(tmp_path: Path) -> None:
    folder = refined(tmp_path / "r")
    write_json(folder / "refine.json", {**facts(21), "finished": False})
    line = {"images_seen": 5120, "held_out": 31.25, "standard_error": 0.5}
    (folder / "quality.jsonl").write_text(json.dumps(line) + '\n{"images_seen": 6')
    found = gather([folder])
    assert "refinement goes on: this is iteration 2 of 2 at most" in warnings(found)
    (course,) = [part for part in sections(found) if part.id == "course"]
    (curve,) = course.figures[0][1]["data"]
    assert (curve["x"], curve["y"]) == ([5120], [31.25])
    assert curve["error_y"]["array"] == [0.5]


def test_what_was_not_judged_is_not_claimed(tmp_path: Path) -> None:
    folder = refined(tmp_path / "r")
    (folder / "verdict.json").unlink()
    found = gather([folder, assigned(tmp_path / "a")])
    moved, _, trusted = sentences(found)
    assert moved.startswith("Whether the molecule moves was not judged")
    assert "was not judged" in trusted
    assert [x["value"] for x in numbers(found)[:2]] == [str(CONFORMATIONS), "not told"]
    assert numbers(found)[3]["value"] == "not judged"


def test_the_page_needs_maps_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=r"manifold\.safetensors"):
        gather([assigned(tmp_path / "a")])
    with pytest.raises(SystemExit) as stop:
        main(["report", str(tmp_path / "a")])
    assert stop.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "a/report.html").exists()


def test_a_broken_file_gets_one_line(tmp_path: Path) -> None:
    folder = refined(tmp_path / "r")
    (folder / "verdict.json").write_text("{")
    with pytest.raises(InputError, match=r"verdict\.json"):
        gather([folder])
