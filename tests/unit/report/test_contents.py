"""What the page reads: whose it is, and files that are not what they should be."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from evaluation_phantoms import hinge
from multicryogan.errors import InputError
from multicryogan.report.contents import gather, path_lengths
from multicryogan.report.page import render
from report_data import CONFORMATIONS, assigned, refined


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return refined(tmp_path_factory.mktemp("contents") / "r")


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "r"))


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("verdict.json", '{"verdict": "sound"}', "lacks moves, whole"),
        ("verdict.json", "[]", "no facts"),
        ("refine.json", '{"finished": true}', "lacks iterations"),
        ("views.csv", "a,b\n1,2\n", "lacks all"),
        ("views.csv", "rot_deg,all\n1,2\n", "has 1 of 192 directions"),
        ("fsc.csv", "", "damaged or no table"),
        ("likeness.npz", "PK\x03\x04", "damaged or no archive"),
    ],
)
def test_files_that_are_not_what_they_should_be_are_named(
    folder: Path, name: str, text: str, reason: str
) -> None:
    (folder / name).write_text(text)
    with pytest.raises(InputError, match=name) as found:
        gather([folder])
    assert reason in str(found.value)


def test_broken_lines_and_records_are_left_out(folder: Path) -> None:
    lines = [
        {"images_seen": n, "margin": 0.1, "discriminator_loss": 0.7} for n in (1, 2)
    ]
    text = "5\n{}\nnull\n" + "\n".join(map(json.dumps, lines)) + '\n{"images_se'
    (folder / "metrics.jsonl").write_bytes(text.encode() + b"\xff\n")
    (folder / "about.json").write_text("null")
    found = gather([folder])
    assert [line["images_seen"] for line in found.metrics] == [1, 2]
    assert found.about == ()
    (folder / "about.json").write_text('[{"versions": [1], "command": "x"}]')
    assert "<td>x</td>" in render(gather([folder]))


def test_long_courses_are_thinned_to_their_last_line(folder: Path) -> None:
    lines = [
        {"images_seen": n, "margin": 0, "discriminator_loss": 0} for n in range(402)
    ]
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = gather([folder]).metrics
    assert len(found) == 201
    assert found[-1]["images_seen"] == 401


def test_shares_are_those_of_assigned_particles_if_they_are_of_the_same(
    folder: Path, tmp_path: Path
) -> None:
    placed = assigned(tmp_path / "a")
    table = pd.read_csv(placed / "populations.csv")
    table["share"] = [0.4, *[0.1] * (CONFORMATIONS - 1)]
    table.to_csv(placed / "populations.csv", index=False)
    assert float(gather([folder, placed]).shapes.shares[0]) == pytest.approx(0.4)
    table["latent_0"] += 0.1
    table.to_csv(placed / "populations.csv", index=False)
    found = gather([folder, placed])
    assert found.populations is None
    assert float(found.shapes.shares[0]) == pytest.approx(1 / CONFORMATIONS)


def test_a_verdict_of_another_folder_is_not_of_these_conformations(
    folder: Path, whole: Path
) -> None:
    (folder / "verdict.json").unlink()
    assert gather([folder, whole]).verdict == {}


def test_what_only_the_first_has_left_of_the_last_shell_is_no_motion() -> None:
    """Even steps; interpolation has taken a mode of the last shell from all others."""
    steps = torch.arange(4.0)[:, None, None, None] * hinge(16, [0.0])
    stripes = torch.tensor([1.0, -1.0]).repeat(8).expand(16, 16, 16)
    laid = torch.cat((steps[:1] + stripes, steps[1:]))
    place = path_lengths(laid)
    torch.testing.assert_close(place, torch.arange(4.0) / 3, atol=1e-3, rtol=0)
