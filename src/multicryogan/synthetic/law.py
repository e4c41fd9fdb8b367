"""The distribution of conformations in a data set."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from multicryogan.config import LawConfig
from multicryogan.errors import InputError
from multicryogan.synthetic.draws import uniform

Array = NDArray[np.float64]


class Law:
    """Where on the motion the particles are; positions run from 0 to 1 on each axis.

    `states` (M, d) and `weights` (M,) are the conformations of which maps are
    written: the discrete states themselves, or a grid over a continuous motion. With
    a domain that only a share of the particles has, the last coordinate says whether
    it is there, 0 or 1, whatever the motion; states are written without and with it.
    """

    def __init__(
        self,
        config: LawConfig,
        limits: Array,
        base: Path,
        domain_share: float | None = None,
    ) -> None:
        """Check a law against the coordinates it is for.

        Args:
            config: The law of the motion.
            limits: (d, 2) first and last value of each coordinate.
            base: Folder that relative paths start from.
            domain_share: Share of the particles whose last coordinate is 1; none: all
                coordinates are of the motion.
        """
        self._limits = limits
        self._domain_share = domain_share
        motion = limits if domain_share is None else limits[:-1]
        self.is_discrete = config.kind != "uniform" or len(motion) == 0
        if config.kind == "discrete":
            positions, weights = _discrete(config, len(motion))
        elif config.kind == "table":
            if not config.table:
                raise InputError("law.kind table needs a table; give --law.table FILE")
            positions, weights = _table(base / config.table, len(motion))
        else:
            counts = [config.maps if a != b else 1 for a, b in motion]
            positions, weights = _grid(counts)
        self._motion_ends = np.cumsum(weights / weights.sum())[:-1]
        if domain_share is not None:
            positions, weights = _with_domain(positions, weights, domain_share)
        self.states = self._scale(positions)
        self.weights = weights / weights.sum()

    def sample(self, images: int, seed: int) -> tuple[Array, NDArray[np.int64]]:
        """Draw the conformations of a data set.

        Returns:
            Coordinates (N, d), and the state of each (N,): its row in `states`, or
            -1 under a continuous law.
        """
        axes = len(self._limits) - (self._domain_share is not None)
        draws = uniform(images, seed, "conformation", max(1, axes)).numpy()
        state = np.searchsorted(self._motion_ends, draws[:, 0], side="right")
        positions = draws[:, :axes]
        if self._domain_share is not None:
            has_domain = uniform(images, seed, "domain").numpy() < self._domain_share
            state = 2 * state + has_domain[:, 0]
            positions = np.hstack((positions, has_domain))
        if self.is_discrete:
            return self.states[state], state
        return self._scale(positions), np.full(images, -1)

    def along(self, coordinates: Array) -> Array:
        """(N,) place of conformations (N, d) along the first coordinate, 0 to 1."""
        low, high = self._limits[0]
        if high == low:
            return np.full(len(coordinates), 0.5)
        place: Array = (coordinates[:, 0] - low) / (high - low)
        return place

    def _scale(self, positions: Array) -> Array:
        low, high = self._limits.T
        scaled: Array = low + positions * (high - low)
        return scaled


def _discrete(config: LawConfig, dimensions: int) -> tuple[Array, Array]:
    """Positions (M, d) and weights (M,) of a list of states."""
    positions, weights = np.array(config.coordinates), np.array(config.weights)
    if len(weights) == 0 or len(positions) != len(weights) * dimensions:
        raise InputError(
            f"law: {len(positions)} coordinates for {len(weights)} weights; "
            f"each state needs {dimensions} and one weight"
        )
    if (positions < 0).any() or (positions > 1).any():
        raise InputError("law.coordinates run from 0 to 1 along the motion")
    _check_weights(weights, "law.weights")
    return positions.reshape(-1, dimensions), weights


def _table(path: Path, dimensions: int) -> tuple[Array, Array]:
    """Positions (M, d) and occupancies (M,) of the nodes of a regular grid."""
    try:
        with path.open("rb") as file:
            table = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"law.table {path} cannot be read as .npy: {reason}; give another table"
        ) from None
    if not isinstance(table, np.ndarray) or table.ndim != dimensions:
        found = getattr(table, "shape", "several arrays")
        raise InputError(
            f"law.table {path}: found {found}; the molecule has "
            f"{dimensions} motions, and the table needs one axis for each"
        )
    _check_weights(table, f"law.table {path}")
    positions, _ = _grid(list(table.shape))
    return positions, table.astype(np.float64).ravel()


def _with_domain(positions: Array, weights: Array, share: float) -> tuple[Array, Array]:
    """Double states (M, d) and weights (M,): without the domain, then with it."""
    has_domain = np.tile([[0.0], [1.0]], (len(positions), 1))
    doubled = np.hstack((np.repeat(positions, 2, axis=0), has_domain))
    return doubled, np.multiply.outer(weights, [1 - share, share]).ravel()


def _check_weights(weights: NDArray[np.generic], where: str) -> None:
    is_number = np.issubdtype(weights.dtype, np.number)
    values = weights.astype(np.float64) if is_number else np.array([-1.0])
    if not (np.isfinite(values).all() and (values >= 0).all() and values.sum() > 0):
        raise InputError(f"{where}: weights must be numbers >= 0 that are not all 0")


def _grid(counts: list[int]) -> tuple[Array, Array]:
    """Nodes (M, d) of a regular grid and their weights by the trapezoid rule."""
    if not counts:
        return np.zeros((1, 0)), np.ones(1)
    axes = [np.linspace(0, 1, count) for count in counts]
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    weights = np.ones(())
    for count in counts:
        ends = np.ones(count)
        if count > 1:
            ends[[0, -1]] = 0.5
        weights = np.multiply.outer(weights, ends)
    return nodes.reshape(-1, len(counts)), weights.ravel()
