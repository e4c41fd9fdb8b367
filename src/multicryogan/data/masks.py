"""Masks that users draw on maps."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from multicryogan.errors import InputError
from multicryogan.imaging import resampled_mask, symmetric_mask
from multicryogan.io import read_volume
from multicryogan.networks.blocks import soft_sphere
from multicryogan.units import is_same_length


def read_mask(
    path: str | Path,
    box: int,
    field_angstrom: float,
    map_angstrom: float,
    group: str = "C1",
) -> Tensor:
    """Read a mask as the voxels of a volume.

    Args:
        path: An .mrc or .map file; its values are cut to 0 .. 1.
        box: Side D of the volume.
        field_angstrom: Side of the volume in Å.
        map_angstrom: Side in Å of the map that the mask was drawn on.
        group: Point group that what is masked has; the mask covers all poses of it.

    Returns:
        (D, D, D) values in [0, 1], 0 outside the sphere in the box.

    Raises:
        InputError: No map, of another field of view, or empty.
    """
    mask = read_volume(path)
    side = mask.values.shape[-1] * mask.voxel_size
    if not is_same_length(side, map_angstrom):
        raise InputError(
            f"the mask {path} spans {side:.1f} Å, the map that it belongs to "
            f"{map_angstrom:.1f} Å; draw it on that map, or correct its voxel size"
        )
    values = resampled_mask(mask.values.clamp(0, 1), box, side / field_angstrom)
    values = symmetric_mask(values * soft_sphere(box), group)
    if not float(values.max()) > 0:
        raise InputError(
            f"the mask {path} is empty: no value above 0 in the sphere in the box; "
            "give another"
        )
    return values
