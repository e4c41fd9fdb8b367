"""Checkpoints and snapshots: whole or not at all, and always one to go back to."""

import errno
import os
import pickle
import warnings
from pathlib import Path
from typing import Any, NoReturn

import pytest
import safetensors.torch
import torch

from multicryogan.errors import InputError
from multicryogan.training.build import build_generator
from multicryogan.training.state import (
    load_checkpoint,
    load_snapshot,
    save_checkpoint,
    save_snapshot,
)
from training_data import tiny_config


def state(step: int) -> dict[str, Any]:
    return {"step": step, "weights": torch.arange(1000.0) + step}


def steps(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def newest(run: Path) -> int:
    loaded = load_checkpoint(run, "cpu")
    assert loaded is not None
    step: int = loaded["step"]
    return step


def test_a_checkpoint_reads_back_as_it_was(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, state(7))
    loaded = load_checkpoint(tmp_path, "cpu")
    assert loaded is not None
    assert loaded["step"] == 7
    assert torch.equal(loaded["weights"], state(7)["weights"])


def test_a_new_run_has_no_checkpoint(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "absent", "cpu") is None


def test_the_last_three_checkpoints_are_kept(tmp_path: Path) -> None:
    for step in (1, 9, 10, 100, 1000):
        save_checkpoint(tmp_path, state(step))
    assert steps(tmp_path) == [f"step_{n:08d}.pt" for n in (10, 100, 1000)]


def test_the_newest_checkpoint_is_read(tmp_path: Path) -> None:
    for step in (9, 10, 100):
        save_checkpoint(tmp_path, state(step))
    assert newest(tmp_path) == 100


@pytest.mark.parametrize("content", ["half", "nothing", "zeros"])
def test_a_broken_newest_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, content: str
) -> None:
    save_checkpoint(tmp_path, state(1))
    path = save_checkpoint(tmp_path, state(2))
    whole = path.read_bytes()
    broken = {"half": whole[: len(whole) // 2], "nothing": b"", "zeros": bytes(5000)}
    path.write_bytes(broken[content])
    assert newest(tmp_path) == 1


def test_no_readable_checkpoint_is_an_error_and_not_a_new_start(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, state(1)).write_bytes(b"x")
    with pytest.raises(InputError, match=r"no checkpoint in .* can be read; delete"):
        load_checkpoint(tmp_path, "cpu")


FOREIGN = {
    "text": b"hello\n" * 9,
    "a table": b"1,2\n3,4\n",
    "a pickle": pickle.dumps({"step": 20, "laws": {}}, protocol=4),
}


@pytest.mark.parametrize("content", FOREIGN)
def test_a_file_of_another_kind_is_no_checkpoint(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path, state(1))
    save_checkpoint(tmp_path, state(2)).write_bytes(FOREIGN[content])
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert newest(tmp_path) == 1
    assert warned == []
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.endswith(
        "2.pt cannot be read as a checkpoint; trying the one before\n"
    )


@pytest.mark.parametrize("found", [[1, 2], {"step": 20}, {"weights": 1}, 7])
def test_what_lacks_the_keys_of_a_checkpoint_is_none(
    tmp_path: Path, found: object
) -> None:
    save_checkpoint(tmp_path, state(1))
    torch.save(found, tmp_path / "checkpoints" / "step_00000020.pt")
    loaded = load_checkpoint(tmp_path, "cpu", ("weights",))
    assert loaded is not None
    assert loaded["step"] == 1


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(tmp_path / "owned"),))

    save_checkpoint(tmp_path, {"step": 1, "weights": Malicious()})
    with pytest.raises(InputError):
        load_checkpoint(tmp_path, "cpu")
    assert not (tmp_path / "owned").exists()


def full_disk(*args: Any, **kwargs: Any) -> NoReturn:  # noqa: ANN401
    raise OSError(errno.ENOSPC, "No space left on device")


