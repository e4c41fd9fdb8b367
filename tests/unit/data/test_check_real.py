"""What `check` says of real particles."""

from pathlib import Path

import pytest
import torch

from multicryogan.cli import main
from multicryogan.config import DataConfig
from multicryogan.data import (
    Preprocessing,
    check_particles,
    detect_contrast,
    working_images,
)
from multicryogan.data.check import Report
from multicryogan.data.signal import measure_power
from multicryogan.io import ParticleStack, read_particles

BETAGAL = "betagal_101/particles_first101_128px.star"
EMPIAR_10076 = "star_dialects/empiar_10076_7"


def report_on(path: Path, box: int = 32) -> Report:
    return check_particles(read_particles(path), DataConfig(box=box))


@pytest.mark.parametrize(
    "name", [BETAGAL, f"{EMPIAR_10076}.star", f"{EMPIAR_10076}.cs"]
)
@pytest.mark.parametrize("box", [32, 64])
def test_real_particles_are_dark_and_can_be_trained_on(
    name: str, box: int, shared_data: Path
) -> None:
    report = report_on(shared_data / name, box)
    assert report.problems == ()
    assert dict(report.facts)["contrast"].startswith("dark protein")


@pytest.mark.slow
@pytest.mark.parametrize("name", [BETAGAL, f"{EMPIAR_10076}.cs"])
def test_training_on_real_particles_is_tried_and_a_picture_drawn(
    name: str, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "picture.png"
    more = ("--threads", "1", "--trial-seconds", "0.1", "--picture", str(picture))
    with pytest.raises(SystemExit) as ending:
        main(["check", str(shared_data / name), *more])
    assert ending.value.code == 0
    page = capsys.readouterr().out
    assert "updates a second: " in page
    assert "of 20 minutes: " in page
    assert len(page.splitlines()) < 40  # one page
    assert picture.is_file()


def white_images(stack: ParticleStack) -> torch.Tensor:
    sign = detect_contrast(stack).sign
    raw = torch.from_numpy(stack.images(slice(None)))
    return working_images(raw, Preprocessing(64, sign, 30.0, 2.0))


def test_star_and_cs_of_the_same_particles_give_the_same_images(
    shared_data: Path,
) -> None:
    star, cs = (
        read_particles(shared_data / f"{EMPIAR_10076}.{kind}")
        for kind in ("star", "cs")
    )
    assert set(star.sign) == {1}
    assert set(cs.sign) == {-1}
    assert torch.equal(white_images(star), white_images(cs))


@pytest.mark.parametrize("box", [32, 64])
def test_star_and_cs_of_the_same_particles_give_the_same_report(
    box: int, shared_data: Path
) -> None:
    star, cs = (
        dict(report_on(shared_data / f"{EMPIAR_10076}.{kind}", box).facts)
        for kind in ("star", "cs")
    )
    del star["file"], cs["file"]
    assert star == cs


def test_a_factor_in_the_file_is_noted(shared_data: Path) -> None:
    stack = read_particles(shared_data / f"{EMPIAR_10076}.cs")
    for contrast in ("auto", "white"):
        notes = check_particles(stack, DataConfig(contrast=contrast)).notes
        assert any("blob/sign" in note for note in notes)


def test_one_micrograph_loses_the_zero_of_its_ctf(shared_data: Path) -> None:
    notes = report_on(shared_data / f"{EMPIAR_10076}.star", 64).notes
    assert any("at 17.4 Å" in note for note in notes)


def test_defoci_of_several_micrographs_cover_all_frequencies(
    shared_data: Path,
) -> None:
    report = report_on(shared_data / BETAGAL, 64)
    assert not any("CTFs together" in note for note in report.notes)
    assert "0.13 or more" in dict(report.facts)["mean squared CTF"]


@pytest.mark.parametrize("box", [32, 64, 128])
def test_real_ice_without_particles_holds_no_signal(
    box: int, shared_data: Path
) -> None:
    stack = read_particles(
        shared_data / "betagal_101" / "background_first101_128px.star"
    )
    power = measure_power(stack, Preprocessing(box, -1, 0.95 * box / 2, 2.0), 101)
    for band in power.bands():
        assert abs(band.snr) < 2 * band.error


def test_real_particles_hold_signal_at_30_angstrom(shared_data: Path) -> None:
    stack = read_particles(shared_data / BETAGAL)
    power = measure_power(stack, Preprocessing(32, -1, 0.95 * 16, 2.0), 101)
    band, _ = power.bands()
    assert band.is_measured
    assert 0.05 < band.snr < 0.25
