"""`--background`: patches of empty ice from the command line to the end of a run."""

import re
from pathlib import Path

import numpy as np
import pytest

from background_files import write_noise
from multicryogan.cli import main
from multicryogan.config import run_config
from multicryogan.io import read_particles, write_stack
from multicryogan.tables import read_toml, write_toml
from particle_files import ball_images
from particle_files import write_particles as write_balls
from training_data import tiny_config, write_particles

ICE = {"a.mrc": (30, 0.3)}
UPDATES = {"images": 16, "discriminator_warmup": 1}  # two at each box


def status(*tokens: object) -> int:
    with pytest.raises(SystemExit) as ending:
        main([str(token) for token in tokens])
    assert isinstance(ending.value.code, int)
    return ending.value.code


@pytest.fixture
def particles(tmp_path: Path) -> Path:
    """Write particles of noise 0.3, patches of the same and settings of a tiny run."""
    write_noise(tmp_path / "ice.star", ICE, pixel_size=5.0)
    write_toml(tmp_path / "tiny.toml", tiny_config({"train": UPDATES}))
    return write_particles(tmp_path)


def train(particles: Path, run: Path, *more: object) -> int:
    settings = ("--config", particles.parent / "tiny.toml", "--device", "cpu")
    return status("train", particles, "-o", run, "--threads", "1", *settings, *more)


def test_a_run_trains_with_patches_and_goes_on_from_another_folder(
    particles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    monkeypatch.chdir(tmp_path)
    assert train(particles, run, "--background", "ice.star") == 0
    first = (run / "metrics.jsonl").read_text().splitlines()
    assert len(first) == 4
    config = run_config(read_toml(run / "config.toml"))
    assert config.imaging.background == str(tmp_path / "ice.star")
    monkeypatch.chdir(run)
    assert train(particles, run, "--background", "../ice.star", "--images", "24") == 0
    assert len((run / "metrics.jsonl").read_text().splitlines()) > 4


def test_refine_and_assign_name_patches_that_are_gone(
    particles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, ice = tmp_path / "run", tmp_path / "ice.star"
    assert train(particles, run, "--background", ice) == 0
    ice.unlink()
    for command in ("refine", "assign"):
        capsys.readouterr()
        out = tmp_path / command
        assert status(command, run, particles, "-o", out, "--threads", "1") == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1
        assert f"{ice} do not exist; put the file back" in lines[0]


@pytest.mark.parametrize("value", [None, 0.0, 3.0])
def test_one_patch_many_times_is_refused(
    particles: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    value: float | None,
) -> None:
    ice = write_noise(tmp_path / "few.star", {"a.mrc": (30, 0.3)}, pixel_size=5.0)
    images = read_particles(ice).images([0] * 30)
    if value is not None:
        images[:] = value
    write_stack(ice.with_suffix(".mrcs"), images, 5.0)
    assert train(particles, tmp_path / "run", "--background", ice) == 2
    said = "few.star: 1 different patches of background among 30; give 20 or more"
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert said in checked(particles, ice, capsys)


def test_patches_that_vary_little_say_so_in_few_digits(
    particles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ice = write_noise(tmp_path / "even.star", {"a.mrc": (30, 0.0)}, pixel_size=5.0)
    write_stack(
        ice.with_suffix(".mrcs"),
        np.arange(30.0)[:, None, None] * np.ones((32, 32)),
        5.0,
    )
    assert train(particles, tmp_path / "run", "--background", ice) == 2
    assert "vary less than 0.001 times as much" in capsys.readouterr().err


def test_patches_of_another_scale_stop_a_run_before_it_writes(
    particles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_noise(tmp_path / "raw.star", {"a.mrc": (30, 30.0)}, pixel_size=5.0)
    assert train(particles, tmp_path / "run", "--background", other) == 2
    assert "times as much as the rims" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def checked(path: Path, ice: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Page that `check` prints, its end status first."""
    more = ("--trial-seconds", "0", "--threads", "1", "--device", "cpu")
    ended = status("check", path, "--background", ice, *more)
    return f"{ended} " + " ".join(capsys.readouterr().out.split())


@pytest.fixture
def balls(tmp_path: Path) -> Path:
    """Write balls in noise of deviation 1 on micrographs a and b."""
    names = ["a.mrc"] * 60 + ["b.mrc"] * 60
    return write_balls(tmp_path, ball_images(120), rlnMicrographName=names)


def test_check_counts_patches_and_where_they_lie(
    balls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ice = write_noise(tmp_path / "ice.star", {"a.mrc": (40, 1.0)})
    text = checked(balls, ice, capsys)
    assert text.startswith("0 ")
    assert "40 patches, 3 particles to each" in text
    assert "in 1 of 2 micrographs; 60 particles of the others" in text


def test_check_counts_one_particle_to_a_patch(
    balls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ice = write_noise(tmp_path / "ice.star", {"a.mrc": (60, 1.0), "b.mrc": (60, 1.0)})
    assert "120 patches, 1 particle to each" in checked(balls, ice, capsys)


def test_check_compares_patches_with_rims(
    balls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ice = {"a.mrc": (200, 1.1), "b.mrc": (200, 1.1)}
    text = checked(balls, write_noise(tmp_path / "ice.star", ice), capsys)
    found = re.search(
        r"patch noise ([\d.]+) of .* of 32 ([\d.]+) \+- ([\d.]+) at low and "
        r"([\d.]+) \+- ([\d.]+) at high",
        text,
    )
    assert found is not None
    level, low, low_error, high, high_error = map(float, found.groups())
    assert level == pytest.approx(1.21, abs=0.05)
    assert abs(low - 1.21) < 3 * low_error
    assert abs(high - 1.21) < 3 * high_error
    assert high_error < 0.1


def test_check_refuses_another_normalisation(
    balls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = checked(
        balls, write_noise(tmp_path / "ice.star", {"a.mrc": (40, 2.0)}), capsys
    )
    assert text.startswith("1 ")
    assert "normalise both alike" in text


def test_check_finds_particles_in_patches(
    balls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ice").mkdir()
    ice = write_balls(tmp_path / "ice", ball_images(120))
    text = checked(balls, ice, capsys)
    assert text.startswith("1 ")
    assert "by +100% of what it does in particles" in text


def test_check_says_what_is_wrong_with_the_file_of_patches(
    balls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = checked(balls, tmp_path / "no.star", capsys)
    assert text.startswith("1 ")
    assert "do not exist; put the file back" in text
