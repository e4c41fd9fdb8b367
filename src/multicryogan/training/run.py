"""A run folder: made once, gone on with by the same command."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from multicryogan.config import RunConfig, run_config
from multicryogan.errors import InputError
from multicryogan.io import ParticleStack, one_writer, whole_file
from multicryogan.tables import mistakes_in, read_toml, to_dict, write_toml
from multicryogan.training.distributed import join_team, leave_team
from multicryogan.training.state import CHECKPOINTS, SNAPSHOT
from multicryogan.training.trainer import Preview, Trainer

CONFIG, PARTICLES = "config.toml", "particles.txt"
PATHS = ("utf-8", "surrogateescape")  # a path may be any bytes
# What may differ when a run goes on: how long and how it is watched, not what.
FREE = {("train", "images"), ("train", "time_limit"), ("output", "tensorboard")}


def train(
    config: RunConfig,
    stack: ParticleStack,
    sign: int,
    run: Path,
    *,
    device: str = "cpu",
    on_preview: Callable[[Preview, Path], None] | None = None,
) -> bool:
    """Train a run, or go on with it.

    Args:
        config: The resolved config, as `check_config` lets it pass.
        stack: Particles.
        sign: +1 when protein is bright, -1 when it is dark.
        run: Run folder; made when it does not exist.
        device: "cpu" or a CUDA device.
        on_preview: Draws a preview to a path.

    Returns:
        Whether the run came to its end (and was not stopped by a signal).

    Raises:
        InputError: The folder holds another run, or images are too small.
        TrainingError: A tensor is not finite.
    """
    shard = join_team(device)
    try:
        least = stack.least_box
        if least < config.data.box:
            raise InputError(
                f"{stack.path}: images have {least} pixels across the "
                f"{stack.field_angstrom:.0f} Å that all show, fewer than the working "
                f"box {config.data.box}; give --data.box {least - least % 2}"
            )
        with _claimed(run, config, stack) if shard.rank == 0 else nullcontext():
            trainer = Trainer(
                config,
                stack,
                sign,
                run,
                shard=shard,
                device=device,
                on_preview=on_preview,
            )
            if shard.rank == 0 and trainer.progress >= 1:
                print("it has had its images or its time; give more to go on")
            with _stopping_on_signals(trainer):
                return trainer.train()
    finally:
        leave_team()


@contextmanager
def _claimed(run: Path, config: RunConfig, stack: ParticleStack) -> Iterator[None]:
    """Hold the run folder; one that is refused before it has begun goes again."""
    is_new = not (run / CONFIG).is_file()
    _claim(run, config, stack)
    try:
        with one_writer(run):
            yield
    except InputError:
        if is_new and not (run / CHECKPOINTS).exists():
            (run / CONFIG).unlink()
            (run / PARTICLES).unlink()
            with suppress(OSError):  # it was there before, or holds more
                run.rmdir()
        raise


def _claim(run: Path, config: RunConfig, stack: ParticleStack) -> None:
    """Make the run folder, or check that it holds this run."""
    path, source = run / CONFIG, run / PARTICLES
    particles = f"{stack.path.resolve()}\n{len(stack)}\n".encode(*PATHS)
    try:
        if path.is_file() and not _has_only_begun(run):
            values = read_toml(path)
            with mistakes_in(path):
                before = run_config(values)
            _check_same(before, config, run)
            _check_particles(source, particles)
        elif not path.is_file() and run.exists() and any(run.iterdir()):
            raise InputError(
                f"{run} is not empty and holds no run; choose another folder with -o"
            )
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make a run in {run}: {error.strerror}; choose another folder "
            "with -o"
        ) from None
    with whole_file(path) as temporary:
        write_toml(temporary, config)
    with whole_file(source) as temporary:
        temporary.write_bytes(particles)


def _has_only_begun(run: Path) -> bool:
    """Whether a run broke down before it saved anything: it may begin otherwise."""
    saved = (run / CHECKPOINTS, run / SNAPSHOT)
    return (run / PARTICLES).is_file() and not any(path.exists() for path in saved)


def _check_particles(source: Path, now: bytes) -> None:
    """Refuse to go on with other particles."""
    before = source.read_bytes() if source.is_file() else now
    if before == now:
        return
    # The path comes first, and may hold line breaks itself.
    (old, _, old_count), (new, _, new_count) = (
        text.decode(*PATHS).removesuffix("\n").rpartition("\n")
        for text in (before, now)
    )
    if not old or not old_count.isdecimal() or not before.endswith(b"\n"):
        raise InputError(
            f"{source} is damaged and does not say what {source.parent} was started "
            "with; delete it if these are the particles, or choose another folder "
            "with -o"
        )
    raise InputError(
        f"{source.parent} was started with {old} ({old_count} particles), now "
        f"{new} ({new_count}); choose another folder with -o, or delete {source} "
        "if the file has only moved"
    )


def _check_same(before: RunConfig, now: RunConfig, run: Path) -> None:
    """Refuse to go on with other settings."""
    changed = [
        f"{key} was {old!r}, now {new!r}"
        for key, old, new in _differences(to_dict(before), to_dict(now))
    ]
    if changed:
        raise InputError(
            f"{run} was started with other settings: {'; '.join(changed)}; give the "
            "same ones to go on, or another folder with -o"
        )


def _differences(
    old: dict[str, Any], new: dict[str, Any], above: tuple[str, ...] = ()
) -> Iterator[tuple[str, Any, Any]]:
    """Yield the settings that differ and may not."""
    for key, value in old.items():
        path = (*above, key)
        if isinstance(value, dict):
            yield from _differences(value, new[key], path)
        elif path not in FREE and value != new[key]:
            yield ".".join(path), value, new[key]


@contextmanager
def _stopping_on_signals(trainer: Trainer) -> Iterator[None]:
    """Finish the update, write a checkpoint and leave on Ctrl-C or SIGTERM."""

    def ask(number: int, frame: FrameType | None) -> None:
        trainer.is_stopping = True

    before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
