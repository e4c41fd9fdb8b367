"""Rotations: Euler angles, draws, an even grid, point groups and the distance.

A rotation is a 3x3 matrix A with r_image = A r_volume, vectors (x, y, z).
"""

from __future__ import annotations

import math
import re
from functools import lru_cache

import torch
from torch import Tensor

from multicryogan.errors import InputError

GOLDEN = (1 + math.sqrt(5)) / 2
# (fold, axis (x, y, z)) of rotations that generate each group, as RELION turns them.
POLYHEDRAL = {
    "T": ((3, (0.0, 0.0, 1.0)), (2, (0.0, math.sqrt(2.0), 1.0))),
    "O": ((4, (0.0, 0.0, 1.0)), (3, (1.0, 1.0, 1.0))),
    "I": ((2, (0.0, 0.0, 1.0)), (3, (1.0, 1.0, 1.0)), (5, (1.0, 0.0, GOLDEN))),
}


def euler_to_matrix(rot_deg: Tensor, tilt_deg: Tensor, psi_deg: Tensor) -> Tensor:
    """Build rotations from RELION's Euler angles: A = Rz(-psi) Ry(-tilt) Rz(-rot).

    Args:
        rot_deg: (...) first angle, about the volume's z.
        tilt_deg: (...) second angle, about y.
        psi_deg: (...) third angle, in the image plane.

    Returns:
        (..., 3, 3) matrices A, r_image = A r_volume.
    """
    about_volume_z = _about_z(-torch.deg2rad(rot_deg))
    about_y = _about_y(-torch.deg2rad(tilt_deg))
    about_image_z = _about_z(-torch.deg2rad(psi_deg))
    return about_image_z @ about_y @ about_volume_z


