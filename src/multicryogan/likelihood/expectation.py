"""The E-step: a posterior for every image, block by block, and what it leaves."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.data.sampler import ImageSampler
from multicryogan.imaging import CTFParams
from multicryogan.likelihood.cells import Cells
from multicryogan.likelihood.factors import ImageFactors, Scorer
from multicryogan.likelihood.manifold import Manifold
from multicryogan.likelihood.marginal import ImageLaw
from multicryogan.likelihood.maximisation import Sums, accumulate
from multicryogan.likelihood.poses import PoseTree
from multicryogan.likelihood.posterior import Placement, place
from multicryogan.likelihood.search import likely_cells, search
from multicryogan.likelihood.thinning import SAMPLE, Chance
from multicryogan.likelihood.weighing import Counts, weigh
from multicryogan.progress import Progress, ignore

BLOCK = 2**25  # pixels of the images examined at once; a block makes all slices anew


@dataclass(frozen=True, slots=True)
class Examination:
    """Compares images with a manifold in all poses.

    Attributes:
        manifold: Conformations, on the device of the sampler.
        law: Of the images; modes up to its last shell count.
        tree: Poses.
        level: Of the poses and shifts that placements refer to.
        most: Cells that are divided for an image: more are thinned by chance.
    """

    manifold: Manifold
    law: ImageLaw
    tree: PoseTree
    level: int
    most: tuple[int, int] = SAMPLE

    def empty_sums(self, box: int) -> Sums:
        """Start sums for `place`."""
        return Sums.empty(self._scorer(box))

    def compare(self, images: Tensor, optics: CTFParams | None) -> Tensor:
        """(B, V) log mean over poses and shifts of p(y | pose, volume) / p(y | noise).

        Args:
            images: (B, D, D) raw images.
            optics: (B,) theirs, if any.
        """
        factors, cells = self._look(images, optics, torch.arange(len(images)))
        scorer = self._scorer(images.shape[-1])
        return search(cells, factors, scorer, self.tree).log_mean

    def place(
        self,
        sampler: ImageSampler,
        rows: Tensor,
        sums: Sums | None = None,
        progress: Progress = ignore,
    ) -> Placement:
        """Place the images of rows (N,), and add them to sums where given.

        Args:
            sampler: Reads the images.
            rows: (N,) of its stack.
            sums: Of `empty_sums`; changed in place.
            progress: Called with images done, none at first, and images in all.

        Returns:
            The placement, on the CPU, in the order of the rows.
        """
        box = sampler.preprocessing.box
        scorer, parts, done = self._scorer(box), [], 0
        progress(0, len(rows))
        for some in torch.split(rows, max(1, BLOCK // box**2)):
            images, cells = self._look(*sampler.take(some), some)
            found = search(cells, images, scorer, self.tree)
            placement = place(found, self.manifold.latents, self.manifold.weights)
            if sums is not None:
                accumulate(sums, cells, images, scorer, self.tree, found, placement)
            parts.append(placement)
            done += len(some)
            progress(done, len(rows))
        return Placement.join(parts)

    def count(self, sampler: ImageSampler, rows: Tensor) -> Counts:
        """Count what the images of rows (N,) say of conformation, view and shift."""
        counts = Counts.empty(self.manifold)
        scorer = self._scorer(sampler.preprocessing.box)
        images, cells = self._look(*sampler.take(rows), rows)
        found = search(cells, images, scorer, self.tree)
        placement = place(found, self.manifold.latents, self.manifold.weights)
        parts = weigh(counts, cells, images, scorer, self.tree, found, placement)
        deque(parts, maxlen=0)
        return counts

    def _look(
        self, images: Tensor, optics: CTFParams | None, rows: Tensor
    ) -> tuple[ImageFactors, Cells]:
        """Find the cells that may hold images (N, D, D); rows (N,) number them."""
        factors = ImageFactors.of(images, optics, self.law)
        chance = Chance(rows.to(factors.linear.device), self.most)
        return factors, likely_cells(
            factors, self.manifold, self.tree, self.level, chance
        )

    def _scorer(self, box: int) -> Scorer:
        return Scorer.of(self.manifold, self.law.modes(box, self.manifold.basis))
