"""Search poses coarse to fine: few are worth a close look.

A coarse grid is compared with low shells only, where its spacing does no harm; the
cells that might hold an image are divided, and what remains is compared with all
shells. A cell is one of rotations and one of shifts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.likelihood.cells import (
    SCORES_AT_ONCE,
    SLICES_AT_ONCE,
    Cells,
    turned_shifts,
)
from multicryogan.likelihood.factors import ImageFactors, Scorer
from multicryogan.likelihood.manifold import Manifold
from multicryogan.likelihood.marginal import LEAST_LOG, PosePosterior
from multicryogan.likelihood.poses import CHILDREN, QUARTERS, PoseTree, children
from multicryogan.likelihood.thinning import Chance

# Nats below the best cell at which a cell is left out, of the first grid where finer
# modes are to tell more, and otherwise; or ...
DROP = (13.0, 9.0)
SLACK = 0.25  # ... share of the best cell, as far as a grid is too coarse for it


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


@torch.no_grad()
def search(
    cells: Cells, images: ImageFactors, scorer: Scorer, tree: PoseTree
) -> PosePosterior:
    """Compare images with the children of their cells; all other poses count nothing.

    Returns:
        The posterior over the poses and shifts of the next level.
    """
    parts = cells.divided(tree, images)
    every = _Sums.empty(len(parts.image), scorer)
    for division in parts.divisions(scorer):
        ratio = scorer.log_ratios(division.images, division.slices, division.counts)
        ratio += parts.log_prior[division.rows, None, None]
        ratio = division.add_log_prior(ratio)
        highest, where = ratio.max(1)  # (N, V)
        # All of a cell may be out of the question, from where nothing is seen.
        finite = highest.clamp(min=torch.finfo(ratio.dtype).min)
        below = ratio.sub_(finite[:, None]).clamp_(min=LEAST_LOG)
        weight = below.exp()
        mass = weight.sum(1).clamp(min=1)
        log_mass = mass.log() + division.log_weight[:, None]
        entropy = log_mass - torch.linalg.vecdot(weight, below, dim=1) / mass
        pose = children(division.pose).gather(1, where)
        own = _Sums(highest + log_mass, highest, entropy, pose)
        rows, owner = torch.unique(division.rows, return_inverse=True)
        before = torch.arange(len(rows), device=rows.device)
        owner = torch.cat((before, owner))
        both, _ = every.at(rows).and_also(own).summed(owner, len(rows))
        every.put(rows, both)
    found, winner = every.summed(parts.image, len(images))
    poses = tree.count(cells.level + 1)
    return PosePosterior(
        log_mean=found.total - math.log(poses),
        best=found.best,
        pose=found.pose,
        shift_px=parts.shift_px.to(found.total)[winner],
        entropy=found.entropy,
        poses=poses,
    )


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums over parts of the poses.

    Attributes:
        total: (n, V) logarithm of the sum of exp(log ratio).
        best: (n, V) highest log ratio.
        entropy: (n, V) of the posterior within the part.
        pose: (n, V) int64 that of the highest.
    """

    total: Tensor
    best: Tensor
    entropy: Tensor
    pose: Tensor

    @staticmethod
    def empty(count: int, scorer: Scorer) -> _Sums:
        """Start from no pose at all."""
        none = scorer.table.new_full((count, len(scorer.manifold.latents)), -torch.inf)
        zeros = torch.zeros_like(none)
        return _Sums(none, none.clone(), zeros, zeros.long())

    def at(self, rows: Tensor) -> _Sums:
        """Pick some."""
        parts = (self.total, self.best, self.entropy, self.pose)
        return _Sums(*(part[rows] for part in parts))

    def put(self, rows: Tensor, new: _Sums) -> None:
        """Put others in their place."""
        self.total[rows], self.best[rows] = new.total, new.best
        self.entropy[rows], self.pose[rows] = new.entropy, new.pose

    def and_also(self, other: _Sums) -> _Sums:
        """Put others behind these."""
        return _Sums(
            torch.cat((self.total, other.total)),
            torch.cat((self.best, other.best)),
            torch.cat((self.entropy, other.entropy)),
            torch.cat((self.pose, other.pose)),
        )

    def summed(self, owner: Tensor, count: int) -> tuple[_Sums, Tensor]:
        """Put those of each owner together.

        Args:
            owner: (n,) int64 whose part each is.
            count: Owners.

        Returns:
            The sums of each, and (count, V) int64 the part that has the highest ratio.
        """
        size = (count, self.total.shape[1])
        lowest = torch.finfo(self.total.dtype).min
        at = owner[:, None].expand_as(self.total)

        def highest(values: Tensor) -> Tensor:
            least = -1 if values.dtype == torch.int64 else lowest
            return values.new_full(size, least).scatter_reduce(0, at, values, "amax")

        peak = highest(self.total)
        mass = (self.total - peak[owner]).exp()
        whole = peak + torch.zeros_like(peak).scatter_add(0, at, mass).log()
        log_share = self.total - whole[owner].clamp(min=lowest)
        brought = log_share.exp() * (self.entropy - log_share.clamp(min=LEAST_LOG))
        best = highest(self.best)
        number = torch.arange(len(owner), device=owner.device)[:, None]
        winner = highest(
            torch.where(self.best.clamp(min=lowest) == best[owner], number, -1)
        )
        return _Sums(
            whole,
            best,
            torch.zeros_like(peak).scatter_add(0, at, brought),
            self.pose.gather(0, winner),
        ), winner


