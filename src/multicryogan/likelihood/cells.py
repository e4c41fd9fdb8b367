"""Cells of poses and shifts that may hold images, and what dividing them takes.

The cells of mates, which are quarter turns of each other, are divided together: the
slices of one serve the images of all, each turned back by its quarters. A row is an
image under one shift.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.likelihood.factors import ImageFactors, Scorer, SliceFactors
from multicryogan.likelihood.poses import (
    CHILDREN,
    QUARTER_TURNS,
    QUARTERS,
    PoseTree,
    children,
)

SLICES_AT_ONCE = 64
SCORES_AT_ONCE = 2**21  # of row, pose and conformation; one group of mates at least


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells of one level that may hold an image, sorted by pose.

    Attributes:
        level: Of poses and shifts.
        image: (P,) int64.
        pose: (P,) int64.
        shift: (P,) int64 cell of the shift.
        log_weight: (P,) logarithm of how many cells each counts for.
    """

    level: int
    image: Tensor
    pose: Tensor
    shift: Tensor
    log_weight: Tensor

    @staticmethod
    def sorted(
        level: int, image: Tensor, pose: Tensor, shift: Tensor, log_weight: Tensor
    ) -> Cells:
        """Sort cells by pose."""
        order = pose.argsort(stable=True)
        parts = (part[order] for part in (image, pose, shift, log_weight))
        return Cells(level, *parts)

    def divided(self, tree: PoseTree, images: ImageFactors) -> Parts:
        """Prepare the division: the rows of the next level, and the turned images."""
        shifts, count = tree.shifts, tree.shifts.children
        key = self.image * shifts.count(self.level) + self.shift
        unique, row = torch.unique(key, return_inverse=True)
        corner = torch.arange(count, device=key.device)
        parent = unique % shifts.count(self.level)
        shift = (parent[:, None] * count + corner).flatten()
        in_use, turn = torch.unique(shift, return_inverse=True)
        places = shifts.shifts(in_use, self.level + 1)
        moved = places[turn]
        key = self.image * QUARTERS + self.pose % QUARTERS
        seen, source = torch.unique(key, return_inverse=True)
        return Parts(
            cells=self,
            tree=tree,
            image=(unique // shifts.count(self.level)).repeat_interleave(count),
            shift=shift,
            shift_px=moved,
            log_prior=shifts.log_prior(moved, self.level + 1),
            rows=row[:, None] * count + corner,
            turned=images.turned(seen // QUARTERS, seen % QUARTERS),
            source=source,
            turns=images.turns(turned_shifts(places)) if count > 1 else None,
            turn=turn,
        )


def turned_shifts(shift_px: Tensor) -> Tensor:
    """(4 T, 2) shifts (T, 2) (x, y) of images that are turned back by 0 to 3 quarters.

    Where y(r) = x(r - s), y(R r) = x(R (r - R^-1 s)).
    """
    turns = torch.tensor(QUARTER_TURNS).to(shift_px)[:, :2, :2]
    return (shift_px @ turns).flatten(0, 1)  # rows times R are R^-1 s


@dataclass(frozen=True, slots=True)
class Division:
    """Some divided cells, in groups of mates.

    Attributes:
        rows: (N,) of each cell in turn.
        images: (N, 2K) and (N / T, K) that the rows bring to the products.
        log_weight: (N,) logarithm of how many cells each counts for.
        pose: (N,) of the cells.
        slices: Of m poses, eight of each group.
        rotation: (m, 3, 3) of these.
        log_prior: (m, V) of these over uniform poses, the same for all mates.
        counts: Cells in each group.
    """

    rows: Tensor
    images: tuple[Tensor, Tensor]
    log_weight: Tensor
    pose: Tensor
    slices: SliceFactors
    rotation: Tensor
    log_prior: Tensor
    counts: Sequence[int]

    def by_group(self, values: Tensor) -> tuple[Tensor, ...]:
        """Split (N, ...) or (N / T, ...) values into those of each group."""
        times = len(values) // sum(self.counts)
        sizes = [times * count for count in self.counts]
        parts: tuple[Tensor, ...] = torch.split(values, sizes)
        return parts

    def add_log_prior(self, ratio: Tensor) -> Tensor:
        """Add what is known of views to (N, 8, V) log ratios, in place."""
        each = torch.split(self.log_prior, CHILDREN)
        for part, prior in zip(self.by_group(ratio), each, strict=True):
            part += prior
        return ratio


@dataclass(frozen=True, slots=True)
class Parts:
    """P cells that are to be divided.

    Attributes:
        cells: These.
        tree: Poses and shifts.
        image: (R,) int64 image of each row.
        shift: (R,) int64 cell of its shift.
        shift_px: (R, 2) (x, y).
        log_prior: (R,) of the shift.
        rows: (P, T) of each cell, T shifts that its own divides into, 1 or 4.
        turned: Images, turned back.
        source: (P,) which of these is a cell's.
        turns: (4 S, 2K) that move turned images by each shift in use, as many quarters
            turned; none: all stay.
        turn: (R,) which of S these is a row's.
    """

    cells: Cells
    tree: PoseTree
    image: Tensor
    shift: Tensor
    shift_px: Tensor
    log_prior: Tensor
    rows: Tensor
    turned: ImageFactors
    source: Tensor
    turns: Tensor | None
    turn: Tensor

    def divisions(self, scorer: Scorer) -> Iterator[Division]:
        """Divide some groups of mates at a time."""
        mates = self.cells.pose // QUARTERS
        groups, counts = torch.unique_consecutive(mates, return_counts=True)
        first, start, each = 0, 0, counts.tolist()
        scores = self.rows.shape[1] * CHILDREN * len(scorer.manifold.latents)
        for number in _together(each, SCORES_AT_ONCE // scores):
            own = slice(start, start + sum(each[first : first + number]))
            some = groups[first : first + number]
            yield self._division(scorer, own, some, each[first : first + number])
            first, start = first + number, own.stop

    def _division(
        self, scorer: Scorer, own: slice, groups: Tensor, counts: Sequence[int]
    ) -> Division:
        """Divide the cells `own` of groups of mates."""
        cells, times = self.cells, self.rows.shape[1]
        firsts = children(groups * QUARTERS).flatten()
        rotation = self.tree.rotations(firsts, cells.level + 1)
        log_weight = cells.log_weight[own, None].expand(-1, times)
        return Division(
            rows=self.rows[own].flatten(),
            images=self._images(own),
            log_weight=log_weight.flatten(),
            pose=cells.pose[own].repeat_interleave(times),
            slices=scorer.slices(rotation),
            rotation=rotation,
            log_prior=scorer.manifold.views.log_density(rotation),
            counts=counts,
        )

    def _images(self, own: slice) -> tuple[Tensor, Tensor]:
        """Take what the rows of some cells bring to the products."""
        source = self.source[own]
        if self.turns is None:
            return self.turned.linear[source], self.turned.squares[source]
        quarter = self.cells.pose[own, None] % QUARTERS
        turn = quarter * (len(self.turns) // QUARTERS) + self.turn[self.rows[own]]
        return self.turned.moved(source, self.turns[turn])


def _together(counts: Sequence[int], most: int) -> Iterator[int]:
    """Yield how many groups of so many cells are taken at once: `most` cells or one."""
    number = total = 0
    for count in counts:
        is_full = number == SLICES_AT_ONCE // CHILDREN or total + count > most
        if number and is_full:
            yield number
            number = total = 0
        number, total = number + 1, total + count
    if number:
        yield number
