"""Patches of empty ice, and which of them can lie under which particle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multicryogan.data.preprocess import Preprocessing, read_working
from multicryogan.errors import InputError
from multicryogan.io import GROUP_COLUMNS, ParticleStack
from multicryogan.units import SAME_LENGTH

MICROGRAPHS = ("rlnMicrographName", "location/micrograph_path")
Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Background:
    """P patches of empty ice for N particles.

    Attributes:
        stack: The patches.
        field_angstrom: Side of the particles' working images.
        micrograph: (N,) number of each particle's micrograph; None where the two files
            do not both name them.
        is_near: (N,) whether patches of its micrograph, or group where micrographs are
            not named, are there.
        pool: (N,) pool of each particle: those patches, else those of its group.
        start: (K + 1,) where each pool begins in `order`.
        order: (M,) patches, pool by pool.
    """

    stack: ParticleStack
    field_angstrom: float
    micrograph: Codes | None
    is_near: NDArray[np.bool_]
    pool: Tensor
    start: Tensor
    order: Tensor

    def choose(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Draw a patch (B,) for each of (B,) particles, evenly from its pool."""
        draw = torch.rand(len(rows), generator=generator, dtype=torch.float64)
        pool = self.pool[rows]
        first, end = self.start[pool], self.start[pool + 1]
        return self.order[first + ((end - first) * draw).long()]

    def share_out(self) -> Codes:
        """(N,) a patch for each particle: those of a pool in turn, all as often."""
        pool, start = self.pool.numpy(), self.start.numpy()
        order = np.argsort(pool, kind="stable")
        place = np.empty_like(order)  # of each particle among those of its pool
        place[order] = np.arange(len(pool)) - np.searchsorted(pool[order], pool[order])
        patch: Codes = self.order.numpy()[
            start[pool] + place % (start[pool + 1] - start[pool])
        ]
        return patch

    def read(
        self, patches: Tensor, preprocessing: Preprocessing, device: str
    ) -> Tensor:
        """Read (B,) patches as working images (B, D, D), intensities kept."""
        field = self.field_angstrom
        return read_working(self.stack, patches, preprocessing, device, field)


def open_background(stack: ParticleStack, path: str | Path) -> Background:
    """Read a file of patches and find those of every particle.

    Args:
        stack: N particles.
        path: .star, .cs or .mrcs file of patches, boxed as the particles are.

    Returns:
        The patches; their images stay on disk.

    Raises:
        InputError: There is no such file, an optics group has no patches, or they are
            smaller or have other pixels than the particles.
    """
    if not Path(path).exists():
        raise InputError(
            f"the patches of background {path} do not exist; put the file back, or "
            "give another one (--background)"
        )
    patches = stack.beside(path)
    patches.check_files()
    groups = _shared_codes(stack, patches, GROUP_COLUMNS)
    if groups is None:
        groups = np.zeros(len(stack), np.int64), np.zeros(len(patches), np.int64)
    named = _shared_codes(stack, patches, MICROGRAPHS)
    wanted, there = groups if named is None else named
    is_near = np.isin(wanted, there)
    first = int(max(wanted.max(), there.max())) + 1  # pool of the first group
    pool = np.where(is_near, wanted, first + groups[0])
    keys = np.concatenate((there, first + groups[1]))
    ends = np.arange(int(max(pool.max(), keys.max())) + 2)
    found = Background(
        patches,
        stack.field_angstrom,
        None if named is None else named[0],
        is_near,
        torch.from_numpy(pool),
        torch.from_numpy(np.searchsorted(np.sort(keys), ends)),
        torch.from_numpy(np.argsort(keys, kind="stable") % len(patches)),
    )
    _check_pools(stack, found)
    _check_sampling(stack, found)
    return found


def _shared_codes(
    stack: ParticleStack, patches: ParticleStack, names: tuple[str, ...]
) -> tuple[Codes, Codes] | None:
    """Number what a column of both tables says; None without it in one of them."""
    columns = [
        next((x.table[name] for name in names if name in x.table.columns), None)
        for x in (stack, patches)
    ]
    if columns[0] is None or columns[1] is None:
        return None
    texts = np.concatenate([np.asarray(column, dtype=str) for column in columns])
    codes: Codes = np.unique(texts, return_inverse=True)[1]
    return codes[: len(stack)], codes[len(stack) :]


def _check_pools(stack: ParticleStack, background: Background) -> None:
    """Refuse particles that no patch can lie under."""
    count = background.start.diff()[background.pool].numpy()
    lacking = np.flatnonzero(count == 0)
    if not len(lacking):
        return
    row = int(lacking[0])
    name = next(name for name in GROUP_COLUMNS if name in stack.table.columns)
    raise InputError(
        f"{background.stack.path} has no patch of {name} "
        f"{stack.table[name].iloc[row]}, nor of the micrograph, for {len(lacking):,} "
        f"of {len(stack):,} particles (the first is row {row + 1}); add patches of it"
    )


def _check_sampling(stack: ParticleStack, background: Background) -> None:
    """Refuse patches that are smaller or have other pixels than the particles."""
    patches, field = background.stack, stack.field_angstrom
    least = patches.field_angstrom
    if least < (1 - SAME_LENGTH) * field:
        raise InputError(
            f"patches of {patches.path} span {least:.1f} Å, the particles {field:.1f} "
            "Å; extract them with the box of the particles"
        )
    theirs, ours = patches.pixel_sizes[background.share_out()], stack.pixel_sizes
    other = np.flatnonzero(np.abs(theirs / ours - 1) > SAME_LENGTH)
    if len(other):
        row = int(other[0])
        raise InputError(
            f"patches of {patches.path} have pixels of {theirs[row]:.4g} Å where the "
            f"particles have {ours[row]:.4g} Å; extract them as the particles were, or "
            "their noise has another strength"
        )