def _likely_roots(
    images: ImageFactors,
    scorer: Scorer,
    tree: PoseTree,
    drop: float,
    chance: Chance,
) -> Cells:
    """Compare images with all cells of level 0."""
    device = images.linear.device
    mates = torch.arange(0, tree.count(0), QUARTERS, device=device)
    parts = []
    for some in torch.split(mates, SLICES_AT_ONCE):
        slices = scorer.slices(tree.rotations(some, 0))
        parts.append((slices, _log_views(some, scorer.manifold, tree)))
    shifts = tree.shifts.roots.to(images.linear)
    prior = tree.shifts.log_prior(shifts, 0)
    size = (QUARTERS, -1, len(shifts), len(mates))
    scores = SLICES_AT_ONCE * len(scorer.manifold.latents) * len(shifts) * QUARTERS
    quarter = torch.arange(QUARTERS, device=device)
    turns, kept = images.turns(turned_shifts(shifts)), []
    turns = turns.view(QUARTERS, len(shifts), -1)
    every = torch.arange(len(images), device=device)
    for rows in torch.split(every, max(1, SCORES_AT_ONCE // scores)):
        of = quarter.repeat_interleave(len(rows))
        turned = images.turned(rows.repeat(QUARTERS), of)
        own = turned.moved(torch.arange(len(of), device=device), turns[of])
        columns = [
            scorer.log_ratios(own, part).add_(density).amax(2)
            for part, density in parts
        ]
        best = torch.cat(columns, dim=1).view(size).permute(1, 2, 3, 0)
        best = (best + prior[:, None, None]).flatten(1)  # (n, T M)
        reach = _reach(best.amax(1, keepdim=True), drop)
        near = best > best.amax(1, keepdim=True) - reach
        row, cell = near.nonzero(as_tuple=True)
        few, log_weight = chance.thin(0, rows[row], (best * (drop / reach))[near])
        kept.append((rows[row[few]], cell[few], log_weight))
    image, cell, log_weight = (torch.cat(part) for part in zip(*kept, strict=True))
    pose, shift = cell % tree.count(0), cell // tree.count(0)
    return Cells.sorted(0, image, pose, shift, log_weight)


def _log_views(pose: Tensor, manifold: Manifold, tree: PoseTree) -> Tensor:
    """(m, V) log density of views in cells of level 0, which are wide."""
    inside = tree.rotations(children(pose).flatten(), 1)
    density = manifold.views.log_density(inside).exp()
    return density.view(len(pose), CHILDREN, -1).mean(1).log()


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
    parts = cells.divided(tree, images)
    found: list[Tensor] = []
    for division in parts.divisions(scorer):
        ratio = scorer.log_ratios(division.images, division.slices, division.counts)
        ratio = division.add_log_prior(ratio)
        found.append(ratio.amax(2) + parts.log_prior[division.rows, None])
    best = torch.cat(found)  # (N, 8): cells and their rows, as they come
    rows = parts.rows.flatten()
    image = parts.image[rows]
    peak = best.new_full((len(images),), -torch.inf)
    peak.scatter_reduce_(0, image, best.amax(1), "amax")
    reach = _reach(peak, DROP[1])
    near = best > (peak - reach)[image, None]
    at, child = near.nonzero(as_tuple=True)
    parent = at // tree.shifts.children
    log_weight = cells.log_weight[parent]
    log_mass = best[near] * (DROP[1] / reach)[image[at]] + log_weight
    few, more = chance.thin(cells.level + 1, image[at], log_mass)
    at, log_weight = at[few], log_weight[few] + more
    pose = children(cells.pose)[parent[few], child[few]]
    shift = parts.shift[rows[at]]
    return Cells.sorted(cells.level + 1, image[at], pose, shift, log_weight)
