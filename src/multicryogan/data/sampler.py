"""Random batches of real images, prepared for the discriminator."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.data.preprocess import Preprocessing, read_working
from multicryogan.imaging import CTFParams
from multicryogan.io import ParticleStack
from multicryogan.rng import Shard, stream

FEWEST = 2_000  # particles; with fewer none is held out
HELD_OUT = 2_000  # rows held out at most, and one in twenty


@dataclass(frozen=True, slots=True)
class ImageSampler:
    """Draw rows with replacement, the same ones whatever the number of processes.

    One row in twenty, or fewer of a large set, is never drawn: a run is judged on it.
    """

    stack: ParticleStack
    preprocessing: Preprocessing
    seed: int
    optics: CTFParams | None  # of the particles, each field (N,)
    shard: Shard = Shard()
    device: str = "cpu"

    def batch(
        self, count: int, step: int, purpose: str = "train"
    ) -> tuple[Tensor, CTFParams | None]:
        """Draw `count` images of the whole batch; return this process's shard.

        Returns:
            (B, D, D) images at the working box, raw intensities, white protein; their
            optics (B,).
        """
        return self.take(self._drawn(count, step, purpose))

    def expect(self, count: int, step: int, purpose: str = "train") -> None:
        """Have the images of a later `batch` fetched from disk in the meantime."""
        self.stack.expect(self._drawn(count, step, purpose))

    def _drawn(self, count: int, step: int, purpose: str) -> Tensor:
        """Draw the rows (B,) of this process's shard of a batch."""
        draws = stream(self.seed, f"{purpose}/rows", step=step)
        index = torch.randint(self.in_use, (count,), generator=draws)
        return self.rows(index[self.shard.share(count)])

    @property
    def in_use(self) -> int:
        """Number of rows that are not held out."""
        count, stride = len(self.stack), self._stride
        return count - math.ceil(count / stride) if stride else count

    def rows(self, index: Tensor) -> Tensor:
        """Turn numbers (B,) below `in_use` into rows that are not held out."""
        stride = self._stride
        return index + index // (stride - 1) + 1 if stride else index

    def held_out(self) -> Tensor:
        """Rows (H,) that training never sees; none of a small set."""
        stride = self._stride
        return torch.arange(0, len(self.stack), stride) if stride else torch.arange(0)

    @property
    def _stride(self) -> int:
        """Every so-many-th row is held out; 0: none."""
        count = len(self.stack)
        return max(20, math.ceil(count / HELD_OUT)) if count >= FEWEST else 0

    def take(self, rows: Tensor) -> tuple[Tensor, CTFParams | None]:
        """Read given rows (B,), as `batch` does."""
        images = read_working(self.stack, rows, self.preprocessing, self.device)
        if self.optics is None:
            return images, None
        return images, self.optics.select(rows).to(self.device)
