"""Algorithm 2: what a run does, how it repeats, stops and breaks."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from multicryogan.errors import InputError
from multicryogan.io import ParticleStack
from multicryogan.rng import Shard
from multicryogan.training import Preview, Trainer, TrainingError, load_snapshot
from training_data import tiny_config

MODES: list[dict[str, Any]] = [
    {},
    {"generator": {"kind": "volume"}},
    {"latent": {"kind": "gaussian", "dimensions": 2}},
    {
        "mode": "paper",
        "train": {"discriminator_steps": 2, "penalty_interval": 1, "images": 16},
    },
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

    def counted(view: Any) -> dict[str, float]:  # noqa: ANN401
        metrics = update(view)
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
    return torch.cat([*values, trainer.stage.noise.power])


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


def test_penalties_are_lazy(whole: Trainer) -> None:
    has_penalty = ["penalty" in line for line in metrics(whole.run)]
    assert has_penalty == 6 * [True, False]


def test_the_snapshot_is_the_averaged_generator(whole: Trainer) -> None:
    generator, config, voxel_size = load_snapshot(whole.run)
    latent = torch.rand(2, 1)
    assert torch.equal(generator(latent), whole.players.averaged(latent))
    assert (config, voxel_size) == (whole.config, 5.0)


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


def test_work_after_the_last_checkpoint_is_done_again(
    tmp_path: Path, stack: ParticleStack, whole: Trainer
) -> None:
    first = make_trainer(stack, tmp_path)
    stop_after(first, 3)
    first.train()
    killed = make_trainer(stack, tmp_path)
    for _ in range(2):  # updates that no checkpoint holds
        killed._follow_schedule(killed.progress)
        killed._tell(0.5, killed._update(killed.stage.view(16.0)))
    second = make_trainer(stack, tmp_path)
    second.train()
    assert metrics(tmp_path) == metrics(whole.run)


@pytest.mark.parametrize(
    ("player", "name"),
    [("generator", "mean"), ("discriminator", "features.0.weight")],
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
