"""What several commands set up and say alike."""

from pathlib import Path

import pytest

from multicryogan.cli import main
from multicryogan.cli.options import set_up_torch, warn_of_no_ctf
from multicryogan.errors import InputError
from multicryogan.io import read_particles
from particle_files import ball_images, write_particles
from user_mistakes import bare_stack


def test_particles_with_optics_bring_no_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warn_of_no_ctf(read_particles(write_particles(tmp_path, ball_images(3))))
    assert capsys.readouterr().out == ""


def test_training_without_a_ctf_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ending:
        main(bare_stack()(tmp_path))
    said = capsys.readouterr().out
    assert ending.value.code == 0, said
    assert said.startswith("warning: ")
    assert "bare.mrcs holds no defocus" in said
    assert "give --defocus-angstrom" in said


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have torch see two CUDA devices."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(("rank", "own"), [("", "cuda:0"), ("1", "cuda:1")])
def test_each_process_has_the_gpu_that_torchrun_means(
    monkeypatch: pytest.MonkeyPatch, rank: str, own: str
) -> None:
    monkeypatch.setenv("LOCAL_RANK", rank)
    assert set_up_torch("auto", 0) == own


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("rank", ["2", "-1", "first"])
def test_a_gpu_that_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, rank: str
) -> None:
    monkeypatch.setenv("LOCAL_RANK", rank)
    with pytest.raises(InputError, match=f"LOCAL_RANK is '{rank}' where .* 2 GPUs"):
        set_up_torch("cuda", 0)
