"""`multicryogan check`: training is tried, and a picture drawn."""

from pathlib import Path

import pytest

from multicryogan.cli import main
from multicryogan.training import Forecast, TrainingError
from multicryogan.training.forecast import Pace
from training_data import write_particles

FOUND = Forecast((Pace(16, 0.5, 0.1), Pace(32, 0.5, 0.3)), "cpu", 128, 750_000_000)


@pytest.fixture
def particles(tmp_path: Path) -> str:
    return str(write_particles(tmp_path))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Collect the arguments of what would be timed."""
    seen: list[tuple[object, ...]] = []

    def collect(*arguments: object) -> Forecast:
        seen.append(arguments)
        return FOUND

    monkeypatch.setattr("multicryogan.training.forecast", collect)
    return seen


def page(capsys: pytest.CaptureFixture[str], expected: int, *words: str) -> str:
    """Text of `check`, its lines joined, after a check of its status."""
    with pytest.raises(SystemExit) as ending:
        main(["check", *words, "--threads", "1"])
    assert ending.value.code == expected
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.usefixtures("calls")
def test_pace_and_the_run_to_come_are_told(
    particles: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = page(capsys, 0, particles)
    assert "updates a second: 10 at box 16, 3.3 at box 32 (1 thread)" in text
    # 30 s of 10 and 30 s of 3.33 updates a minute, 128 images each
    assert "of 20 minutes: 1,000,000 simulated images, 51,000 a minute" in text
    assert "0.75 GB of memory so far" in text


@pytest.mark.usefixtures("calls")
def test_a_run_of_so_many_images_is_told_in_minutes(
    particles: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = page(capsys, 0, particles, "--images", "512000")
    assert "of 10 minutes: 510,000 simulated images" in text


def test_settings_and_seconds_are_handed_on(
    particles: str,
    calls: list[tuple[object, ...]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    page(capsys, 0, particles, "--train.volumes-per-batch", "4", "--trial-seconds", "3")
    ((config, stack, sign, device, seconds),) = calls
    assert config.train.volumes_per_batch == 4  # type: ignore[attr-defined]
    assert len(stack) == 96  # type: ignore[arg-type]
    assert (sign, device, seconds) == (1, "cpu", 3.0)


def test_no_seconds_are_no_trial(
    particles: str,
    calls: list[tuple[object, ...]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "this machine" not in page(capsys, 0, particles, "--trial-seconds", "0")
    assert calls == []


def test_training_that_breaks_down_at_once_is_a_problem(
    particles: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*arguments: object) -> Forecast:
        raise TrainingError("margin is nan at step 1")

    monkeypatch.setattr("multicryogan.training.forecast", break_down)
    assert "margin is nan at step 1" in page(capsys, 1, particles)


@pytest.mark.usefixtures("calls")
def test_a_picture_is_drawn(
    particles: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page(capsys, 0, particles, "--picture", str(tmp_path / "look.png"))
    assert (tmp_path / "look.png").is_file()


def test_no_picture_of_particles_that_cannot_be_used(
    particles: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "particles.mrcs").unlink()
    look = tmp_path / "look.png"
    assert "no picture was drawn" in page(capsys, 1, particles, "--picture", str(look))
    assert not look.exists()
