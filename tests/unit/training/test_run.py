"""A run folder belongs to one run."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from multicryogan.config import run_config
from multicryogan.errors import InputError
from multicryogan.io import ParticleStack
from multicryogan.tables import read_toml
from multicryogan.training import TrainingError, train
from multicryogan.training import run as run_module
from training_data import tiny_config, tiny_stack

SHORT: dict[str, Any] = {"train": {"images": 8, "discriminator_warmup": 0}}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, stack: ParticleStack) -> Path:
    """A finished run of two updates."""
    run = tmp_path_factory.mktemp("runs") / "deep" / "run"
    assert train(tiny_config(SHORT), stack, 1, run)
    return run


def test_a_run_folder_holds_what_a_user_needs(done: Path) -> None:
    assert {path.name for path in done.iterdir()} == {
        "checkpoints",
        "config.toml",
        "metrics.jsonl",
        "particles.txt",
        "snapshot.safetensors",
    }


def test_the_config_in_the_folder_is_complete(done: Path) -> None:
    assert run_config(read_toml(done / "config.toml")) == tiny_config(SHORT)


def test_a_finished_run_stays_finished(done: Path, stack: ParticleStack) -> None:
    before = (done / "metrics.jsonl").read_text()
    assert train(tiny_config(SHORT), stack, 1, done)
    assert (done / "metrics.jsonl").read_text() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": {"seed": 5}}, r"train\.seed was 0, now 5"),
        ({"data": {"box": 16}}, r"data\.box was 32, now 16"),
        ({"generator": {"hidden": 9}}, r"generator\.hidden was 8, now 9"),
    ],
)
def test_other_settings_are_refused_with_their_key(
    done: Path, stack: ParticleStack, changes: dict[str, Any], message: str
) -> None:
    changed = {
        **SHORT,
        **changes,
        "train": {**SHORT["train"], **changes.get("train", {})},
    }
    with pytest.raises(InputError, match=message):
        train(tiny_config(changed), stack, 1, done)


def test_a_run_that_broke_down_before_it_saved_may_begin_otherwise(
    stack: ParticleStack, tmp_path: Path
) -> None:
    fast = {**SHORT, "train": {**SHORT["train"], "generator_rate": 1e30}}
    with pytest.raises(TrainingError, match="lower the learning rates"):
        train(tiny_config(fast), stack, 1, tmp_path / "run")
    assert (tmp_path / "run" / "config.toml").is_file()
    assert train(tiny_config(SHORT), stack, 1, tmp_path / "run")


@pytest.mark.parametrize("kept", ["snapshot.safetensors", "checkpoints"])
def test_a_run_that_has_saved_anything_may_not(
    done: Path, stack: ParticleStack, tmp_path: Path, kept: str
) -> None:
    run = shutil.copytree(done, tmp_path / "run")
    for saved in (run / "checkpoints").iterdir():
        saved.unlink()
    if kept == "checkpoints":
        (run / "snapshot.safetensors").unlink()
    else:
        (run / "checkpoints").rmdir()
    with pytest.raises(InputError, match=r"train\.seed was 0, now 5"):
        train(tiny_config({**SHORT, "train": {"seed": 5}}), stack, 1, run)


def test_a_damaged_config_of_a_run_is_named(
    done: Path, stack: ParticleStack, tmp_path: Path
) -> None:
    run = shutil.copytree(done, tmp_path / "run")
    (run / "config.toml").write_text("[trian]\nseed = 3\n")
    with pytest.raises(InputError, match=r"config\.toml: unknown config key trian"):
        train(tiny_config(SHORT), stack, 1, run)


def test_other_particles_are_refused(done: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"was started with .* \(96 particles\), now"):
        train(tiny_config(SHORT), tiny_stack(tmp_path, 40), 1, done)


@pytest.mark.parametrize("kept", [0, 5, -1, -2])
def test_a_damaged_note_of_the_particles_is_told(
    done: Path, stack: ParticleStack, tmp_path: Path, kept: int
) -> None:
    run = shutil.copytree(done, tmp_path / "run")
    whole = (run / "particles.txt").read_bytes()
    (run / "particles.txt").write_bytes(whole[:kept])
    with pytest.raises(InputError, match=r"particles\.txt is damaged .*; delete it if"):
        train(tiny_config(SHORT), stack, 1, run)


def test_a_note_that_is_not_text_is_told(
    done: Path, stack: ParticleStack, tmp_path: Path
) -> None:
    run = shutil.copytree(done, tmp_path / "run")
    (run / "particles.txt").write_bytes(b"\xff\xfe\x00\n\x80")
    with pytest.raises(InputError, match=r"particles\.txt is damaged"):
        train(tiny_config(SHORT), stack, 1, run)


@pytest.mark.parametrize("name", [b"two\nlines", b"caf\xe9", "Ångström".encode()])
def test_particles_may_lie_in_any_folder(
    done: Path, stack: ParticleStack, tmp_path: Path, name: bytes
) -> None:
    run, odd = shutil.copytree(done, tmp_path / "run"), tmp_path / os.fsdecode(name)
    (run / "particles.txt").unlink()
    odd.mkdir()
    own = tiny_stack(odd)
    assert train(tiny_config(SHORT), own, 1, run)
    assert train(tiny_config(SHORT), own, 1, run)
    with pytest.raises(InputError, match=r"(?s)started with .* \(96 particles\), now"):
        train(tiny_config(SHORT), stack, 1, run)


def test_a_refused_run_is_left_as_it_was(done: Path, stack: ParticleStack) -> None:
    before = {p: p.read_bytes() for p in done.rglob("*") if p.is_file()}
    with pytest.raises(InputError):
        train(tiny_config({"train": {"seed": 5}}), stack, 1, done)
    assert {p: p.read_bytes() for p in done.rglob("*") if p.is_file()} == before


def test_a_folder_with_other_files_is_refused(
    tmp_path: Path, stack: ParticleStack
) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="is not empty and holds no run"):
        train(tiny_config(SHORT), stack, 1, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("inside", ["", "run"])
def test_a_file_in_the_way_is_refused(
    tmp_path: Path, stack: ParticleStack, inside: str
) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(InputError, match="cannot make a run in"):
        train(tiny_config(SHORT), stack, 1, path / inside)


def test_images_smaller_than_the_box_are_refused(
    tmp_path: Path, stack: ParticleStack
) -> None:
    config = tiny_config({**SHORT, "data": {"box": 64}})
    with pytest.raises(
        InputError, match=r"32 pixels across .*, fewer than .* 64; give --data.box 32"
    ):
        train(config, stack, 1, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_full_disk_keeps_the_config_of_a_run(
    done: Path, stack: ParticleStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, config: object) -> None:
        path.write_text("mode")
        raise OSError(28, "No space left on device")

    before = (done / "config.toml").read_bytes()
    monkeypatch.setattr(run_module, "write_toml", full)
    with pytest.raises(InputError, match="No space left"):
        train(tiny_config(SHORT), stack, 1, done)
    assert (done / "config.toml").read_bytes() == before


def test_a_longer_run_goes_on_where_the_shorter_one_ended(
    tmp_path: Path, stack: ParticleStack
) -> None:
    run = tmp_path / "run"
    for images in (8, 32):  # the first ends at the fine box, half-way of the second
        changes = {"train": {**SHORT["train"], "images": images}}
        assert train(tiny_config(changes), stack, 1, run)
    steps = [
        line.split(",")[0] for line in (run / "metrics.jsonl").read_text().splitlines()
    ]
    assert steps == [f'{{"step": {n}' for n in range(1, 9)]
