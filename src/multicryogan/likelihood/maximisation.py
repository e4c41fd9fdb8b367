"""The M-step: basis volumes that explain images best, poses and latents weighed.

The expected log-likelihood is quadratic in the basis volumes B,

    Q(B) = Σ_k g_k B_k - 1/2 Σ_q Σ_cd ρ_cd(q) conj(B_c(q)) B_d(q) + const,

where ρ, the sum of posterior weight, squared CTF over noise power and a_vc a_vd at
each voxel q of the transform, is nearly diagonal in q. A Newton step with the exact
gradient and this ρ, within a window, solves it; what ρ leaves out, the next iteration
makes good.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from multicryogan.fourier import frequency_radius, shell_index, shell_mean
from multicryogan.imaging.projection import SliceModes
from multicryogan.imaging.slicing import Slicer
from multicryogan.likelihood.cells import Cells, Division
from multicryogan.likelihood.factors import ImageFactors, Scorer
from multicryogan.likelihood.least_squares import (
    from_spectrum,
    solve,
    through,
    to_spectrum,
)
from multicryogan.likelihood.manifold import Manifold
from multicryogan.likelihood.marginal import PosePosterior
from multicryogan.likelihood.poses import PoseTree
from multicryogan.likelihood.posterior import Placement
from multicryogan.likelihood.weighing import Counts, weigh

DAMPING = 0.1  # of the mean precision of a shell: few clear images overshoot without
TINY = 1e-12  # of the largest power: none


@dataclass(slots=True)
class Sums:
    """What the E-step leaves of the images.

    Attributes:
        gradient: (G, 2C) of Q with respect to the table of the basis.
        precision: (D * D * (D//2+1), P) ρ, both orders of a pair in one.
        counts: What they say of the laws of conformation, view and shift.
    """

    gradient: Tensor
    precision: Tensor
    counts: Counts

    @staticmethod
    def empty(scorer: Scorer) -> Sums:
        """Start from nothing."""
        box = scorer.slicer.modes.box
        pairs = scorer.manifold.pairs.shape[1]
        zeros = scorer.table.new_zeros
        return Sums(
            gradient=torch.zeros_like(scorer.table),
            precision=zeros(box * box * (box // 2 + 1), pairs),
            counts=Counts.empty(scorer.manifold),
        )


@torch.no_grad()
def accumulate(
    sums: Sums,
    cells: Cells,
    images: ImageFactors,
    scorer: Scorer,
    tree: PoseTree,
    found: PosePosterior,
    placement: Placement,
) -> None:
    """Add images, their posterior known, to the sums."""
    for division, bright, squared in weigh(
        sums.counts, cells, images, scorer, tree, found, placement
    ):
        linear, squares = division.images
        first = (bright @ scorer.manifold.coefficients).flatten(1)
        # One image under all shifts has the same squares.
        of_image = squared.view(len(squares), -1, *squared.shape[1:]).sum(1)
        second = (of_image @ scorer.quadratic).flatten(1)
        data = _products_of_groups(division, first, linear)
        seen = _products_of_groups(division, second, squares)
        _add(sums, division, data, seen, scorer)


def _products_of_groups(division: Division, weight: Tensor, factor: Tensor) -> Tensor:
    """(G s, K) weights (N, s) times factors (N, K), summed over each group."""
    pairs = zip(division.by_group(weight), division.by_group(factor), strict=True)
    return torch.cat([weight.T @ factor for weight, factor in pairs])


def _add(
    sums: Sums, division: Division, data: Tensor, seen: Tensor, scorer: Scorer
) -> None:
    """Add weighted image factors of m slices, (m C, 2K) and (m P, K)."""
    slicer, pairs = scorer.slicer, scorer.manifold.pairs
    m, modes = division.slices.count, seen.shape[-1]
    # squares = -1/2 c^2 / noise, so this is -1/2 rho, both orders of a pair in one.
    seen = seen.view(m, -1, modes)
    gradient = data.view(m, -1, 2, modes)
    values = division.slices.linear.view_as(gradient)
    for pair, (c, d) in enumerate(pairs.T.tolist()):
        gradient[:, c].addcmul_(seen[:, pair, None], values[:, d])
        gradient[:, d].addcmul_(seen[:, pair, None], values[:, c])
    flat = torch.complex(gradient[:, :, 0], gradient[:, :, 1]).mT
    slicer.insert(flat, division.rotation, sums.gradient)
    slicer.insert_nearest(-seen.mT, division.rotation, sums.precision)


@dataclass(frozen=True, slots=True)
class Estimate:
    """The unregularised maximum and its precision.

    Attributes:
        spectrum: (C, D, D, D//2+1) complex transforms (rfftn, centre at the corner).
        precision: (D, D, D//2+1, C, C) ρ.
        reach: Largest |k| in Fourier pixels that images were compared at.
    """

    spectrum: Tensor
    precision: Tensor
    reach: float = math.inf

    @property
    def seen(self) -> Tensor:
        """(D, D, D//2+1) modes within reach."""
        radius = frequency_radius(self.spectrum.shape[1], 3, like=self.spectrum.real)
        return radius <= self.reach

    def shell_mean(self, values: Tensor) -> Tensor:
        """(..., D//2+1) means of (..., D, D, D//2+1) over what images show.

        The last shell is often seen in part. One that is not seen has the mean 0.
        """
        box, seen = self.spectrum.shape[1], self.seen.to(values)
        share = shell_mean(seen, box, 3).clamp(min=1e-30)
        return shell_mean(values * seen, box, 3) / share


def maximise(
    manifold: Manifold, sums: Sums, modes: SliceModes, window: Tensor
) -> Estimate:
    """Maximise Q from the basis of the manifold.

    Args:
        manifold: That of the E-step.
        sums: What the E-step left.
        modes: That images were compared at.
        window: (D, D, D) that steps end in.
    """
    box = modes.box
    right = Slicer(modes).transpose_table(sums.gradient) / box**3
    precision = _full(sums.precision, manifold.pairs, box)
    estimate = Estimate(to_spectrum(manifold.basis), precision, modes.radius)
    shells = shell_index(box, 3, like=right).clamp(max=box // 2)
    told = precision.diagonal(dim1=-2, dim2=-1).movedim(-1, 0)
    damping = DAMPING * estimate.shell_mean(told)[:, shells].movedim(0, -1)
    damped = precision + torch.diag_embed(damping)
    shown = estimate.seen.expand(len(right), -1, -1, -1) & (shells > 0)
    step = solve(right, damped, window, shown)
    kept = shells <= round(estimate.reach)  # where it ends beyond, as well
    return replace(estimate, spectrum=kept * (estimate.spectrum + to_spectrum(step)))


def regularise(estimate: Estimate, power: Tensor, window: Tensor) -> Tensor:
    """Weigh the maximum against a Gaussian prior: (C, D, D, D) basis volumes.

    The most likely x in the window: ρ (x - x_max) + x / T = 0, T the prior variance.
    Shells without power are left empty in the end; grey levels have no prior. A window
    smears strong shells into their neighbours: where data say nothing yet, that would
    be all there is, and the same in two halves.

    Args:
        estimate: Of `maximise`.
        power: (C, D//2+1) prior variance per voxel of the transform in each shell; 0
            leaves nothing.
        window: (C, D, D, D) that the volumes end in.
    """
    box, precision = estimate.spectrum.shape[1], estimate.precision
    shells = shell_index(box, 3, like=power).clamp(max=box // 2)
    has_power = power > TINY * power.max()
    rigour = torch.where(has_power, 1 / power, 0)
    has_power[:, 0], rigour[:, 0] = has_power[:, 1], 0
    prior = torch.diag_embed(rigour[:, shells].movedim(0, -1)).to(precision)
    left = has_power[:, shells]
    shown = left & estimate.seen & (shells > 0)
    start = window * from_spectrum(estimate.spectrum * left)
    away = from_spectrum(estimate.spectrum) - start
    right = through(precision, away, estimate.seen) - through(prior, start, shown)
    found = start + solve(right, precision + prior, window, shown)
    return from_spectrum(to_spectrum(found) * left)


def own_power(estimate: Estimate) -> Tensor:
    """(C, D//2+1) power of a maximum less that of its noise, 1 / ρ."""
    power = estimate.spectrum.real.square() + estimate.spectrum.imag.square()
    precision = estimate.precision.diagonal(dim1=-2, dim2=-1).movedim(-1, 0)
    noise = 1 / estimate.shell_mean(precision).clamp(min=1e-30)
    return (estimate.shell_mean(power) - noise).clamp(min=0)


def _full(precision: Tensor, pairs: Tensor, box: int) -> Tensor:
    """(D, D, D//2+1, C, C) symmetric matrices of (voxels, P) pair sums."""
    count = int(pairs.max()) + 1
    matrix = precision.new_zeros(len(precision), count, count)
    for pair, (c, d) in enumerate(pairs.T.tolist()):
        value = precision[:, pair] / (1 if c == d else 2)
        matrix[:, c, d] = matrix[:, d, c] = value
    return matrix.view(box, box, box // 2 + 1, count, count)
