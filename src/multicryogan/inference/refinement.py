"""Refinement: expectation-maximisation of a manifold on two halves of the particles.

Each iteration weighs poses and conformations of every image (E-step) and finds the
basis volumes that explain the images best (M-step). The halves share the start,
low-passed, and the prior power of each basis volume and shell, which is what both agree
on, and the mask about the molecule; images they never share. Shells are added as far as
the halves agree.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from multicryogan.config import RefineConfig
from multicryogan.data.sampler import ImageSampler
from multicryogan.fourier import frequency_radius, shell_index
from multicryogan.imaging import ASYMMETRIC, Symmetry, symmetric_mask
from multicryogan.inference.masks import Masks, molecule, sphere
from multicryogan.inference.spacing import alike, follow
from multicryogan.inference.symmetric import in_all_poses
from multicryogan.likelihood.expectation import Examination
from multicryogan.likelihood.least_squares import from_spectrum, to_spectrum
from multicryogan.likelihood.manifold import Manifold
from multicryogan.likelihood.marginal import ImageLaw
from multicryogan.likelihood.maximisation import (
    Estimate,
    Sums,
    maximise,
    regularise,
)
from multicryogan.likelihood.poses import PoseTree
from multicryogan.likelihood.weighing import Counts, contrast_spread
from multicryogan.priors import ViewLaw
from multicryogan.progress import Progress, Report, ignore

AGREE = 0.143  # correlation of the halves' mean maps up to which shells count
AHEAD = 3  # shells beyond that are tried
ENOUGH = 0.01  # nats an image that an iteration must gain on held-out images
FINE_ITERATIONS = 4  # at least, of 8 and more: shares settle later than likelihoods


@dataclass(frozen=True, slots=True)
class State:
    """All that going on needs.

    Attributes:
        iteration: Number of iterations done.
        shell: Last shell of the next iteration.
        halves: The manifold of each half; latents, weights and pairs are shared.
        maxima: (2, C, D, D, D) basis volumes before masks and prior weighed on them.
        solvent: (D, D, D) mask that the volumes are kept in.
        tree: Poses, and shifts as wide as they were found to be.
        history: One record per iteration.
    """

    iteration: int
    shell: int
    halves: tuple[Manifold, Manifold]
    maxima: Tensor
    solvent: Tensor
    tree: PoseTree
    history: tuple[dict[str, Any], ...] = ()

    @property
    def manifold(self) -> Manifold:
        """Mean of the halves."""
        first, second = self.halves
        return dataclasses.replace(first, basis=(first.basis + second.basis) / 2)


@dataclass(frozen=True, slots=True)
class Refinement:
    """Takes one state to the next.

    Attributes:
        sampler: Reads the images at the working box.
        noise_power: (G, D//2+1) per group and shell, see `ImageLaw`.
        pixel_size: Å.
        rows: Rows of each half, and those that neither sees.
        config: Of the refinement.
        tree: Poses to begin with.
        symmetry: Of the mean, and of the motions or not.
        solvent: (D, D, D) mask that the user gives, if any; else see `RefineConfig`.
        focus: (D, D, D) mask of the motions, if any.
        contrast_spread: Of the images, to begin with; 0: all are alike.
    """

    sampler: ImageSampler
    noise_power: Tensor
    pixel_size: float
    rows: tuple[Tensor, Tensor, Tensor]
    config: RefineConfig
    tree: PoseTree
    symmetry: Symmetry = ASYMMETRIC
    solvent: Tensor | None = None
    focus: Tensor | None = None
    contrast_spread: float = 0.0

    @property
    def box(self) -> int:
        """Side of the images in pixels."""
        return self.sampler.preprocessing.box

    @property
    def last_shell(self) -> int:
        """Shell that refinement ends with."""
        return self.box // 2

    def begin(self, manifold: Manifold) -> State:
        """Low-pass a start and give it to both halves."""
        shell = min(self.config.start_shell, self.last_shell)
        masks = self.masks(manifold.basis)
        spectrum = to_spectrum(self.symmetry.impose(masks.keep(manifold.basis)))
        radius = frequency_radius(manifold.basis.shape[-1], 3, like=manifold.basis)
        basis = masks.levelled(from_spectrum(spectrum * (radius <= shell)))
        start = dataclasses.replace(manifold, basis=masks.confine(basis))
        start = start.of_contrasts(self.contrast_spread)
        maxima = torch.stack((basis, basis))
        return State(0, shell, (start, start), maxima, masks.solvent, self.tree)

    def masks(self, basis: Tensor) -> Masks:
        """Masks without a look at the data, for (C, D, D, D) volumes like these."""
        solvent = sphere(basis[0]) if self.solvent is None else self.solvent
        return Masks.around(solvent, self.focus)

    def law(self, shell: int) -> ImageLaw:
        """Law of the images up to a shell."""
        return ImageLaw(self.noise_power, self.pixel_size, shell)

    def look(
        self, manifold: Manifold, shell: int, tree: PoseTree, is_fine: bool = False
    ) -> Examination:
        """Compare images with a manifold up to a shell.

        The poses are twice as far apart as fine ones, unless these are asked for.
        """
        level = tree.fine_level(shell) - (not is_fine)
        return Examination(manifold, self.law(shell), tree, level)

    def is_fine(self, state: State) -> bool:
        """Whether poses are fine from now on.

        They are when all shells are in and images gain no more, or few iterations are
        left.
        """
        if state.history and state.history[-1]["fine"]:
            return True
        count = self.config.iterations
        few = state.iteration >= count - min(FINE_ITERATIONS, count // 2)
        is_due = few or self.is_settled(state)
        return is_due and state.shell == self.last_shell

    def is_settled(self, state: State) -> bool:
        """Whether held-out images gained no more, all shells in, on the same poses."""
        history = state.history
        reached = [
            record["held_out"]
            for record in history
            if record["shell"] == self.last_shell
            and record["fine"] == history[-1]["fine"]
        ]
        if len(reached) < 2 or reached[-1] is None:
            return False
        return bool(reached[-1] - reached[-2] < ENOUGH)

    def held_out(
        self, manifold: Manifold, shell: int, tree: PoseTree, is_fine: bool = False
    ) -> float | None:
        """Mean log-likelihood of the images that neither half sees, in nats."""
        if not len(self.rows[2]):
            return None
        look = self.look(manifold, shell, tree, is_fine)
        placement = look.place(self.sampler, self.rows[2])
        return float(placement.log_likelihood.double().mean())

    def step(self, state: State, report: Report = ignore) -> State:
        """Do one iteration."""
        start = time.monotonic()
        sums, is_fine = [], self.is_fine(state)
        for half, manifold in enumerate(state.halves):
            look = self.look(manifold, state.shell, state.tree, is_fine)
            own = look.empty_sums(self.box)
            progress = self._told(report, state, half)
            look.place(self.sampler, self.rows[half], own, progress)
            sums.append(own)
        basis, maxima, solvent, agreement = self._maximise(state, sums)
        counts = sums[0].counts + sums[1].counts
        spaced = self.by_laws(follow(state.halves[0], counts.weights), counts)
        halves = tuple(dataclasses.replace(spaced, basis=own) for own in basis)
        below = (agreement[0, 1 : state.shell + 1] < AGREE).nonzero()
        good = int(below[0]) if len(below) else state.shell
        after = State(
            iteration=state.iteration + 1,
            shell=min(max(state.shell, good + AHEAD), self.last_shell),
            halves=(halves[0], halves[1]),
            maxima=maxima,
            solvent=solvent,
            tree=self._refitted(state, counts, look.level),
            history=state.history,
        )
        record = {
            "iteration": after.iteration,
            "shell": state.shell,
            "fine": is_fine,
            "log_likelihood": [
                own.counts.log_likelihood / own.counts.images for own in sums
            ],
            "held_out": self.held_out(after.manifold, after.shell, after.tree, is_fine),
            "contrast_spread": spaced.contrast_spread,
            "shift_sigma_angstrom": after.tree.shifts.sigma_px * self.pixel_size,
            "agreement": agreement.tolist(),
            "seconds": time.monotonic() - start,
        }
        return dataclasses.replace(after, history=(*state.history, record))

    def _told(self, report: Report, state: State, half: int) -> Progress:
        """Count the images of a half among those of both."""
        name = f"iteration {state.iteration + 1} of {self.config.iterations} at most"
        before, total = (sum(map(len, self.rows[:end])) for end in (half, 2))
        return lambda done, _: report(name, before + done, total)

    def maximum(self, manifold: Manifold, sums: Sums, shell: int) -> Estimate:
        """Take the M-step of one half, before the prior weighs on it."""
        modes = self.law(shell).modes(self.box, manifold.basis)
        sums = in_all_poses(sums, manifold.pairs, self.box, self.symmetry)
        estimate = maximise(manifold, sums, modes, sphere(manifold.basis[0]))
        if self.symmetry.order == 1:
            return estimate
        volumes = self.symmetry.impose(from_spectrum(estimate.spectrum))
        return dataclasses.replace(estimate, spectrum=to_spectrum(volumes))

    def by_laws(self, manifold: Manifold, counts: Counts) -> Manifold:
        """Give a manifold the views and the contrasts that images of it showed.

        Those that are alike share what they show of their views: all of one state.
        """
        if self.config.views == "learned":
            group = self.symmetry.of_all(len(manifold.basis) - 1)
            views = ViewLaw.of_counts(counts.views, group, alike(manifold))
            manifold = manifold.seen_from(views)
        if manifold.contrast_spread > 0:
            spread = contrast_spread(counts.contrast, counts.images)
            manifold = manifold.of_contrasts(spread)
        return manifold

    def _refitted(self, state: State, counts: Counts, level: int) -> PoseTree:
        """Fit the width of the shifts to both halves, compared at a level."""
        square = float(counts.shift_square) / counts.images
        shifts = state.tree.shifts.refitted(square, level)
        return dataclasses.replace(state.tree, shifts=shifts)

    def _maximise(
        self, state: State, sums: list[Sums]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(2, C, D, D, D) new basis volumes and maxima, mask, (C, D//2+1) agreement."""
        estimates = [
            self.maximum(half, own, state.shell)
            for half, own in zip(state.halves, sums, strict=True)
        ]
        power, agreement = shared_power(estimates)
        masks = self._masks(state.halves[0].coefficients, estimates, agreement)
        basis = [weighed(estimate, power, masks) for estimate in estimates]
        maxima = [from_spectrum(estimate.spectrum) for estimate in estimates]
        return torch.stack(basis), torch.stack(maxima), masks.solvent, agreement

    def _masks(
        self, coefficients: Tensor, estimates: list[Estimate], agreement: Tensor
    ) -> Masks:
        """Masks for both halves alike, of (V, C) coefficients."""
        basis = shown_by_both(estimates, agreement)
        if self.config.mask != "auto":
            return self.masks(basis)
        drawn = molecule(torch.tensordot(coefficients, basis, 1), self.pixel_size)
        return Masks.around(symmetric_mask(drawn, self.symmetry.group), self.focus)


def shared_power(estimates: list[Estimate]) -> tuple[Tensor, Tensor]:
    """Measure what two halves agree on.

    Noise is independent in the halves: the mean of X1 conj X2 over a shell is the
    power of the signal.

    Returns:
        (C, D//2+1) power per voxel, not negative, and (C, D//2+1) correlation.
    """
    first, second = (estimate.spectrum for estimate in estimates)
    mean = estimates[0].shell_mean
    cross = mean((first * second.conj()).real)
    own = [mean(x.real.square() + x.imag.square()) for x in (first, second)]
    size = (own[0] * own[1]).sqrt()
    correlation = torch.where(size > 0, cross / size.clamp(min=1e-30), 0)
    return cross.clamp(min=0), correlation


def shown_by_both(estimates: list[Estimate], agreement: Tensor) -> Tensor:
    """(C, D, D, D) mean of two halves, weighed by their (C, D//2+1) correlation c.

    2 c / (1 + c) is the share of signal in the power of the mean.
    """
    first, second = (estimate.spectrum for estimate in estimates)
    box = first.shape[1]
    shells = shell_index(box, 3, like=agreement).clamp(max=box // 2)
    alike = agreement.clamp(min=0)
    signal = (2 * alike / (1 + alike))[:, shells]
    return from_spectrum((first + second) / 2 * signal)


def weighed(estimate: Estimate, power: Tensor, masks: Masks) -> Tensor:
    """Weigh a maximum against the prior, in the masks: (C, D, D, D).

    What lies in a mask has all the power in a part of the box.
    """
    windows = masks.windows(len(power))
    kept = windows.square().mean((1, 2, 3))
    return masks.confine(regularise(estimate, power / kept[:, None], windows))
