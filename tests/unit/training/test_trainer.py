"""Algorithm 2: what a run does, how it repeats, stops and breaks."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from multicryogan.errors import InputError
from multicryogan.io import ParticleStack
from multicryogan.networks import ComponentGenerator, TemplateDiscriminator
from multicryogan.rng import Shard
from multicryogan.training import Preview, Trainer, TrainingError, load_snapshot
from multicryogan.training.state import load_checkpoint, save_checkpoint
from training_data import tiny_config

MODES: list[dict[str, Any]] = [
    {},
    {"generator": {"kind": "volume"}},
    {"latent": {"kind": "gaussian", "dimensions": 2}},
    {"mode": "paper", "train": {"discriminator_steps": 2, "images": 16}},
]


def make_trainer(
    stack: ParticleStack, run: Path, changes: dict[str, Any] | None = None
) -> Trainer:
    run.mkdir(exist_ok=True)
    config = tiny_config(changes)
    return Trainer(config, stack, 1, run, shard=Shard(), device="cpu")


def stop_after(trainer: Trainer, steps: int) -> None:
    """Ask the trainer to stop as a signal would, after some updates."""
    update = trainer._update

    def counted(shell: float) -> dict[str, float]:
        metrics = update(shell)
        trainer.is_stopping = trainer.step >= steps
        return metrics

    trainer._update = counted  # type: ignore[method-assign]


def metrics(run: Path) -> list[dict[str, float]]:
    """Lines of metrics.jsonl without the clock."""
    lines = [
        json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()
    ]
    return [{k: v for k, v in line.items() if k != "minutes"} for line in lines]


def weights(trainer: Trainer) -> Tensor:
    players = trainer.players
    modules = (players.generator, players.averaged, players.discriminator)
    values = [p.detach().flatten() for m in modules for p in m.parameters()]
    return torch.cat(values)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, stack: ParticleStack) -> Trainer:
    """An uninterrupted run of twelve updates."""
    trainer = make_trainer(stack, tmp_path_factory.mktemp("whole"))
    assert trainer.train()
    return trainer


def test_a_run_counts_its_images(whole: Trainer) -> None:
    assert (whole.step, whole.images_seen) == (12, 48)
    assert [line["images_seen"] for line in metrics(whole.run)] == list(range(4, 49, 4))


def test_a_run_goes_from_the_coarse_to_the_fine_box(whole: Trainer) -> None:
    assert [line["box"] for line in metrics(whole.run)] == 6 * [16] + 6 * [32]


def test_motion_opens_when_it_is_due(whole: Trainer) -> None:
    is_moving = [line["motion"] > 1e-6 for line in metrics(whole.run)]
    assert is_moving == 3 * [False] + 9 * [True]  # 0.25 of twelve updates


def test_every_line_tells_the_penalty(whole: Trainer) -> None:
    assert all("penalty" in line for line in metrics(whole.run))


def test_all_degrees_of_the_motion_act_in_the_end(whole: Trainer) -> None:
    generator = whole.players.averaged
    assert isinstance(generator, ComponentGenerator)
    assert generator.gate.tolist() == [1.0, 1.0]
    assert all(p.requires_grad for p in whole.players.generator.parameters())


def test_motion_opens_degree_by_degree(tmp_path: Path, stack: ParticleStack) -> None:
    trainer, acting = make_trainer(stack, tmp_path), []
    update = trainer._update

    def watched(shell: float) -> dict[str, float]:
        generator = trainer.players.generator
        assert isinstance(generator, ComponentGenerator)
        acting.append(int(generator.gate.sum()))
        return update(shell)

    trainer._update = watched  # type: ignore[method-assign]
    trainer.train()
    assert acting == 3 * [0] + 3 * [1] + 6 * [2]  # 0.25 and 0.5 of twelve updates


def templates(trainer: Trainer) -> Tensor:
    """Templates in units of the noise, whatever the low-pass."""
    opponent = trainer.players.discriminator
    assert isinstance(opponent, TemplateDiscriminator)
    opponent.open_band(math.inf)
    return opponent.templates().detach().clone()


def test_the_next_stage_goes_on_with_the_templates(
    tmp_path: Path, stack: ParticleStack
) -> None:
    trainer = make_trainer(stack, tmp_path, {"train": {"discriminator_warmup": 0}})
    stop_after(trainer, 5)
    trainer.train()
    coarse = templates(trainer)
    trainer._next_stage()
    fine = templates(trainer)
    _, _, orders, rings, _ = coarse.shape
    torch.testing.assert_close(fine[:, :, :orders, :rings], coarse)
    assert fine[:, :, orders:].abs().max() == fine[:, :, :, rings:].abs().max() == 0


def test_the_snapshot_is_the_averaged_generator(whole: Trainer) -> None:
    generator, config, voxel_size = load_snapshot(whole.run)
    latent = torch.rand(2, 1)
    assert torch.equal(generator(latent), whole.players.averaged(latent))
    imaging = replace(whole.config.imaging, contrast_spread=whole.laws.contrast_spread)
    assert (config, voxel_size) == (replace(whole.config, imaging=imaging), 5.0)


def test_a_snapshot_on_the_way_is_the_averaged_generator(
    tmp_path: Path, stack: ParticleStack
) -> None:
    trainer = make_trainer(stack, tmp_path)
    stop_after(trainer, 1)  # the low-pass is still narrow
    trainer.train()
    generator, _, _ = load_snapshot(tmp_path)
    latent = torch.rand(2, 1)
    expected = trainer.players.averaged(latent)
    torch.testing.assert_close(generator(latent), expected)


@pytest.mark.parametrize("changes", MODES)
def test_every_mode_runs_to_its_end(
    tmp_path: Path, stack: ParticleStack, changes: dict[str, Any]
) -> None:
    small = {"data": {"box": 16}, **changes}
    trainer = make_trainer(stack, tmp_path, small)
    assert trainer.train()
    assert weights(trainer).isfinite().all()


def test_the_same_seed_gives_the_same_weights(
    tmp_path: Path, stack: ParticleStack, whole: Trainer
) -> None:
    torch.manual_seed(99)  # the global state must not matter
    again = make_trainer(stack, tmp_path)
    again.train()
    assert torch.equal(weights(again), weights(whole))
    assert metrics(tmp_path) == metrics(whole.run)


def test_another_seed_gives_other_weights(
    tmp_path: Path, stack: ParticleStack, whole: Trainer
) -> None:
    other = make_trainer(stack, tmp_path, {"train": {"seed": 1}})
    other.train()
    assert not torch.allclose(weights(other), weights(whole))


@pytest.mark.parametrize("stop", [1, 4, 6, 9])
def test_a_resumed_run_repeats_the_uninterrupted_one(
    tmp_path: Path, stack: ParticleStack, whole: Trainer, stop: int
) -> None:
    first = make_trainer(stack, tmp_path)
    stop_after(first, stop)
    assert not first.train()
    assert first.step == stop
    second = make_trainer(stack, tmp_path)
    assert second.step == stop
    assert second.train()
    assert torch.equal(weights(second), weights(whole))
    assert metrics(tmp_path) == metrics(whole.run)


def test_a_resumed_run_in_mode_paper_repeats_too(
    tmp_path: Path, stack: ParticleStack
) -> None:
    changes = {**MODES[-1], "data": {"box": 16}}
    straight = make_trainer(stack, tmp_path / "a", changes)
    straight.train()
    first = make_trainer(stack, tmp_path / "b", changes)
    stop_after(first, 2)
    first.train()
    second = make_trainer(stack, tmp_path / "b", changes)
    second.train()
    assert torch.equal(weights(second), weights(straight))


def stopped_state(run: Path, stack: ParticleStack) -> dict[str, Any]:
    """What the checkpoint of a run holds that was stopped after an update."""
    trainer = make_trainer(stack, run)
    stop_after(trainer, 1)
    trainer.train()
    state = load_checkpoint(run, "cpu")
    assert state is not None
    return state


def test_a_checkpoint_of_another_version_is_refused(
    tmp_path: Path, stack: ParticleStack
) -> None:
    state = stopped_state(tmp_path, stack)
    del state["generator"]["warp.logits"]
    save_checkpoint(tmp_path, state)
    with pytest.raises(InputError, match="start anew with another -o"):
        make_trainer(stack, tmp_path)


def test_a_checkpoint_of_a_stranger_is_refused(
    tmp_path: Path, stack: ParticleStack
) -> None:
    save_checkpoint(tmp_path, {"step": 20})
    with pytest.raises(InputError, match=r"no checkpoint in .* can be read; delete"):
        make_trainer(stack, tmp_path)


def test_a_checkpoint_of_other_laws_is_refused(
    tmp_path: Path, stack: ParticleStack
) -> None:
    state = stopped_state(tmp_path, stack)
    state["laws"]["tilt"] = 1.0
    save_checkpoint(tmp_path, state)
    with pytest.raises(InputError, match=r"holds other laws.* start anew"):
        make_trainer(stack, tmp_path)


def test_work_after_the_last_checkpoint_is_done_again(
    tmp_path: Path, stack: ParticleStack, whole: Trainer
) -> None:
    first = make_trainer(stack, tmp_path)
    stop_after(first, 3)
    first.train()
    killed = make_trainer(stack, tmp_path)
    for _ in range(2):  # updates that no checkpoint holds
        killed._follow_schedule(killed.progress)
        killed._tell(0.5, killed._update(killed.schedule.shell(killed.progress)))
    second = make_trainer(stack, tmp_path)
    second.train()
    assert metrics(tmp_path) == metrics(whole.run)


@pytest.mark.parametrize(
    ("player", "name"),
    [("generator", "mean"), ("discriminator", "values")],
)
def test_a_nan_stops_the_run_and_names_the_tensor(
    tmp_path: Path, stack: ParticleStack, player: str, name: str
) -> None:
    trainer = make_trainer(stack, tmp_path)
    with torch.no_grad():
        getattr(trainer.players, player).get_parameter(name).fill_(torch.nan)
    with pytest.raises(TrainingError, match=f"first bad tensor is {player} {name}"):
        trainer.train()
    assert not (tmp_path / "checkpoints").exists()


def test_broken_weights_are_never_saved(tmp_path: Path, stack: ParticleStack) -> None:
    trainer = make_trainer(stack, tmp_path)
    trainer.save()
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with torch.no_grad():
        trainer.players.generator.get_parameter("mean")[0, 0, 0] = torch.inf
    with pytest.raises(TrainingError, match="generator mean is not finite"):
        trainer.save()
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_an_empty_volume_stops_the_run(tmp_path: Path, stack: ParticleStack) -> None:
    trainer = make_trainer(stack, tmp_path)
    with torch.no_grad():
        trainer.players.generator.get_parameter("mean").fill_(-100.0)
    with pytest.raises(TrainingError, match="empty volume"):
        trainer.train()


def test_a_time_limit_alone_ends_a_run(tmp_path: Path, stack: ParticleStack) -> None:
    changes = {"data": {"box": 16}, "train": {"images": 0, "time_limit": 0.02}}
    trainer = make_trainer(stack, tmp_path, changes)
    assert trainer.train()
    assert trainer.seconds >= 1.2
    assert trainer.step > 1


def test_without_a_folder_nothing_is_written(
    tmp_path: Path, stack: ParticleStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trainer = Trainer(tiny_config(), stack, 1, None, shard=Shard(), device="cpu")
    assert trainer.train()
    assert trainer.images_seen == 48
    assert list(tmp_path.rglob("*")) == []


def test_previews_show_real_and_simulated_images(
    tmp_path: Path, stack: ParticleStack, whole: Trainer
) -> None:
    shown: list[tuple[Preview, Path]] = []
    trainer = Trainer(
        whole.config,
        stack,
        1,
        tmp_path,
        shard=Shard(),
        device="cpu",
        on_preview=lambda preview, path: shown.append((preview, path)),
    )
    trainer.train()
    (preview, path) = shown[-1]
    assert path == tmp_path / "previews" / "step_00000012.png"
    assert preview.real.shape == preview.fake.shape == (8, 32, 32)
    assert preview.volumes.shape == (3, 32, 32, 32)
    assert torch.equal(weights(trainer), weights(whole))  # a preview moves nothing


def test_a_preview_that_cannot_be_written_is_reported(
    tmp_path: Path, stack: ParticleStack
) -> None:
    def full(preview: Preview, path: Path) -> None:
        raise OSError(28, "No space left on device")

    trainer = make_trainer(stack, tmp_path)
    trainer.on_preview = full
    with pytest.raises(InputError, match="No space left on device; make room"):
        trainer.preview(0.0)


def test_checkpoints_are_written_while_the_run_goes_on(
    tmp_path: Path, stack: ParticleStack
) -> None:
    changes = {"data": {"box": 16}, "output": {"checkpoint_minutes": 0.0}}
    make_trainer(stack, tmp_path, changes).train()
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert names == [f"step_{n:08d}.pt" for n in (10, 11, 12)]
