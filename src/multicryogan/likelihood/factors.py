"""The two sides of the matrix products: images, and slices of a manifold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.imaging import CTFParams
from multicryogan.imaging.projection import SliceModes, centre_phase
from multicryogan.imaging.slicing import Slicer
from multicryogan.likelihood.manifold import Manifold
from multicryogan.likelihood.marginal import ImageLaw, image_factors
from multicryogan.likelihood.quarter_turns import QuarterTurns


@dataclass(frozen=True, slots=True)
class ImageFactors:
    """What B images bring to the products: see `likelihood.image_factors`.

    Attributes:
        modes: K of them.
        linear: (B, 2K) real and imaginary parts, counted from the centre pixel.
        squares: (B, K).
    """

    modes: SliceModes
    linear: Tensor
    squares: Tensor

    @staticmethod
    def of(images: Tensor, optics: CTFParams | None, law: ImageLaw) -> ImageFactors:
        """Take the factors of (B, D, D) images at all modes of their law."""
        modes = law.modes(images.shape[-1], images)
        count = len(modes.frequency)
        both = image_factors(images, optics, law, modes)
        real, imaginary, squares = torch.split(both, count, 1)
        phase = centre_phase(modes, images)
        # Times the conjugate.
        first = real * phase.real + imaginary * phase.imag
        second = imaginary * phase.real - real * phase.imag
        linear = torch.cat((first, second), dim=1)
        return ImageFactors(modes, linear, squares.contiguous())

    def up_to(self, shell: int) -> ImageFactors:
        """Keep the modes |k| <= shell."""
        frequency = self.modes.frequency
        kept = (frequency.square().sum(1) <= shell**2).nonzero()[:, 0]
        if len(kept) == len(frequency):
            return self
        both = torch.cat((kept, kept + len(frequency)))
        modes = SliceModes(self.modes.box, frequency[kept])
        return ImageFactors(modes, self.linear[:, both], self.squares[:, kept])

    def turned(self, rows: Tensor, quarter: Tensor) -> ImageFactors:
        """Take images (n,), turned back in the plane by quarters (n,)."""
        turns = QuarterTurns.of(self.modes, self.linear)
        linear, squares = self.linear[rows], self.squares[rows]
        return ImageFactors(self.modes, *turns.turned(linear, squares, quarter))

    def turns(self, shift_px: Tensor) -> Tensor:
        """(n, 2K) cosines and sines that move images back by shifts (n, 2) (x, y)."""
        # y(r) = x(r - s) has the transform exp(-2 pi i k s / D) X(k).
        frequency = self.modes.frequency.flip(1).to(self.linear)
        angle = shift_px.to(frequency) @ frequency.T * (2 * math.pi / self.modes.box)
        return torch.cat((angle.cos(), angle.sin()), dim=1)

    def moved(self, rows: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
        """(n T, 2K) and (n, K) of images (n,), each under T shifts in turn.

        Args:
            rows: (n,) of the images.
            turns: (n or 1, T, 2K) as of `turns`.
        """
        real, imaginary = self.linear[rows, None].chunk(2, dim=-1)
        cosine, sine = turns.chunk(2, dim=-1)
        turned = turns.new_empty(len(rows), *turns.shape[1:])
        first, second = turned.chunk(2, dim=-1)
        torch.mul(real, cosine, out=first).addcmul_(imaginary, sine, value=-1)
        torch.mul(real, sine, out=second).addcmul_(imaginary, cosine)
        return turned.flatten(0, 1), self.squares[rows]

    def __len__(self) -> int:
        """Count the images."""
        return len(self.linear)


@dataclass(frozen=True, slots=True)
class SliceFactors:
    """What m slices of the C basis volumes of a manifold bring.

    Attributes:
        count: m.
        linear: (m C, 2K) real and imaginary parts.
        products: (m P, K) Re(S_c conj S_d) of the pairs.
    """

    count: int
    linear: Tensor
    products: Tensor


@dataclass(frozen=True, slots=True)
class Scorer:
    """Log ratios of images and conformations of a manifold, at some modes."""

    manifold: Manifold
    slicer: Slicer
    table: Tensor
    quadratic: Tensor  # (V, P) of the manifold

    @staticmethod
    def of(manifold: Manifold, modes: SliceModes) -> Scorer:
        """Prepare the basis volumes."""
        slicer = Slicer(modes)
        table = slicer.table(manifold.basis)
        return Scorer(manifold, slicer, table, manifold.quadratic)

    def slices(self, rotation: Tensor) -> SliceFactors:
        """Take slices at (m, 3, 3) rotations."""
        values = self.slicer.sample(self.table, rotation)
        # (m, C, K) each.
        real, imaginary = values.real.mT.contiguous(), values.imag.mT.contiguous()
        first, second = self.manifold.pairs
        products = real[:, first] * real[:, second]
        products.addcmul_(imaginary[:, first], imaginary[:, second])
        linear = torch.cat((real, imaginary), dim=-1)
        return SliceFactors(len(rotation), linear.flatten(0, 1), products.flatten(0, 1))

    def log_ratios(
        self,
        images: tuple[Tensor, Tensor],
        at: SliceFactors,
        counts: Sequence[int] | None = None,
    ) -> Tensor:
        """(n T, m, V) log p(y | pose, conformation) / p(y | noise).

        With L = Σ 2 Re(conj(c y) S) / 2σ² and Q = Σ c² |S|² / σ², an image of contrast
        s has s L - s² Q / 2; under a Gaussian s of mean 1 and variance τ² that is

            (τ² L² + 2 L - Q) / 2 A - log(A) / 2,  A = 1 + τ² Q

        Args:
            images: (n T, 2K) and (n, K) as of `ImageFactors.moved`.
            at: Slices: m for all images, or for each group of images its own m.
            counts: How many of the n images are of each group; none: one group.

        Returns:
            (n T, m, V).
        """
        return self._integral(*self._products(images, at, counts)).flatten(0, 1)

    def moments(
        self,
        images: tuple[Tensor, Tensor],
        at: SliceFactors,
        counts: Sequence[int] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(n T, m, V) each: log ratios, and the posterior means of s and s².

        The contrast s, pose and conformation given, is Gaussian with the mean
        (1 + τ² L) / A and the variance τ² / A: see `log_ratios`.

        Args:
            images: (n T, 2K) and (n, K) as of `ImageFactors.moved`.
            at: As of `log_ratios`.
            counts: As of `log_ratios`.
        """
        linear, square = self._products(images, at, counts)
        variance = self.manifold.contrast_spread**2
        whole = 1 - 2 * variance * square
        mean = (variance * linear).add_(1).div_(whole)
        found = (self._integral(linear, square), mean, mean.square() + variance / whole)
        ratio, first, second = (part.flatten(0, 1) for part in found)
        return ratio, first, second

    def _integral(self, linear: Tensor, square: Tensor) -> Tensor:
        """Log ratios of L, changed in place, and -Q / 2: see `log_ratios`."""
        variance = self.manifold.contrast_spread**2
        if variance == 0:
            return linear.add_(square)
        whole = 1 - 2 * variance * square  # A
        curved = linear.square().mul_(variance / 2).add_(linear)
        return curved.add_(square).div_(whole).sub_(whole.log().div_(2))

    def _products(
        self,
        images: tuple[Tensor, Tensor],
        at: SliceFactors,
        counts: Sequence[int] | None,
    ) -> tuple[Tensor, Tensor]:
        """(n, T, m, V) L and (n, 1, m, V) -Q / 2, which no shift changes."""
        counts = counts or [len(images[1])]
        m = at.count // len(counts)
        linear = by_groups(images[0], at.linear, counts)
        square = by_groups(images[1], at.products, counts)
        linear = linear.view(len(images[1]), -1, m, linear.shape[1] // m)
        square = square.view(len(images[1]), 1, m, square.shape[1] // m)
        return linear @ self.manifold.coefficients.T, square @ self.quadratic.T


def by_groups(images: Tensor, slices: Tensor, counts: Sequence[int]) -> Tensor:
    """(N, s) products of images (N, K), group by group, with the slices of each.

    Args:
        images: (N, K); N is a multiple of the sum of the counts.
        slices: (G s, K).
        counts: G numbers, in the ratio of the images of each group.
    """
    times = len(images) // sum(counts)
    each = len(slices) // len(counts)
    out = images.new_empty(len(images), each)
    first = 0
    for group, own in enumerate(torch.split(slices, each)):
        last = first + times * counts[group]
        torch.mm(images[first:last], own.T, out=out[first:last])
        first = last
    return out
