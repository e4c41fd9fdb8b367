"""Start from what is known: a map, and the poses of the particle file with it."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from multicryogan.config import GeneratorConfig
from multicryogan.data.masks import read_mask
from multicryogan.errors import InputError
from multicryogan.fourier import frequency_radius, resampling_matrix
from multicryogan.io import ParticleStack, Volume, read_volume
from multicryogan.networks.blocks import KNEE_SHELL, gaussian_blob
from multicryogan.priors.views import CELLS, view_cells
from multicryogan.rng import stream
from multicryogan.rotations import point_group
from multicryogan.tables import mistakes_in

SHELL = 5  # a map is low-passed there: finer detail has to come from the particles
TRUSTED = 2_000.0  # particles that the poses of a file count as, at most
SMALLEST = 8  # voxels along each side of a map
RIM = 0.9  # radius, of half the box, outside which a map is background


def known_start(
    shape: GeneratorConfig, box: int, field_angstrom: float
) -> tuple[Tensor, Tensor | None]:
    """Read the starting map and the focus mask that was drawn on it, if any.

    Args:
        shape: Names the files.
        box: Side D of the generator.
        field_angstrom: Side of the images in Å.

    Returns:
        (D, D, D) free voxels, and (D, D, D) mask of the motions.
    """
    known = read_volume(shape.start_map)
    with mistakes_in(Path(shape.start_map)):
        voxels = start_voxels(known, box, field_angstrom)
    if not shape.focus_mask:
        return voxels, None
    side = known.values.shape[-1] * known.voxel_size
    group = shape.symmetry if shape.symmetric_motion else "C1"
    return voxels, read_mask(shape.focus_mask, box, field_angstrom, side, group)


def start_voxels(volume: Volume, box: int, field_angstrom: float) -> Tensor:
    """Turn a map into voxels that a generator starts from.

    Args:
        volume: Map of the molecule, protein positive, of any box and voxel size.
        box: Side D of the generator.
        field_angstrom: Side of the images in Å.

    Returns:
        (D, D, D) free voxels, as large as those of the rough ball that is taken
        otherwise; `Generator.shaped` makes the low-passed map of them.

    Raises:
        InputError: The map has fewer voxels than the generator in its field of view,
            or shows nothing.
    """
    count, side = volume.values.shape[-1], field_angstrom / volume.voxel_size
    if count < SMALLEST:
        raise InputError(
            f"the starting map has {count} voxels along each side; give a map of the "
            f"whole molecule, {SMALLEST} or more"
        )
    if side < box:
        raise InputError(
            f"the starting map has voxels of {volume.voxel_size:g} Å, {side:.0f} of "
            f"them across the images; {box} are needed: give a map of finer voxels"
        )
    wide = max(count, 2 * math.ceil(side / 2))
    before = wide // 2 - count // 2
    ends = (before, wide - count - before) * 3
    values = volume.values.double()
    values = values - values[_outside(count)].median()
    peak = float(values.abs().max())
    if peak == 0:
        raise InputError("the starting map holds one value; give another")
    padded = functional.pad((values / peak).float(), ends)
    matrix = resampling_matrix(wide, box, wide / side)
    map_ = padded
    for _ in range(3):  # each puts the first axis last
        map_ = torch.tensordot(map_, matrix, dims=([0], [1]))
    spectrum = torch.fft.rfftn(map_)
    radius = frequency_radius(box, 3, like=map_)
    free = spectrum * (radius <= SHELL) * (1 + (radius / KNEE_SHELL).square())
    voxels: Tensor = torch.fft.irfftn(free, s=(box,) * 3)
    usual = float(gaussian_blob(box, stream(0, "start")).norm())
    return voxels * (usual / float(voxels.norm()))


def file_directions(stack: ParticleStack, group: str) -> Tensor | None:
    """(K,) how often the poses of a file look from each direction; None without.

    They say the same as `TRUSTED` particles do, so that others can overrule them. A
    file names one of all poses that are alike under the point group of the map: the
    choice says nothing of the molecule, even if its motion breaks the symmetry.
    """
    rotation = stack.rotations()
    if rotation is None:
        return None
    turns = point_group(group).to(rotation)
    counts = torch.zeros(CELLS)
    for turn in turns:
        counts += view_cells(rotation @ turn).bincount(minlength=CELLS)
    return counts / len(turns) * min(1.0, TRUSTED / len(rotation))


def _outside(box: int) -> Tensor:
    """(D, D, D) whether voxels lie outside the sphere of the rim."""
    axis = (torch.arange(box) - box // 2).float()
    square = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2
    return square.sqrt() > RIM * box / 2
