"""Named, resumable random streams."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch


def stream(
    seed: int, name: str, *, rank: int = 0, step: int = 0, device: str = "cpu"
) -> torch.Generator:
    """Open the generator for one purpose on one rank at one step.

    Every random quantity draws from its own stream, so that the conformation
    of a particle says nothing about its pose, optics or noise, and a resumed
    run repeats the draws of an uninterrupted one.

    Args:
        seed: Seed of the run.
        name: Purpose of the draw, such as "pose" or "noise".
        rank: Process that draws.
        step: Update at which it draws.
        device: Where the numbers are made.

    Returns:
        A generator whose state depends on these five arguments alone.
    """
    key = f"{seed}/{name}/{rank}/{step}".encode()
    digest = hashlib.blake2b(key, digest_size=8).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "big") >> 1)


@dataclass(frozen=True, slots=True)
class Shard:
    """The share of every batch that one of several processes makes."""

    rank: int = 0
    world: int = 1

    def share(self, count: int) -> slice:
        """Return this process's part of `count` items; `count` divides evenly."""
        assert count % self.world == 0, f"{count} items over {self.world} processes"
        part = count // self.world
        return slice(self.rank * part, (self.rank + 1) * part)
