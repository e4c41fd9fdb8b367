"""Search poses coarse to fine: few are worth a close look.

A coarse grid is compared with low shells only, where its spacing does no harm; the
cells that might hold an image are divided, and what remains is compared with all
shells. A cell is one of rotations and one of shifts; an image under one shift is a row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.likelihood.factors import ImageFactors, Scorer, SliceFactors
from multicryogan.likelihood.manifold import Manifold
from multicryogan.likelihood.marginal import LEAST_LOG, PosePosterior
from multicryogan.likelihood.poses import CHILDREN, PoseTree

# Nats below the best cell at which a cell is left out, of the first grid where finer
# modes are to tell more, and otherwise; or ...
DROP = (13.0, 9.0)
SLACK = 0.25  # ... share of the best cell, as far as a grid is too coarse for it
MOST_CELLS = 1_024  # of one image that are divided
SLICES_AT_ONCE = 64
SCORES_AT_ONCE = 2**21  # of image, pose and conformation


@dataclass(frozen=True, slots=True)
class Rows:
    """Images under the shifts that are worth a look.

    Attributes:
        image: (R,) int64 image of each row.
        cell: (R,) int64 cell of its shift.
        shift_px: (R, 2) (x, y).
        log_prior: (R,) of the shift.
        are_still: Whether every row is an image in its place.
    """

    image: Tensor
    cell: Tensor
    shift_px: Tensor
    log_prior: Tensor
    are_still: bool

    def factors(self, images: ImageFactors, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Take what rows (n,) bring to the products."""
        moves = None if self.are_still else self.shift_px[rows]
        return images.moved(self.image[rows], moves)


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells of one level that may hold an image, sorted by pose.

    Attributes:
        level: Of poses and shifts.
        image: (P,) int64.
        pose: (P,) int64.
        shift: (P,) int64 cell of the shift.
    """

    level: int
    image: Tensor
    pose: Tensor
    shift: Tensor

    def first(self, images: int) -> Cells:
        """Keep the cells of so many images."""
        kept = self.image < images
        return Cells(self.level, self.image[kept], self.pose[kept], self.shift[kept])

    def divided(self, tree: PoseTree) -> tuple[Rows, Tensor]:
        """List the rows of the next level, and those (P, 1 or 4) of each cell."""
        shifts, count = tree.shifts, tree.shifts.children
        key = self.image * shifts.count(self.level) + self.shift
        unique, row = torch.unique(key, return_inverse=True)
        corner = torch.arange(count, device=key.device)
        parent = unique % shifts.count(self.level)
        cell = (parent[:, None] * count + corner).flatten()
        moved = shifts.shifts(cell, self.level + 1)
        rows = Rows(
            image=(unique // shifts.count(self.level)).repeat_interleave(count),
            cell=cell,
            shift_px=moved,
            log_prior=shifts.log_prior(moved, self.level + 1),
            are_still=count == 1,
        )
        return rows, row[:, None] * count + corner


@dataclass(frozen=True, slots=True)
class Division:
    """Some divided cells: their children's slices, and the rows of each cell.

    Attributes:
        poses: (m,) of the next level, eight of each cell.
        rotation: (m, 3, 3) of these.
        slices: Of these.
        log_prior: (m, V) of these, over uniform poses.
        rows: Per cell the (n,) rows that it may hold, each once.
    """

    poses: Tensor
    rotation: Tensor
    slices: SliceFactors
    log_prior: Tensor
    rows: tuple[Tensor, ...]

    def cells(self) -> Iterator[tuple[slice, Tensor, SliceFactors]]:
        """Yield which slices are a cell's, its rows, and its slices."""
        for k, rows in enumerate(self.rows):
            own = slice(k * CHILDREN, (k + 1) * CHILDREN)
            yield own, rows, self.slices.part(own.start, CHILDREN)


@torch.no_grad()
def likely_cells(
    images: ImageFactors, manifold: Manifold, tree: PoseTree, levels: int
) -> Cells:
    """Find the cells of level `levels` - 1 that are worth dividing.

    A cell counts by the conformation that suits it best.
    """
    coarse = images.up_to(tree.shell(0))
    drop = DROP[len(coarse.modes.frequency) == len(images.modes.frequency)]
    cells = _likely_roots(coarse, Scorer.of(manifold, coarse.modes), tree, drop)
    for level in range(1, levels):
        some = images.up_to(tree.shell(level))
        cells = _likely_children(cells, some, Scorer.of(manifold, some.modes), tree)
    return cells


def divide(
    cells: Cells, rows: Tensor, scorer: Scorer, tree: PoseTree
) -> Iterator[Division]:
    """Take the slices of the children of cells, some cells at a time.

    Args:
        cells: P of them.
        rows: (P, 1 or 4) as of `Cells.divided`.
        scorer: Of the manifold.
        tree: Poses.
    """
    parents, counts = torch.unique_consecutive(cells.pose, return_counts=True)
    per_cell = torch.split(rows, counts.tolist())
    corner = torch.arange(CHILDREN, device=parents.device)
    together = SLICES_AT_ONCE // CHILDREN
    for start in range(0, len(parents), together):
        some = slice(start, start + together)
        poses = (parents[some, None] * CHILDREN + corner).flatten()
        rotation = tree.rotations(poses, cells.level + 1)
        own = tuple(part.flatten() for part in per_cell[some])
        log_prior = scorer.manifold.views.log_density(rotation)
        yield Division(poses, rotation, scorer.slices(rotation), log_prior, own)


