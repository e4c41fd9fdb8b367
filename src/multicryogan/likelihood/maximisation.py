"""The M-step: basis volumes that explain images best, poses and latents weighed.

The expected log-likelihood is quadratic in the basis volumes B,

    Q(B) = Σ_k g_k B_k - 1/2 Σ_q Σ_cd ρ_cd(q) conj(B_c(q)) B_d(q) + const,

where ρ, the sum of posterior weight, squared CTF over noise power and a_vc a_vd at
each voxel q of the transform, is nearly diagonal in q. One Newton step with the exact
gradient and this ρ solves it; what ρ leaves out, the next iteration makes good.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from multicryogan.fourier import (
    centre_to_corner,
    corner_to_centre,
    frequency_radius,
    shell_index,
    shell_mean,
)
from multicryogan.imaging.projection import SliceModes
from multicryogan.imaging.slicing import Slicer
from multicryogan.likelihood.cells import Cells, Division
from multicryogan.likelihood.factors import ImageFactors, Scorer
from multicryogan.likelihood.manifold import Manifold
from multicryogan.likelihood.marginal import PosePosterior
from multicryogan.likelihood.poses import PoseTree
from multicryogan.likelihood.posterior import Placement
from multicryogan.likelihood.weighing import Counts, weigh

RIDGE = 0.1  # of the mean precision of a shell: without it steps overshoot in gaps


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


def maximise(manifold: Manifold, sums: Sums, modes: SliceModes) -> Estimate:
    """Take one Newton step from the basis of the manifold."""
    box, slicer = modes.box, Slicer(modes)
    step = to_spectrum(slicer.transpose_table(sums.gradient)) / box**3
    precision = _full(sums.precision, manifold.pairs, box)
    before = Estimate(to_spectrum(manifold.basis), precision, modes.radius)
    seen = before.seen
    seen[0, 0, 0] = False  # grey levels of images are arbitrary
    trace = precision.diagonal(dim1=-2, dim2=-1).movedim(-1, 0)  # (C, D, D, H)
    shells = shell_index(box, 3, like=step.real).clamp(max=box // 2)
    ridge = (RIDGE * before.shell_mean(trace)[:, shells]).movedim(0, -1)
    ridge = torch.where(seen[..., None], ridge, 1.0)
    system = precision + torch.diag_embed(ridge)
    right = step.movedim(0, -1)[..., None]
    solved = torch.linalg.solve(system.to(right), right)[..., 0].movedim(-1, 0)
    return replace(before, spectrum=(before.spectrum + solved) * seen)


def regularise(estimate: Estimate, power: Tensor) -> Tensor:
    """Weigh the maximum against a Gaussian prior: (C, D, D, D) basis volumes.

    x = (1 + T ρ)^-1 T ρ x_max, T the prior variance.

    Args:
        estimate: Of `maximise`.
        power: (C, D//2+1) prior variance per voxel of the transform in each shell; 0
            leaves nothing.
    """
    box = estimate.spectrum.shape[1]
    shells = shell_index(box, 3, like=power).clamp(max=box // 2)
    power = power[:, shells] * estimate.seen  # (C, D, D, H)
    # Where a few views show a voxel, T ρ is large and of low rank: 1 + T ρ may be
    # singular in single precision.
    gain = power.movedim(0, -1)[..., None] * estimate.precision.double()
    spectrum = torch.view_as_real(estimate.spectrum.movedim(0, -1).contiguous())
    system = torch.eye(len(power)).to(gain) + gain
    solved = torch.linalg.solve(system, gain @ spectrum.double()).contiguous()
    return from_spectrum(
        torch.view_as_complex(solved).movedim(-1, 0).to(estimate.spectrum)
    )


def own_power(estimate: Estimate) -> Tensor:
    """(C, D//2+1) power of a maximum less that of its noise, 1 / ρ."""
    power = estimate.spectrum.real.square() + estimate.spectrum.imag.square()
    precision = estimate.precision.diagonal(dim1=-2, dim2=-1).movedim(-1, 0)
    noise = 1 / estimate.shell_mean(precision).clamp(min=1e-30)
    return (estimate.shell_mean(power) - noise).clamp(min=0)


def from_spectrum(spectrum: Tensor) -> Tensor:
    """(C, D, D, D) volumes of (C, D, D, D//2+1) transforms."""
    box = spectrum.shape[1]
    volumes: Tensor = torch.fft.irfftn(spectrum, s=(box,) * 3, dim=(-3, -2, -1))
    return corner_to_centre(volumes, 3)


def _full(precision: Tensor, pairs: Tensor, box: int) -> Tensor:
    """(D, D, D//2+1, C, C) symmetric matrices of (voxels, P) pair sums."""
    count = int(pairs.max()) + 1
    matrix = precision.new_zeros(len(precision), count, count)
    for pair, (c, d) in enumerate(pairs.T.tolist()):
        value = precision[:, pair] / (1 if c == d else 2)
        matrix[:, c, d] = matrix[:, d, c] = value
    return matrix.view(box, box, box // 2 + 1, count, count)


def to_spectrum(volumes: Tensor) -> Tensor:
    """(C, D, D, D//2+1) rfftn, the centre at the corner."""
    spectrum: Tensor = torch.fft.rfftn(centre_to_corner(volumes, 3), dim=(-3, -2, -1))
    return spectrum
