"""The distribution of conformations in a data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from multicryogan.config import LawConfig
from multicryogan.errors import InputError
from multicryogan.synthetic.draws import uniform

Array = NDArray[np.float64]


class Law:
    """Where on the motion the particles are; positions run from 0 to 1 on each axis.

    `states` (M, d) and `weights` (M,) are the conformations of which maps are
    written: the discrete states themselves, or a grid over a continuous motion.
    """

    def __init__(self, config: LawConfig, limits: Array, base: Path) -> None:
        """Check a law against the coordinates it is for.

        Args:
            config: The law.
            limits: (d, 2) first and last value of each coordinate.
            base: Folder that relative paths start from.
        """
        if config.maps < 2:
            raise InputError(f"law.maps is {config.maps}; at least 2 are needed")
        self._limits = limits
        self.is_discrete = config.kind != "uniform"
        if config.kind == "discrete":
            positions, weights = _discrete(config, len(limits))
        elif config.kind == "table":
            positions, weights = _table(base / config.table, len(limits))
        else:
            positions, weights = _grid([config.maps if b > a else 1 for a, b in limits])
        self.states = self._scale(positions)
        self.weights = weights / weights.sum()

    def sample(self, images: int, seed: int) -> tuple[Array, NDArray[np.int64]]:
        """Draw the conformations of a data set.

        Returns:
            Coordinates (N, d), and the state of each (N,): its row in `states`, or
            -1 under a continuous law.
        """
        draws = uniform(images, seed, "conformation", len(self._limits)).numpy()
        if not self.is_discrete:
            return self._scale(draws), np.full(images, -1)
        edges = np.cumsum(self.weights)[:-1]
        state = np.searchsorted(edges, draws[:, 0], side="right")
        return self.states[state], state

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
        table = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"law.table {path} cannot be read as .npy: {error}") from None
    if not isinstance(table, np.ndarray) or table.ndim != dimensions:
        found = getattr(table, "shape", "several arrays")
        raise InputError(
            f"law.table {path}: found {found}; the molecule has "
            f"{dimensions} motions, and the table needs one axis for each"
        )
    _check_weights(table, f"law.table {path}")
    positions, _ = _grid(list(table.shape))
    return positions, table.astype(np.float64).ravel()


def _check_weights(weights: NDArray[np.generic], where: str) -> None:
    is_number = np.issubdtype(weights.dtype, np.number)
    values = weights.astype(np.float64) if is_number else np.array([-1.0])
    if not (np.isfinite(values).all() and (values >= 0).all() and values.sum() > 0):
        raise InputError(f"{where}: weights must be numbers >= 0 that are not all 0")


def _grid(counts: list[int]) -> tuple[Array, Array]:
    """Nodes (M, d) of a regular grid and their weights by the trapezoid rule."""
    axes = [np.linspace(0, 1, count) for count in counts]
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    weights = np.ones(())
    for count in counts:
        ends = np.ones(count)
        if count > 1:
            ends[[0, -1]] = 0.5
        weights = np.multiply.outer(weights, ends)
    return nodes.reshape(-1, len(counts)), weights.ravel()
