"""The built-in molecule: ideal helices in two arms about a hinge, and a lid.

It needs no file. Like Hsp90 it is V-shaped; one arm opens by 40 degrees. It has no
symmetry, so that hand and direction can be told.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from multicryogan.config import MotionConfig
from multicryogan.synthetic.structure import Atoms

# Poly-alanine in an ideal alpha helix: atom, element, radius in Å, angle in degrees
# and height in Å about the helix axis. Each residue turns by 100 degrees, rises 1.5 Å.
HELIX_ATOMS = (
    ("N", "N", 1.523, -26.23, -0.930),
    ("CA", "C", 2.265, 0.00, 0.000),
    ("C", "C", 1.668, 27.37, 1.060),
    ("O", "O", 1.973, 21.61, 2.238),
    ("CB", "C", 3.337, 16.49, -0.754),
)
TURN_DEG, RISE_ANGSTROM = 100.0, 1.5

# Helices of each part: start and end, (x, y, z) in Å. The hinge is along y at the
# origin; arms go up (z) in the (x, z) plane.
ARM = (
    ((0.0, -15.0, 18.0), (0.0, -15.0, 92.0)),
    ((0.0, -5.0, 16.0), (0.0, -5.0, 92.0)),
    ((0.0, 5.0, 16.0), (0.0, 5.0, 80.0)),
    ((0.0, 15.0, 18.0), (0.0, 15.0, 68.0)),
    ((9.0, -10.0, 20.0), (9.0, -10.0, 92.0)),
    ((9.0, 0.0, 20.0), (9.0, 0.0, 70.0)),
    ((9.0, 10.0, 20.0), (9.0, 10.0, 54.0)),
)
SHOULDER = (  # on the outer side of the moving arm, half way up
    ((14.0, 14.0, 40.0), (40.0, 14.0, 52.0)),
    ((14.0, 4.0, 44.0), (40.0, 4.0, 56.0)),
    ((14.0, 14.0, 52.0), (36.0, 14.0, 62.0)),
)
LID = (  # across the top of the fixed arm, towards the gap and +y
    ((-20.0, 16.0, 90.0), (10.0, 30.0, 76.0)),
    ((-18.0, 7.0, 94.0), (14.0, 20.0, 80.0)),
    ((-14.0, 24.0, 82.0), (8.0, 34.0, 70.0)),
    ((2.0, 34.0, 76.0), (12.0, 22.0, 52.0)),
)
HINGE = (
    ((-6.0, -24.0, -6.0), (-6.0, 22.0, -6.0)),
    ((4.0, -24.0, -8.0), (4.0, 14.0, -8.0)),
    ((-2.0, -20.0, -15.0), (-2.0, 24.0, -15.0)),
)
FIXED_TILT_DEG, MOVING_TILT_DEG = -20.0, 16.0


def demo_molecule() -> tuple[Atoms, tuple[MotionConfig, ...]]:
    """Build the molecule and its motion.

    Returns:
        The atoms, chain A at rest and chain B moving, and the motion: B opens by 0 to
        40 degrees about the hinge.
    """
    mirrored = tuple(((-a, b, c), (-d, e, f)) for (a, b, c), (d, e, f) in ARM)
    fixed = [*_tilt(mirrored, FIXED_TILT_DEG), *LID, *HINGE]
    moving = _tilt((*ARM[:6], *SHOULDER), MOVING_TILT_DEG)
    atoms = _build({"A": fixed, "B": moving})
    opening = MotionConfig(chains=("B",), axis=(0.0, 1.0, 0.0), range_deg=(0.0, 40.0))
    return atoms, (opening,)


Helix = tuple[tuple[float, float, float], tuple[float, float, float]]


def _tilt(helices: tuple[Helix, ...], angle_deg: float) -> list[Helix]:
    """Turn helices about the y axis; positive angles take +z towards +x."""
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    turn = np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
    turned = np.asarray(helices) @ turn.T
    return [(tuple(a), tuple(b)) for a, b in turned.tolist()]


def _build(chains: dict[str, list[Helix]]) -> Atoms:
    """Fill every helix with alanine, numbering residues along each chain."""
    positions: list[NDArray[np.float64]] = []
    names: list[str] = []
    residues: list[int] = []
    for chain, helices in chains.items():
        next_residue = 1
        for start, end in helices:
            helix = helix_positions(np.array(start), np.array(end))
            positions.append(helix.reshape(-1, 3))
            for residue in range(next_residue, next_residue + len(helix)):
                residues.extend([residue] * len(HELIX_ATOMS))
            names.extend([chain] * (len(helix) * len(HELIX_ATOMS)))
            next_residue += len(helix)
    repeats = len(residues) // len(HELIX_ATOMS)
    return Atoms(
        np.concatenate(positions),
        np.tile([atom[1] for atom in HELIX_ATOMS], repeats),
        np.array(names),
        np.array(residues, dtype=np.int64),
        np.full(len(residues), "ALA"),
        np.tile([atom[0] for atom in HELIX_ATOMS], repeats),
    )


def helix_positions(
    start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Place the atoms of a right-handed alpha helix between two points.

    Args:
        start: (3,) first end of the axis in Å.
        end: (3,) other end of the axis in Å.

    Returns:
        (residues, 5, 3) positions of N, CA, C, O, CB in Å.
    """
    length = float(np.linalg.norm(end - start))
    axis = (end - start) / length
    helper = np.eye(3)[np.argmin(np.abs(axis))]
    first = np.cross(axis, helper)
    first /= np.linalg.norm(first)
    second = np.cross(axis, first)  # first, second, axis: right-handed

    index = np.arange(int(length / RISE_ANGSTROM))[:, None]
    radius, angle_deg, height = np.array([atom[2:] for atom in HELIX_ATOMS]).T
    angle = np.radians(TURN_DEG * index + angle_deg)  # (residues, 5)
    along = RISE_ANGSTROM * index + height
    spokes = np.cos(angle)[..., None] * first + np.sin(angle)[..., None] * second
    placed: NDArray[np.float64] = (
        start + radius[:, None] * spokes + along[..., None] * axis
    )
    return placed
