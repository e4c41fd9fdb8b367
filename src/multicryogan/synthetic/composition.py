"""A molecule that lacks a domain in some of the particles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multicryogan.synthetic.conformations import (
    Array,
    Frames,
    Group,
    RigidMotions,
    Unit,
)


@dataclass(frozen=True, slots=True)
class Composition:
    """A moving molecule with and without a domain.

    The last coordinate is 1 where the domain is there and 0 where it is not; the
    others are those of the motion, none when nothing moves.
    """

    whole: RigidMotions | Frames
    is_domain: NDArray[np.bool_]  # (A,)

    @property
    def elements(self) -> NDArray[np.str_]:
        """(A,) chemical symbols of all atoms."""
        return self.whole.elements

    @property
    def units(self) -> tuple[Unit, ...]:
        """Those of the motion, then presence."""
        return (*self.whole.units[: self._motion_axes], "present")

    @property
    def limits(self) -> Array:
        """(d, 2) those of the motion, then 0 and 1."""
        motion = self.whole.limits[: self._motion_axes]
        return np.concatenate((motion, [[0.0, 1.0]]))

    def positions(self, coordinate: Array) -> Array:
        """(A, 3) all atoms in Å, there or not, at one conformation (d,)."""
        return self.whole.positions(self._motion(coordinate[None])[0])

    def is_present(self, coordinate: Array) -> NDArray[np.bool_]:
        """(A,) false for the domain where the last coordinate is 0."""
        has_domain = bool(coordinate[-1] > 0.5)
        return np.full(len(self.is_domain), has_domain) | ~self.is_domain

    def quantise(self, coordinates: Array) -> Array:
        """(N, d) as the motion can be rendered."""
        motion = self.whole.quantise(self._motion(coordinates))
        return np.hstack((motion[:, : self._motion_axes], coordinates[:, -1:]))

    def groups(self, coordinates: Array) -> Iterator[Group]:
        """Images without the domain, then images with it."""
        has_domain = coordinates[:, -1] > 0.5
        for part, is_whole in (
            (self.whole.select(~self.is_domain), False),
            (self.whole, True),
        ):
            rows = np.flatnonzero(has_domain == is_whole)
            if len(rows) == 0:
                continue
            for group in part.groups(self._motion(coordinates[rows])):
                yield Group(rows[group.rows], group.bodies)

    def moved(self, translation: Array) -> Composition:
        """The same molecule moved by (3,) Å."""
        return Composition(self.whole.moved(translation), self.is_domain)

    @property
    def _motion_axes(self) -> int:
        """Coordinates that are of the motion."""
        low, high = self.whole.limits.T
        return len(low) if (low != high).any() else 0

    def _motion(self, coordinates: Array) -> Array:
        """(N, m) coordinates of the motion; its first values when nothing moves."""
        if self._motion_axes:
            return coordinates[:, :-1]
        return np.tile(self.whole.limits[:, 0], (len(coordinates), 1))