def half_then_full(state: object, file: Any) -> NoReturn:  # noqa: ANN401
    file.write(b"half a checkpoint")
    raise RuntimeError("PytorchStreamWriter failed writing file data/0")


@pytest.mark.parametrize("failure", [full_disk, half_then_full])
def test_a_full_disk_loses_no_checkpoint(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure: Any,  # noqa: ANN401
) -> None:
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, state(step))
    before = steps(tmp_path)
    monkeypatch.setattr(torch, "save", failure)
    with pytest.raises(InputError, match=r"step_00000004.*make room"):
        save_checkpoint(tmp_path, state(4))
    monkeypatch.undo()
    assert steps(tmp_path) == before
    assert newest(tmp_path) == 3


def test_a_checkpoint_appears_only_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    def spy(value: object, file: Any) -> None:  # noqa: ANN401
        original(value, file)
        seen.append(sorted(p.name for p in (tmp_path / "checkpoints").glob("*.pt")))

    original = torch.save
    monkeypatch.setattr(torch, "save", spy)
    save_checkpoint(tmp_path, state(1))
    assert seen == [[]]


@pytest.mark.parametrize("kind", ["components", "volume", "cnn"])
def test_a_snapshot_reads_back_the_generator(tmp_path: Path, kind: str) -> None:
    changes = {"generator": {"kind": kind}, "train": {"coarse_share": 0.0}}
    config = tiny_config(changes)
    generator = build_generator(config, 16)
    with torch.no_grad():
        generator.scale.fill_(3.5)
        for parameter in generator.parameters():
            parameter.add_(0.1)
    save_snapshot(tmp_path, generator, config, 10.25)
    loaded, loaded_config, voxel_size = load_snapshot(tmp_path)
    latent = torch.rand(3, 1)
    assert torch.equal(loaded(latent), generator(latent))
    assert (loaded_config, voxel_size, loaded.box) == (config, 10.25, 16)
    assert not loaded.training


def test_a_snapshot_of_a_closed_motion_stays_closed(tmp_path: Path) -> None:
    generator = build_generator(tiny_config(), 16)
    generator.open_motion(0)
    save_snapshot(tmp_path, generator, tiny_config(), 5.0)
    volumes = load_snapshot(tmp_path)[0](torch.tensor([[0.0], [1.0]]))
    assert torch.equal(volumes[0], volumes[1])


def test_a_folder_without_snapshot_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"no snapshot\.safetensors in .*; give a folder"
    ):
        load_snapshot(tmp_path)


@pytest.mark.parametrize("content", [b"", b"rubbish" * 100])
def test_a_file_that_is_no_snapshot_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "snapshot.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="is not a snapshot of multicryogan"):
        load_snapshot(tmp_path)


def test_other_safetensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="is not a snapshot of multicryogan"):
        load_snapshot(tmp_path)


def test_a_snapshot_with_other_tensors_is_refused(tmp_path: Path) -> None:
    config = tiny_config({"generator": {"kind": "volume"}})
    save_snapshot(tmp_path, build_generator(config, 16), tiny_config(), 5.0)
    with pytest.raises(InputError, match="another version of multicryogan wrote it"):
        load_snapshot(tmp_path)


def test_a_snapshot_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    generator = build_generator(tiny_config(), 16)
    with pytest.raises(InputError, match=r"cannot write .*snapshot\.safetensors"):
        save_snapshot(tmp_path / "absent", generator, tiny_config(), 5.0)


def test_a_full_disk_leaves_the_snapshot_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = build_generator(tiny_config(), 16)
    save_snapshot(tmp_path, generator, tiny_config(), 5.0)
    before = (tmp_path / "snapshot.safetensors").read_bytes()
    monkeypatch.setattr(safetensors.torch, "save_file", full_disk)
    with pytest.raises(InputError, match="No space left"):
        save_snapshot(tmp_path, generator, tiny_config(), 7.0)
    assert (tmp_path / "snapshot.safetensors").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1
