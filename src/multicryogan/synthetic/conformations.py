"""How the atoms move: rigid rotations of selections, or frames to pass through.

A conformation has coordinates in the motion's own unit: degrees of each rigid
rotation, or the (fractional) number of a frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Unit = Literal["deg", "frame", "present"]

# Neighbouring conformations between frames: no atom differs by more than this.
FRAME_STEP_ANGSTROM = 0.5
MOST_FRAME_STATES = 1000


@dataclass(frozen=True, slots=True)
class Body:
    """A rigid group of atoms, and where it sits in each of n conformations.

    An atom at x of `positions` sits at rotation @ x + offset.
    """

    elements: NDArray[np.str_]  # (A,)
    positions: Array  # (A, 3) in Å from the body's own centre
    rotation: Array  # (n, 3, 3)
    offset: Array  # (n, 3) in Å


@dataclass(frozen=True, slots=True)
class Group:
    """Images whose molecule is made of the same bodies."""

    rows: NDArray[np.int64]  # (n,) rows of the data set
    bodies: tuple[Body, ...]


class Conformations(Protocol):
    """A molecule with d coordinates of motion."""

    @property
    def units(self) -> tuple[Unit, ...]:
        """(d,) unit of each coordinate."""

    @property
    def limits(self) -> Array:
        """(d, 2) first and last value of each coordinate."""

    @property
    def elements(self) -> NDArray[np.str_]:
        """(A,) chemical symbols of the atoms."""

    def positions(self, coordinate: Array) -> Array:
        """(A, 3) atoms in Å at one conformation, (d,)."""

    def is_present(self, coordinate: Array) -> NDArray[np.bool_]:
        """(A,) whether each atom is there at one conformation, (d,)."""

    def quantise(self, coordinates: Array) -> Array:
        """(N, d) the nearest conformations that can be rendered."""

    def groups(self, coordinates: Array) -> Iterator[Group]:
        """Split N images by their bodies, given their conformations (N, d)."""

    def moved(self, translation: Array) -> Conformations:
        """The same molecule moved by (3,) Å."""


@dataclass(frozen=True, slots=True)
class RigidMotion:
    """x' = R_axis(angle) (x - pivot) + pivot for the atoms that move."""

    is_moving: NDArray[np.bool_]  # (A,)
    pivot: Array  # (3,) in Å
    axis: Array  # (3,) unit vector; angles are right-handed about it
    range_deg: tuple[float, float]


@dataclass(frozen=True, slots=True)
class RigidMotions:
    """Rigid rotations of parts of a molecule, applied in order.

    Exact at every angle: an image of the molecule is the sum of the images of its
    bodies, each under its own rotation. Without motions there is one coordinate that
    is always zero.
    """

    elements: NDArray[np.str_]
    reference: Array  # (A, 3) atoms in Å with all angles zero
    motions: tuple[RigidMotion, ...]

    @property
    def units(self) -> tuple[Unit, ...]:
        """Degrees of each motion."""
        return tuple("deg" for _ in self.limits)

    @property
    def limits(self) -> Array:
        """(d, 2) first and last angle of each motion."""
        ranges = [motion.range_deg for motion in self.motions]
        return np.array(ranges or [(0.0, 0.0)], dtype=float)

    def positions(self, coordinate: Array) -> Array:
        """(A, 3) atoms in Å at angles (d,)."""
        placed = self.reference.copy()
        for motion, angle_deg in zip(self.motions, coordinate, strict=False):
            rotation, offset = _transform(motion, np.array([angle_deg]))
            moved = placed[motion.is_moving] @ rotation[0].T + offset[0]
            placed[motion.is_moving] = moved
        return placed

    def is_present(self, coordinate: Array) -> NDArray[np.bool_]:
        """Every atom is there."""
        return np.ones(len(self.elements), dtype=bool)

    def quantise(self, coordinates: Array) -> Array:
        """Every angle can be rendered."""
        return coordinates

    def groups(self, coordinates: Array) -> Iterator[Group]:
        """All images are made of the same bodies."""
        membership = np.zeros((len(self.elements), 1), dtype=bool)
        if self.motions:
            membership = np.stack([m.is_moving for m in self.motions], axis=1)
        kinds = np.unique(membership, axis=0)
        bodies = tuple(
            self._body((membership == kind).all(1), kind, coordinates) for kind in kinds
        )
        yield Group(np.arange(len(coordinates)), bodies)

    def moved(self, translation: Array) -> RigidMotions:
        """The same molecule and its axes moved by (3,) Å."""
        motions = (replace(m, pivot=m.pivot + translation) for m in self.motions)
        return replace(
            self, reference=self.reference + translation, motions=tuple(motions)
        )

    def select(self, rows: NDArray[np.bool_]) -> RigidMotions:
        """The atoms where (A,) `rows` is true, moving as before."""
        motions = (replace(m, is_moving=m.is_moving[rows]) for m in self.motions)
        return RigidMotions(self.elements[rows], self.reference[rows], tuple(motions))

    def _body(
        self, rows: NDArray[np.bool_], kind: NDArray[np.bool_], coordinates: Array
    ) -> Body:
        """Atoms that follow the same motions, and their placement in each image."""
        centre, _ = enclosing_ball(self.reference[rows])
        rotation = np.tile(np.eye(3), (len(coordinates), 1, 1))
        offset = np.tile(centre, (len(coordinates), 1))
        for i, motion in enumerate(self.motions):
            if kind[i]:
                turn, shift = _transform(motion, coordinates[:, i])
                rotation = turn @ rotation
                offset = np.einsum("nij,nj->ni", turn, offset) + shift
        return Body(
            self.elements[rows], self.reference[rows] - centre, rotation, offset
        )


