"""One process or many: the same code, only the world size differs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib import import_module

import torch
import torch.distributed as dist
from torch import Tensor, nn

from multicryogan.rng import Shard


def join_team(device: str) -> Shard:
    """Join the processes that torchrun started, or stand alone without it."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Shard()
    if not dist.is_initialized():
        # The optimisers import this. Imported after the group is made, it keeps the
        # group in default arguments for ever, and gloo's threads, still running when
        # Python ends, now and then abort the process.
        import_module("torch._dynamo")

        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return Shard(dist.get_rank(), world)


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