def matrix_to_euler(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Read RELION's Euler angles from rotations.

    Where tilt is 0 or 180 degrees only one of rot and psi is determined: rot is 0.

    Args:
        matrix: (..., 3, 3) matrices A, r_image = A r_volume.

    Returns:
        rot, tilt, psi: each (...) in degrees; tilt in [0, 180], the others in
        [-180, 180].
    """
    # Row 2 is the viewing direction in the volume's frame.
    x, y, z = matrix[..., 2, :].unbind(-1)
    sine = torch.hypot(x, y)
    is_pole = sine < 10 * torch.finfo(matrix.dtype).eps
    rot = torch.where(is_pole, torch.zeros_like(x), torch.atan2(y, x))
    tilt = torch.atan2(sine, z)
    # With rot known, psi is the angle of the image's axes to the rotated y axis:
    # Rz(rot) e_y = (-sin rot, cos rot, 0) is A^T (sin psi, cos psi, 0).
    axis = torch.stack((-rot.sin(), rot.cos(), torch.zeros_like(rot)), dim=-1)
    in_image = (matrix @ axis[..., None])[..., 0]
    psi = torch.atan2(in_image[..., 0], in_image[..., 1])
    return rot.rad2deg(), tilt.rad2deg(), psi.rad2deg()


def random_rotations(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw rotations uniformly on SO(3).

    Args:
        shape: Batch shape of the draw.
        generator: Stream to draw from; it also gives the device.

    Returns:
        (*shape, 3, 3) rotations, float32.
    """
    normal = torch.randn(*shape, 4, generator=generator, device=generator.device)
    return _quaternion_to_matrix(torch.nn.functional.normalize(normal, dim=-1))


def super_fibonacci(count: int) -> Tensor:
    """Spread rotations evenly over SO(3) on a super-Fibonacci spiral.

    Alexa, "Super-Fibonacci spirals: fast, low-discrepancy sampling of SO(3)", 2022.

    Args:
        count: Number N of rotations.

    Returns:
        (N, 3, 3) rotations, float32.
    """
    phi, psi = math.sqrt(2.0), 1.533751168755204288118041
    s = torch.arange(count, dtype=torch.float64) + 0.5
    inner, outer = torch.sqrt(s / count), torch.sqrt(1 - s / count)
    alpha, beta = 2 * math.pi * s / phi, 2 * math.pi * s / psi
    quaternion = torch.stack(
        (
            inner * alpha.sin(),
            inner * alpha.cos(),
            outer * beta.sin(),
            outer * beta.cos(),
        ),
        dim=-1,
    )
    return _quaternion_to_matrix(quaternion).float()


@lru_cache(maxsize=16)
def point_group(name: str) -> Tensor:
    """List the rotations of a point group, in RELION's axes.

    C<n>: n-fold axis z. D<n>: besides, two-fold axis x. T: three-fold axis z and
    two-fold axis (0, sqrt(2), 1). O: four-fold axes x, y and z. I (RELION's I2):
    two-fold axes x, y and z, and five-fold axes (1, 0, golden ratio).

    Args:
        name: Of the group.

    Returns:
        (G, 3, 3) rotations of vectors (x, y, z), float64, the identity first; G is n,
        2n, 12, 24 or 60. Not to be modified.

    Raises:
        InputError: There is no such group.
    """
    group = [torch.eye(3, dtype=torch.float64)]
    for element in group:  # it grows as it is read
        for generator in _generators(name):
            product = generator @ element
            if all((product - known).abs().max() > 1e-6 for known in group):
                group.append(product)
    return torch.stack(group)


def geodesic_distance_deg(a: Tensor, b: Tensor) -> Tensor:
    """Measure the angle of the rotation that takes a to b.

    Args:
        a: (..., 3, 3) rotations.
        b: (..., 3, 3) rotations.

    Returns:
        (...) angles in [0, 180] degrees.
    """
    # |A - B| = 2 sqrt(2) sin(angle / 2): unlike the trace, exact for small angles.
    chord = torch.linalg.matrix_norm(a - b) / (2 * math.sqrt(2.0))
    return 2 * torch.asin(chord.clamp(max=1)).rad2deg()


def _generators(name: str) -> list[Tensor]:
    """(3, 3) rotations that generate a point group, float64."""
    if name in POLYHEDRAL:
        return [_about(axis, fold) for fold, axis in POLYHEDRAL[name]]
    if not re.fullmatch("[CD][1-9][0-9]?", name):
        raise InputError(
            f"there is no symmetry {name!r}; give C1 to C99, D1 to D99, T, O, or I, "
            "which is RELION's I2"
        )
    about_z = _about((0.0, 0.0, 1.0), int(name[1:]))
    return [about_z] if name[0] == "C" else [about_z, _about((1.0, 0.0, 0.0), 2)]


def _about(axis: tuple[float, float, float], fold: int) -> Tensor:
    """(3, 3) right-handed rotation by 1 / fold of a turn, float64."""
    angle, double = math.pi / fold, torch.float64
    direction = torch.nn.functional.normalize(torch.tensor(axis, dtype=double), dim=0)
    cosine = torch.tensor([math.cos(angle)], dtype=double)
    return _quaternion_to_matrix(torch.cat((math.sin(angle) * direction, cosine)))


def _about_z(angle: Tensor) -> Tensor:
    """(..., 3, 3) right-handed rotation of vectors about z."""
    c, s = angle.cos(), angle.sin()
    zero, one = torch.zeros_like(c), torch.ones_like(c)
    entries = (c, -s, zero, s, c, zero, zero, zero, one)
    return _as_matrix(entries)


def _about_y(angle: Tensor) -> Tensor:
    """(..., 3, 3) right-handed rotation of vectors about y."""
    c, s = angle.cos(), angle.sin()
    zero, one = torch.zeros_like(c), torch.ones_like(c)
    entries = (c, zero, s, zero, one, zero, -s, zero, c)
    return _as_matrix(entries)


def _quaternion_to_matrix(quaternion: Tensor) -> Tensor:
    """(..., 4) unit quaternions (x, y, z, w) to (..., 3, 3)."""
    x, y, z, w = quaternion.unbind(-1)
    entries = (
        1 - 2 * (y * y + z * z),
        2 * (x * y - z * w),
        2 * (x * z + y * w),
        2 * (x * y + z * w),
        1 - 2 * (x * x + z * z),
        2 * (y * z - x * w),
        2 * (x * z - y * w),
        2 * (y * z + x * w),
        1 - 2 * (x * x + y * y),
    )
    return _as_matrix(entries)


def _as_matrix(entries: tuple[Tensor, ...]) -> Tensor:
    """Nine (...) tensors, row by row, to (..., 3, 3)."""
    return torch.stack(entries, dim=-1).view(*entries[0].shape, 3, 3)
