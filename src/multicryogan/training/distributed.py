"""One process or many: the same code, only the world size differs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib import import_module

import torch
import torch.distributed as dist
from torch import Tensor, nn

from multicryogan.errors import InputError
from multicryogan.rng import Shard

TORCHRUN = ("WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT")
CURE = "start it with torchrun, or unset WORLD_SIZE to train in one process"


def told_shard() -> Shard:
    """Share of this process among those that torchrun started; all without it.

    Raises:
        InputError: What torchrun sets in the environment is there in part, or is no
            number.
    """
    told = {name: os.environ.get(name, "") for name in TORCHRUN}
    if told["WORLD_SIZE"] in ("", "1"):
        return Shard()
    for name, value in told.items():
        if not value:
            raise InputError(
                f"WORLD_SIZE is {told['WORLD_SIZE']} but {name} is not set; {CURE}"
            )
        if name != "MASTER_ADDR" and not value.isdecimal():
            raise InputError(f"{name} is {value!r} in the environment; {CURE}")
    rank, world = int(told["RANK"]), int(told["WORLD_SIZE"])
    if rank >= world:
        raise InputError(f"RANK is {rank} of WORLD_SIZE {world}; {CURE}")
    return Shard(rank, world)


def join_team(device: str) -> Shard:
    """Join the processes that torchrun started, or stand alone without it.

    Raises:
        InputError: They do not find one another.
    """
    shard = told_shard()
    if shard.world > 1 and not dist.is_initialized():
        # The optimisers import this. Imported after the group is made, it keeps the
        # group in default arguments for ever, and gloo's threads, still running when
        # Python ends, now and then abort the process.
        import_module("torch._dynamo")

        try:
            dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
        except dist.DistError as error:
            where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
            raise InputError(
                f"the {shard.world} processes do not meet at {where} "
                f"({str(error).splitlines()[0]}); {CURE}"
            ) from None
    return shard


def leave_team() -> None:
    """Leave the processes that torchrun started, if any."""
    if dist.is_initialized():
        dist.destroy_process_group()


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average gradients over the processes by one flat all-reduce.

    A parameter without a gradient counts as zero, so that every process sends the
    same bytes whichever losses it applied.
    """
    if not dist.is_initialized():
        return
    own = [p for p in parameters if p.requires_grad]
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in own]
    flat = torch.cat([g.flatten() for g in grads])
    average(flat)
    parts = torch.split(flat, [p.numel() for p in own])
    for parameter, grad in zip(own, parts, strict=True):
        parameter.grad = grad.view_as(parameter)


def average(values: Tensor) -> Tensor:
    """Average a tensor over the processes, in place; return it."""
    if dist.is_initialized():
        dist.all_reduce(values)
        values /= dist.get_world_size()
    return values


def from_first(value: float, device: str) -> float:
    """Return the first process's value on every process."""
    if not dist.is_initialized():
        return value
    shared = torch.tensor([value], dtype=torch.float64, device=device)
    dist.broadcast(shared, 0)
    return float(shared)