@torch.no_grad()
def search(
    cells: Cells, images: ImageFactors, scorer: Scorer, tree: PoseTree
) -> PosePosterior:
    """Compare images with the children of their cells; all other poses count nothing.

    Returns:
        The posterior over the poses and shifts of the next level.
    """
    rows, own_rows = cells.divided(tree)
    size = (len(rows.image), len(scorer.manifold.latents))
    total = images.linear.new_full(size, -torch.inf)
    best, entropy = total.clone(), torch.zeros_like(total)
    pose = torch.zeros(size, dtype=torch.int64, device=total.device)
    for division in divide(cells, own_rows, scorer, tree):
        for own, row, slices in division.cells():
            ratio = scorer.log_ratios(rows.factors(images, row), slices)
            ratio += rows.log_prior[row, None, None] + division.log_prior[own]
            highest, where = ratio.max(1)  # (n, V)
            here = division.poses[own][where]
            pose[row] = torch.where(highest > best[row], here, pose[row])
            best[row] = torch.maximum(best[row], highest)
            after = ratio.logsumexp(1)
            own_entropy = torch.special.entr((ratio - after[:, None]).exp()).sum(1)
            both = torch.logaddexp(total[row], after)
            entropy[row] = _shared(total[row] - both, entropy[row]) + _shared(
                after - both, own_entropy
            )
            total[row] = both
    count = tree.count(cells.level + 1)
    return _by_image(rows, total, best, entropy, pose, len(images), count)


def _shared(log_share: Tensor, entropy: Tensor) -> Tensor:
    """Entropy that a part with a share of the whole brings to it."""
    return log_share.exp() * (entropy - log_share.clamp(min=LEAST_LOG))


def _by_image(
    rows: Rows,
    total: Tensor,
    best: Tensor,
    entropy: Tensor,
    pose: Tensor,
    images: int,
    poses: int,
) -> PosePosterior:
    """Put the rows of each image together; see `search`."""
    image = rows.image[:, None].expand_as(total)
    size = (images, total.shape[1])

    def highest(values: Tensor) -> Tensor:
        lowest = -1 if values.dtype == torch.int64 else -torch.inf
        return values.new_full(size, lowest).scatter_reduce(0, image, values, "amax")

    peak = highest(total)
    mass = (total - peak[rows.image]).exp()
    summed = torch.zeros_like(peak).scatter_add(0, image, mass)
    whole = peak + summed.log()
    own = _shared(total - whole[rows.image], entropy)
    top = highest(best)
    number = torch.arange(len(total), device=total.device)[:, None]
    winner = highest(torch.where(best == top[rows.image], number, -1))  # (B, V)
    return PosePosterior(
        log_mean=whole - math.log(poses),
        best=top,
        pose=pose.gather(0, winner),
        shift_px=rows.shift_px.to(total)[winner],
        entropy=torch.zeros_like(peak).scatter_add(0, image, own),
        poses=poses,
    )


def _likely_roots(
    images: ImageFactors, scorer: Scorer, tree: PoseTree, drop: float
) -> Cells:
    """Compare images with all cells of level 0."""
    device = images.linear.device
    every = torch.arange(tree.count(0), device=device)
    parts, views = [], scorer.manifold.views
    for some in torch.split(every, SLICES_AT_ONCE):
        rotation = tree.rotations(some, 0)
        parts.append((scorer.slices(rotation), views.log_density(rotation)))
    shifts = tree.shifts.roots.to(images.linear)
    prior = tree.shifts.log_prior(shifts, 0)
    count, conformations = len(shifts), len(scorer.manifold.latents)
    block = max(1, SCORES_AT_ONCE // (SLICES_AT_ONCE * conformations * count))
    kept = []
    for rows in torch.split(torch.arange(len(images), device=device), block):
        moves = shifts.repeat(len(rows), 1) if tree.shifts.children > 1 else None
        linear, _ = images.moved(rows.repeat_interleave(count), moves)
        own = (linear, images.squares[rows])
        columns = [
            scorer.log_ratios(own, part).add_(density).amax(2)
            for part, density in parts
        ]
        best = torch.cat(columns, dim=1).view(len(rows), count, -1)
        best = best.add_(prior[:, None]).flatten(1)  # (n, T M)
        least = _least(best.amax(1, keepdim=True), drop)
        value, cell = best.topk(min(MOST_CELLS, int((best > least).sum(1).max())), 1)
        near = value > least
        kept.append((rows[:, None].expand_as(cell)[near], cell[near]))
    image, cell = (torch.cat(part) for part in zip(*kept, strict=True))
    return _sorted(0, image, cell % len(every), cell // len(every))


def _least(best: Tensor, drop: float) -> Tensor:
    """Log ratio that a cell must reach beside the best one of its image."""
    return best - (SLACK * best).clamp(min=drop)


def _likely_children(
    cells: Cells, images: ImageFactors, scorer: Scorer, tree: PoseTree
) -> Cells:
    """Divide cells and keep the children that may hold an image."""
    rows, own_rows = cells.divided(tree)
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for division in divide(cells, own_rows, scorer, tree):
        for own, row, slices in division.cells():
            ratio = scorer.log_ratios(rows.factors(images, row), slices)
            ratio += division.log_prior[own]
            best = ratio.amax(2) + rows.log_prior[row, None]
            pose = division.poses[own].expand_as(best)
            found.append((row[:, None].expand_as(best), pose, best))
    row, pose, best = (
        torch.cat([part.flatten() for part in parts])
        for parts in zip(*found, strict=True)
    )
    image = rows.image[row]
    peak = best.new_full((len(images),), -torch.inf)
    peak.scatter_reduce_(0, image, best, "amax")
    kept = best > _least(peak, DROP[1])[image]
    shift = rows.cell[row]
    return _sorted(cells.level + 1, image[kept], pose[kept], shift[kept])


def _sorted(level: int, image: Tensor, pose: Tensor, shift: Tensor) -> Cells:
    order = pose.argsort(stable=True)
    return Cells(level, image[order], pose[order], shift[order])
