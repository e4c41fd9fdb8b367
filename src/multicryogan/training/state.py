"""Checkpoints (all that resuming needs) and snapshots (the averaged generator)."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from multicryogan.config import RunConfig, run_config
from multicryogan.errors import InputError
from multicryogan.networks import Generator
from multicryogan.priors import ViewLaw
from multicryogan.tables import to_dict
from multicryogan.training.build import build_generator

CHECKPOINTS = "checkpoints"
KEPT_CHECKPOINTS = 3
SNAPSHOT = "snapshot.safetensors"
VIEWS = "law.views"


def save_checkpoint(run: Path, state: dict[str, Any]) -> Path:
    """Write a checkpoint atomically and keep the last three.

    Args:
        run: Run folder.
        state: Tensors and plain values, with the key "step".

    Raises:
        InputError: The disk is full or the folder not writable; earlier checkpoints
            are as they were.
    """
    folder = run / CHECKPOINTS
    path = folder / f"step_{state['step']:08d}.pt"
    temporary = path.with_suffix(".tmp")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        raise InputError(
            f"cannot write {path}: {error}; earlier checkpoints are kept: make room "
            "and give the same command to go on"
        ) from None
    for old in sorted(folder.glob("step_*.pt"))[:-KEPT_CHECKPOINTS]:
        old.unlink()
    return path


def load_checkpoint(
    run: Path, device: str, keys: Collection[str] = ()
) -> dict[str, Any] | None:
    """Read the newest checkpoint that is whole; None if there is none.

    Args:
        run: Run folder.
        device: "cpu" or a CUDA device.
        keys: What a checkpoint has beside its step; a file without them is none.

    Raises:
        InputError: There are checkpoints, and none can be read.
    """
    paths = sorted((run / CHECKPOINTS).glob("step_*.pt"), reverse=True)
    for path in paths:
        state = _read(path, device)
        if isinstance(state, dict) and {"step", *keys} <= set(state):
            return state
        print(f"{path} cannot be read as a checkpoint; trying the one before")
    if paths:
        raise InputError(
            f"no checkpoint in {run / CHECKPOINTS} can be read; delete that folder "
            "to begin again, or choose another one with -o"
        )
    return None


def _read(path: Path, device: str) -> object:
    """Read a file of torch that cannot run code; None if it is no such file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files that torch then refuses
            return torch.load(path, map_location=device, weights_only=True)
    except Exception:  # what a damaged file makes torch raise is without end
        return None


def save_snapshot(
    run: Path,
    generator: Generator,
    config: RunConfig,
    pixel_size: float,
    views: ViewLaw | None = None,
) -> None:
    """Write the averaged generator as users share it: tensors and a text header.

    Args:
        run: Run folder.
        generator: Averaged.
        config: Resolved, its width of shifts as it was learned.
        pixel_size: Å per voxel.
        views: Law of the directions of view, if one was learned.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    header = {
        "config": json.dumps(to_dict(config)),
        "box": str(generator.box),
        "voxel_size": repr(pixel_size),
    }
    tensors = {k: v.detach().contiguous() for k, v in generator.state_dict().items()}
    if views is not None:
        tensors[VIEWS] = views.weights.cpu().contiguous()
    path = run / SNAPSHOT
    temporary = path.with_suffix(".tmp")
    try:
        save_file(tensors, temporary, header)
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise InputError(
            f"cannot write {path}: {error}; make room and give the same command"
        ) from None


def load_snapshot(run: Path) -> tuple[Generator, RunConfig, float]:
    """Read the generator of a run.

    Returns:
        generator: In evaluation mode.
        config: The run's resolved config.
        voxel_size: Å per voxel of its volumes.

    Raises:
        InputError: There is no snapshot, or it is not one.
    """
    from safetensors import SafetensorError, safe_open

    path = run / SNAPSHOT
    if not path.is_file():
        what = f"no {SNAPSHOT} in {run}" if run.is_dir() else f"no folder {run}"
        raise InputError(f"{what}; give a folder made by train or refine")
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            names = [name for name in file.keys() if name != VIEWS]  # noqa: SIM118
            tensors: dict[str, Tensor] = {k: file.get_tensor(k) for k in names}
        config = run_config(json.loads(header["config"]))
        box, voxel_size = int(header["box"]), float(header["voxel_size"])
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"{path} is not a snapshot of multicryogan: {error}") from None
    generator = build_generator(config, box)
    try:
        generator.load_state_dict(tensors)
    except RuntimeError:
        raise InputError(
            f"{path} has other tensors than its config asks for: another version of "
            "multicryogan wrote it; train again"
        ) from None
    return generator.eval(), config, voxel_size


def load_views(run: Path) -> ViewLaw | None:
    """Read the law of views of a run that `load_snapshot` reads; None: uniform."""
    from safetensors import safe_open

    with safe_open(run / SNAPSHOT, "pt") as file:
        has_views = VIEWS in file.keys()  # noqa: SIM118
        return ViewLaw(file.get_tensor(VIEWS)) if has_views else None
