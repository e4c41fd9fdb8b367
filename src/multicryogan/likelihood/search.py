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
from multicryogan.likelihood.thinning import Chance

# Nats below the best cell at which a cell is left out, of the first grid where finer
# modes are to tell more, and otherwise; or ...
DROP = (13.0, 9.0)
SLACK = 0.25  # ... share of the best cell, as far as a grid is too coarse for it
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
        together: Rows that stand together, one image under the shifts of one cell.
        images: What is moved.
        turns: (T, 2K) that move the images by each shift in use; none: all stay.
        turn: (R,) which of these is a row's.
    """

    image: Tensor
    cell: Tensor
    shift_px: Tensor
    log_prior: Tensor
    together: int
    images: ImageFactors
    turns: Tensor | None
    turn: Tensor

    def factors(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Take what rows (n,), each with those beside it, bring to the products."""
        first = self.image[rows[:: self.together]]
        if self.turns is None:
            return self.images.linear[first], self.images.squares[first]
        turns = self.turns[self.turn[rows].view(-1, self.together)]
        return self.images.moved(first, turns)


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

    def divided(self, tree: PoseTree, images: ImageFactors) -> tuple[Rows, Tensor]:
        """List the rows of the next level, and those (P, 1 or 4) of each cell."""
        shifts, count = tree.shifts, tree.shifts.children
        key = self.image * shifts.count(self.level) + self.shift
        unique, row = torch.unique(key, return_inverse=True)
        corner = torch.arange(count, device=key.device)
        parent = unique % shifts.count(self.level)
        cell = (parent[:, None] * count + corner).flatten()
        in_use, turn = torch.unique(cell, return_inverse=True)
        places = shifts.shifts(in_use, self.level + 1)
        moved = places[turn]
        rows = Rows(
            image=(unique // shifts.count(self.level)).repeat_interleave(count),
            cell=cell,
            shift_px=moved,
            log_prior=shifts.log_prior(moved, self.level + 1),
            together=count,
            images=images,
            turns=images.turns(places) if count > 1 else None,
            turn=turn,
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
        log_weight: Per cell the (n,) logarithm of how many cells it counts for.
    """

    poses: Tensor
    rotation: Tensor
    slices: SliceFactors
    log_prior: Tensor
    rows: tuple[Tensor, ...]
    log_weight: tuple[Tensor, ...]

    def cells(self) -> Iterator[tuple[slice, Tensor, Tensor, SliceFactors]]:
        """Yield which slices are a cell's, its rows, their weights, and its slices."""
        each = zip(self.rows, self.log_weight, strict=True)
        for k, (rows, log_weight) in enumerate(each):
            own = slice(k * CHILDREN, (k + 1) * CHILDREN)
            yield own, rows, log_weight, self.slices.part(own.start, CHILDREN)


@torch.no_grad()
def likely_cells(
    images: ImageFactors,
    manifold: Manifold,
    tree: PoseTree,
    levels: int,
    chance: Chance,
) -> Cells:
    """Find the cells of level `levels` - 1 that are worth dividing.

    A cell counts by the conformation that suits it best.

    Args:
        images: All modes of B images.
        manifold: Conformations.
        tree: Poses and shifts.
        levels: Divisions.
        chance: How cells are thinned out.
    """
    coarse = images.up_to(tree.shell(0))
    drop = DROP[len(coarse.modes.frequency) == len(images.modes.frequency)]
    scorer = Scorer.of(manifold, coarse.modes)
    cells = _likely_roots(coarse, scorer, tree, drop, chance)
    for level in range(1, levels):
        some = images.up_to(tree.shell(level))
        scorer = Scorer.of(manifold, some.modes)
        cells = _likely_children(cells, some, scorer, tree, chance)
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
    each = cells.log_weight[:, None].expand_as(rows)
    log_weight = torch.split(each, counts.tolist())
    corner = torch.arange(CHILDREN, device=parents.device)
    together = SLICES_AT_ONCE // CHILDREN
    for start in range(0, len(parents), together):
        some = slice(start, start + together)
        poses = (parents[some, None] * CHILDREN + corner).flatten()
        rotation = tree.rotations(poses, cells.level + 1)
        own = tuple(part.flatten() for part in per_cell[some])
        weighs = tuple(part.flatten() for part in log_weight[some])
        log_prior = scorer.manifold.views.log_density(rotation)
        slices = scorer.slices(rotation)
        yield Division(poses, rotation, slices, log_prior, own, weighs)


@torch.no_grad()
def search(
    cells: Cells, images: ImageFactors, scorer: Scorer, tree: PoseTree
) -> PosePosterior:
    """Compare images with the children of their cells; all other poses count nothing.

    Returns:
        The posterior over the poses and shifts of the next level.
    """
    rows, own_rows = cells.divided(tree, images)
    size = (len(rows.image), len(scorer.manifold.latents))
    total = images.linear.new_full(size, -torch.inf)
    best, entropy = total.clone(), torch.zeros_like(total)
    pose = torch.zeros(size, dtype=torch.int64, device=total.device)
    for division in divide(cells, own_rows, scorer, tree):
        for own, row, log_weight, slices in division.cells():
            ratio = scorer.log_ratios(rows.factors(row), slices)
            ratio += rows.log_prior[row, None, None] + division.log_prior[own]
            highest, where = ratio.max(1)  # (n, V)
            here = division.poses[own][where]
            pose[row] = torch.where(highest > best[row], here, pose[row])
            best[row] = torch.maximum(best[row], highest)
            # All of a cell may be out of the question, from where nothing is seen.
            finite = highest.clamp(min=torch.finfo(ratio.dtype).min)
            below = ratio.sub_(finite[:, None]).clamp_(min=LEAST_LOG)
            weight = below.exp()
            mass = weight.sum(1).clamp(min=1)
            log_mass = mass.log() + log_weight[:, None]
            own_entropy = log_mass - torch.linalg.vecdot(weight, below, dim=1) / mass
            after = highest + log_mass
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
    images: ImageFactors,
    scorer: Scorer,
    tree: PoseTree,
    drop: float,
    chance: Chance,
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
    turns, kept = images.turns(shifts)[None], []
    for rows in torch.split(torch.arange(len(images), device=device), block):
        own = images.moved(rows, turns)
        columns = [
            scorer.log_ratios(own, part).add_(density).amax(2)
            for part, density in parts
        ]
        best = torch.cat(columns, dim=1).view(len(rows), count, -1)
        best = best.add_(prior[:, None]).flatten(1)  # (n, T M)
        reach = _reach(best.amax(1, keepdim=True), drop)
        near = best > best.amax(1, keepdim=True) - reach
        row, cell = near.nonzero(as_tuple=True)
        few, log_weight = chance.thin(0, rows[row], (best * (drop / reach))[near])
        kept.append((rows[row[few]], cell[few], log_weight))
    image, cell, log_weight = (torch.cat(part) for part in zip(*kept, strict=True))
    pose, shift = cell % len(every), cell // len(every)
    return _sorted(0, image, pose, shift, log_weight)


def _reach(best: Tensor, drop: float) -> Tensor:
    """Nats below the best cell of an image at which cells may still hold it.

    Where that is more than `drop`, grids are too coarse for an image so clear: chance
    is to count its cells as no further apart than this.
    """
    return (SLACK * best).clamp(min=drop)


def _likely_children(
    cells: Cells, images: ImageFactors, scorer: Scorer, tree: PoseTree, chance: Chance
) -> Cells:
    """Divide cells and keep the children that may hold an image."""
    rows, own_rows = cells.divided(tree, images)
    parts: list[Tensor] = []
    for division in divide(cells, own_rows, scorer, tree):
        for own, row, _, slices in division.cells():
            ratio = scorer.log_ratios(rows.factors(row), slices)
            ratio += division.log_prior[own]
            parts.append(ratio.amax(2) + rows.log_prior[row, None])
    best = torch.cat(parts)  # (N, 8): cells and their rows, as they come
    image = rows.image[own_rows.flatten()]
    peak = best.new_full((len(images),), -torch.inf)
    peak.scatter_reduce_(0, image, best.amax(1), "amax")
    reach = _reach(peak, DROP[1])
    near = best > (peak - reach)[image, None]
    at, child = near.nonzero(as_tuple=True)
    log_weight = cells.log_weight[at // tree.shifts.children]
    log_mass = best[near] * (DROP[1] / reach)[image[at]] + log_weight
    few, more = chance.thin(cells.level + 1, image[at], log_mass)
    at, child, log_weight = at[few], child[few], log_weight[few] + more
    pose = cells.pose[at // tree.shifts.children] * CHILDREN + child
    shift = rows.cell[own_rows.flatten()[at]]
    return _sorted(cells.level + 1, image[at], pose, shift, log_weight)


def _sorted(
    level: int, image: Tensor, pose: Tensor, shift: Tensor, log_weight: Tensor
) -> Cells:
    order = pose.argsort(stable=True)
    parts = (part[order] for part in (image, pose, shift, log_weight))
    return Cells(level, *parts)
