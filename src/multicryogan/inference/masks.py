"""Where volumes of a refinement may differ from zero, and the grey level outside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from multicryogan.config import RefineConfig
from multicryogan.data.masks import read_mask
from multicryogan.errors import InputError
from multicryogan.evaluation import solvent_mask
from multicryogan.imaging import Symmetry
from multicryogan.networks import Generator

EDGE_PX = 2.0  # of the sphere that volumes are kept in


@dataclass(frozen=True, slots=True)
class Masks:
    """What a mean and its motions are kept in.

    Attributes:
        solvent: (D, D, D) of all volumes: 1 on the molecule, 0 on the solvent.
        focus: (D, D, D) of the motions, besides: outside of it nothing moves. None:
            all may move.
    """

    solvent: Tensor
    focus: Tensor | None = None

    @staticmethod
    def around(solvent: Tensor, focus: Tensor | None) -> Masks:
        """Make the mask of the solvent hold the focus: what a user says counts."""
        wide = solvent if focus is None else torch.maximum(solvent, focus)
        return Masks(wide, focus)

    def windows(self, count: int) -> Tensor:
        """(C, D, D, D) of a mean and its motions."""
        of_motion = self.solvent if self.focus is None else self.focus * self.solvent
        return torch.stack((self.solvent, *[of_motion] * (count - 1)))

    def keep(self, basis: Tensor) -> Tensor:
        """Set (C, D, D, D) volumes to zero outside, their grey level first."""
        return self.confine(self.levelled(basis) * self.solvent)

    def levelled(self, basis: Tensor) -> Tensor:
        """Set the grey level of (C, D, D, D) volumes, which images do not show.

        It is zero on average over the solvent in the sphere in the box.
        """
        outside = (sphere(basis[0]) > 0) & (self.solvent < 1)
        level = basis[:, outside].mean(1)
        return basis - level[:, None, None, None]

    def confine(self, basis: Tensor) -> Tensor:
        """Keep the motions, (C, D, D, D) without the first, in the focus."""
        if self.focus is None:
            return basis
        return torch.cat((basis[:1], self.focus * basis[1:]))


def given_masks(
    settings: RefineConfig,
    generator: Generator,
    symmetry: Symmetry,
    box: int,
    voxel_size: float,
) -> tuple[Tensor | None, Tensor | None]:
    """Read the masks that the user gives: solvent and focus, (D, D, D) or None.

    The focus is that of the generator where no other is given.

    Raises:
        InputError: A file is no such mask, or the start has another frame.
    """
    file, focus_file, field = settings.mask_file, settings.focus_mask, box * voxel_size
    if settings.start != "generator" and (
        file is not None or focus_file or generator.focus is not None
    ):
        raise InputError(
            f"--start {settings.start}: a mask belongs to the maps of the run, and a "
            "random start lies anywhere; use --start generator"
        )
    solvent, focus = None, generator.focus
    if file is not None:
        if not Path(file).is_file():
            raise InputError(
                f"--mask {file!r} is no file; give auto, sphere or a mask (.mrc)"
            )
        solvent = read_mask(file, box, field, field, symmetry.group)
    if focus_file:
        of_motion = symmetry.group if symmetry.has_motion else "C1"
        focus = read_mask(focus_file, box, field, field, of_motion)
    if focus is not None and settings.components == 0:
        raise InputError(
            "with --components 0 nothing moves; leave the focus mask away, or give "
            "--components 1 or more"
        )
    return solvent, focus


def in_sphere(volumes: Tensor) -> Tensor:
    """Keep (C, D, D, D) volumes in the sphere in the box, and zero at its surface."""
    return Masks(sphere(volumes[0])).keep(volumes)


def sphere(like: Tensor) -> Tensor:
    """(D, D, D) soft sphere in the box: 1 inside, falling to 0 at its surface."""
    box = like.shape[-1]
    axis = torch.arange(box, device=like.device, dtype=like.dtype) - box // 2
    square = axis.square()
    radius = (square[:, None, None] + square[:, None] + square).sqrt()
    outside = ((radius - (box / 2 - EDGE_PX)) / EDGE_PX).clamp(0, 1)
    return 0.5 * (1 + torch.cos(torch.pi * outside))


def molecule(volumes: Tensor, voxel_size: float) -> Tensor:
    """Draw a mask about all that any of (V, D, D, D) conformations shows.

    They must not have been in a mask of this kind: it could then only shrink.

    Args:
        volumes: Conformations, both halves together.
        voxel_size: Å per voxel.

    Returns:
        (D, D, D) within the sphere in the box; all of it where nothing stands out yet.
    """
    whole = sphere(volumes[0])
    try:
        return whole * solvent_mask(volumes.amax(0), voxel_size)
    except InputError:
        return whole