@dataclass(frozen=True, slots=True)
class Frames:
    """A path through given positions, straight from each frame to the next.

    Conformations are rendered at whole fractions of the way between two frames, so
    that no atom moves by more than 0.5 Å from one to the next; the coordinates of
    the truth are those that were rendered.
    """

    elements: NDArray[np.str_]
    frames: Array  # (F, A, 3) in Å

    @property
    def units(self) -> tuple[Unit, ...]:
        """Number of the frame."""
        return ("frame",)

    @property
    def limits(self) -> Array:
        """(1, 2) first and last frame."""
        return np.array([[0.0, len(self.frames) - 1.0]])

    def positions(self, coordinate: Array) -> Array:
        """(A, 3) atoms in Å at a fractional frame (1,)."""
        first = min(int(coordinate[0]), len(self.frames) - 2)
        share = coordinate[0] - first
        placed: Array = (1 - share) * self.frames[first] + share * self.frames[
            first + 1
        ]
        return placed

    def is_present(self, coordinate: Array) -> NDArray[np.bool_]:
        """Every atom is there."""
        return np.ones(len(self.elements), dtype=bool)

    def quantise(self, coordinates: Array) -> Array:
        """(N, 1) the nearest whole fractions of the way between frames."""
        steps = self.steps_per_frame
        nearest: Array = np.round(coordinates * steps) / steps
        return nearest

    def groups(self, coordinates: Array) -> Iterator[Group]:
        """One group, of one body, for each conformation."""
        states, index = np.unique(coordinates[:, 0], return_inverse=True)
        order = np.argsort(index, kind="stable")
        ends = np.cumsum(np.bincount(index, minlength=len(states)))
        for state, rows in zip(states, np.split(order, ends[:-1]), strict=True):
            yield Group(rows, (self._body(state, len(rows)),))

    def moved(self, translation: Array) -> Frames:
        """The same frames moved by (3,) Å."""
        return replace(self, frames=self.frames + translation)

    def select(self, rows: NDArray[np.bool_]) -> Frames:
        """The atoms where (A,) `rows` is true, moving as before."""
        return Frames(self.elements[rows], self.frames[:, rows])

    @property
    def steps_per_frame(self) -> int:
        """Conformations rendered from one frame to the next."""
        moves = np.linalg.norm(np.diff(self.frames, axis=0), axis=-1)
        wanted = int(np.ceil(moves.max() / FRAME_STEP_ANGSTROM))
        most = MOST_FRAME_STATES // (len(self.frames) - 1)
        return max(1, min(wanted, most))

    def _body(self, state: float, count: int) -> Body:
        rotation = np.tile(np.eye(3), (count, 1, 1))
        placed = self.positions(np.array([state]))
        return Body(self.elements, placed, rotation, np.zeros((count, 3)))


def enclosing_ball(points: Array) -> tuple[Array, float]:
    """Find a small ball around points (Bădoiu and Clarkson's iteration).

    Args:
        points: (N, 3) positions in Å.

    Returns:
        The centre (3,) and the radius in Å, at most 2 % above the smallest.
    """
    from scipy.spatial import ConvexHull, QhullError

    try:
        points = points[ConvexHull(points).vertices]
    except QhullError:  # flat, or fewer than four points: all of them count
        points = np.unique(points, axis=0)
    centre: Array = points.mean(axis=0)
    for i in range(2, 2000):
        farthest = points[((points - centre) ** 2).sum(1).argmax()]
        centre = centre + (farthest - centre) / i
    return centre, float(np.linalg.norm(points - centre, axis=1).max())


def motion_ball(conformations: Conformations, per_axis: int = 9) -> tuple[Array, float]:
    """Find a ball that holds the molecule in all its conformations."""
    # Atoms do not move with the presence of a domain: there, one place will do.
    axes = [
        np.linspace(low, high, 1 if unit == "present" else per_axis)
        for (low, high), unit in zip(
            conformations.limits, conformations.units, strict=True
        )
    ]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    grid = np.unique(grid.reshape(-1, len(axes)), axis=0)
    points = [conformations.positions(coordinate) for coordinate in grid]
    return enclosing_ball(np.concatenate(points))


def _transform(motion: RigidMotion, angle_deg: Array) -> tuple[Array, Array]:
    """Rotations (n, 3, 3) and offsets (n, 3) of x' = R x + t (Rodrigues)."""
    angle = np.radians(angle_deg)[:, None, None]
    x, y, z = motion.axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return rotation, motion.pivot - rotation @ motion.pivot
