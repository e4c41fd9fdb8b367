"""The landscape of the particles: states, free energies, and ways between them.

Particles that were frozen in equilibrium lie where their free energy is low,

    F = -ln(density) in kT, up to a constant,

the density being the share of the particles over how much the map changes there: a
latent may run fast or slowly, maps do not. States are the minima of F that are deeper
than the spread of the shares explains. Between two states particles mostly pass where
the flux is largest, along the path that minimises ∫ exp(F) ds (Berkowitz et al. 1983,
J. Chem. Phys. 79, 5563).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multicryogan.evaluation import inner_shells
from multicryogan.inference.populations import Shares, group_shares

TABLE, STATES, WAYS = "landscape.csv", "states.csv", "ways.csv"
LEAST = 0.5  # kT that a state is deeper than the way out of it, at least
CLEAR = 2.0  # standard errors of that depth
TINY = 1e-12


@dataclass(frozen=True, slots=True)
class State:
    """A minimum of the free energy and all that lies about it.

    Attributes:
        conformation: Number of the conformation of lowest free energy, from 0.
        members: Numbers of all of its conformations.
        share: Of the particles.
        low: End of its interval.
        high: Other end.
    """

    conformation: int
    members: tuple[int, ...]
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Way:
    """The path of largest flux between two states.

    Attributes:
        ends: Numbers of the states, from 0.
        conformations: On the way, ends included.
        barrier: Highest free energy on it over that of its first end, in kT.
        error: Standard error of the barrier.
    """

    ends: tuple[int, int]
    conformations: tuple[int, ...]
    barrier: float
    error: float


@dataclass(frozen=True, slots=True)
class Landscape:
    """Free energy over V conformations.

    Attributes:
        grid: Conformations along each latent dimension.
        free_energy: (V,) in kT, 0 where density is highest.
        error: (V,) standard errors, by bootstrap over the images.
        states: The largest first.
        ways: Between all pairs of states.
    """

    grid: tuple[int, ...]
    free_energy: NDArray[np.float64]
    error: NDArray[np.float64]
    states: tuple[State, ...]
    ways: tuple[Way, ...]

    @property
    def state_of(self) -> NDArray[np.int64]:
        """(V,) number of the state of each conformation."""
        found = np.zeros(len(self.free_energy), dtype=np.int64)
        for number, state in enumerate(self.states):
            found[list(state.members)] = number
        return found

    def text(self) -> list[str]:
        """Say it in lines."""
        count = len(self.states)
        lines = [f"{count} states" if count > 1 else "one state: no barrier is clear"]
        for number, state in enumerate(self.states, start=1):
            lines.append(
                f"state {number}: {100 * state.share:.1f} % of the particles "
                f"({100 * state.low:.1f} to {100 * state.high:.1f}), deepest at "
                f"conformation {state.conformation + 1}"
            )
        for way in self.ways:
            first, last = (end + 1 for end in way.ends)
            lines.append(
                f"from state {first} to {last}: {way.barrier:.1f} +- {way.error:.1f} "
                f"kT over {len(way.conformations)} conformations"
            )
        return lines


def measure_landscape(
    density: Shares, volumes: Tensor, grid: tuple[int, ...]
) -> Landscape:
    """Find states and ways in shares of conformations.

    Args:
        density: Of `latent_density`, over V conformations.
        volumes: (V, D, D, D) densities, each laid on its neighbour.
        grid: Conformations along each latent dimension, their product V, the last
            dimension fastest.

    Returns:
        The landscape.
    """
    places, pairs = _places(volumes), _neighbours(grid)
    size, excess = cells(places, grid, pairs)
    energy = _free_energy(density.weights.cpu().numpy(), size)
    drawn = np.stack([_free_energy(w, size) for w in density.draws.cpu().numpy()])
    passes = Passes(pairs, excess, energy, drawn)
    basin = _basins(passes)
    shares = group_shares(density, torch.from_numpy(basin).to(density.weights.device))
    states = [
        State(
            int(np.where(basin == b, energy, np.inf).argmin()),
            tuple(np.flatnonzero(basin == b).tolist()),
            *(float(x[b]) for x in (shares.weights, shares.low, shares.high)),
        )
        for b in range(int(basin.max()) + 1)
    ]
    states.sort(key=lambda state: -state.share)
    ways = [
        _way(ends, states, passes, places)
        for ends in itertools.combinations(range(len(states)), 2)
    ]
    error = (drawn - drawn.mean(1, keepdims=True)).std(0)
    return Landscape(grid, energy, error, tuple(states), tuple(ways))


@dataclass(frozen=True, slots=True)
class Passes:
    """Ways from each conformation to the next, E of them.

    Attributes:
        pairs: (E, 2) conformations at their ends.
        excess: (E,) how much higher a pass lies than its ends on average, in kT: what
            lies between maps that are unlike is density that no conformation shows.
        energy: (V,) free energy of the conformations.
        drawn: (R, V) the same of bootstrap draws.
    """

    pairs: NDArray[np.int64]
    excess: NDArray[np.float64]
    energy: NDArray[np.float64]
    drawn: NDArray[np.float64]

    @property
    def heights(self) -> NDArray[np.float64]:
        """(E,) free energies, never below those of both ends."""
        return self._of(self.energy)

    @property
    def drawn_heights(self) -> NDArray[np.float64]:
        """(R, E) the same of bootstrap draws."""
        return self._of(self.drawn)

    def _of(self, energy: NDArray[np.float64]) -> NDArray[np.float64]:
        a, b = energy[..., self.pairs[:, 0]], energy[..., self.pairs[:, 1]]
        return np.asarray(np.maximum((a + b) / 2 + self.excess, np.maximum(a, b)))


def cells(
    places: NDArray[np.float64], grid: tuple[int, ...], pairs: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Measure how much the map changes around each conformation and on each pass.

    Of the steps to both neighbours along a latent the shorter counts: the last
    conformation before a jump is like those before it.

    Args:
        places: (V, K) of maps, as of `_places`.
        grid: Conformations along each latent dimension.
        pairs: (E, 2) conformations at the ends of passes.

    Returns:
        (V,) sizes √det(J Jᵀ), J the change along each latent, mean 1; and (E,) excess:
        ln of the length of a pass over what such sizes let expect.
    """
    axes = [axis for axis, steps in enumerate(grid) if steps > 1]
    if not axes:
        return np.ones(len(places)), np.zeros(len(pairs))
    shaped = places.reshape(*grid, -1)
    steps = np.stack([_shorter(shaped, axis) for axis in axes], axis=-2)
    steps = steps.reshape(len(places), len(axes), -1)  # (V, d, K)
    size = np.sqrt(np.clip(np.linalg.det(steps @ np.swapaxes(steps, 1, 2)), 0, None))
    size = np.clip(size / max(float(size.mean()), TINY), 1e-6, None)
    place = np.stack(np.unravel_index(np.arange(len(places)), grid), axis=1)
    moved = (place[pairs[:, 0]] != place[pairs[:, 1]])[:, axes]  # (E, d)
    square = (steps**2).sum(-1)  # (V, d)
    expected = (square[pairs] * moved[:, None]).sum(-1)  # (E, 2)
    length = ((places[pairs[:, 0]] - places[pairs[:, 1]]) ** 2).sum(-1)
    ratio = (length + TINY) / (np.sqrt(expected.prod(1)) + TINY)
    return size, np.log(ratio) / 2


def _shorter(shaped: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """(..., K) the shorter of the steps to both neighbours along an axis."""
    step = np.diff(shaped, axis=axis)
    first, last = np.take(step, [0], axis), np.take(step, [-1], axis)
    before = np.concatenate((first, step), axis)
    after = np.concatenate((step, last), axis)
    is_before = (before**2).sum(-1) < (after**2).sum(-1)
    return np.asarray(np.where(is_before[..., None], before, after))


def _places(volumes: Tensor) -> NDArray[np.float64]:
    """(V, K) coordinates whose distances are those of the (V, D, D, D) maps."""
    flat = inner_shells(volumes.double()).flatten(1)
    flat = flat - flat.mean(0)
    value, vector = torch.linalg.eigh(flat @ flat.T)
    kept = value > 1e-9 * value.max().clamp(min=TINY)
    found: NDArray[np.float64] = (vector * value.clamp(min=0).sqrt())[:, kept].numpy()
    return found


def _free_energy(
    weights: NDArray[np.float64], width: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(V,) -ln(density), 0 where it is highest."""
    density = np.clip(weights / width, TINY, None)
    return np.asarray(np.log(density.max()) - np.log(density))


def _neighbours(grid: tuple[int, ...]) -> NDArray[np.int64]:
    """(E, 2) conformations that are next to each other, corners included."""
    place = np.stack(np.unravel_index(np.arange(np.prod(grid)), grid), axis=1)
    found = []
    for step in itertools.product((-1, 0, 1), repeat=len(grid)):
        if step <= (0,) * len(grid):  # each pair once
            continue
        other = place + step
        inside = ((other >= 0) & (other < grid)).all(1)
        index = np.ravel_multi_index(tuple(other[inside].T), grid)
        found.append(np.stack((np.flatnonzero(inside), index), axis=1))
    return np.concatenate(found) if found else np.zeros((0, 2), dtype=np.int64)


def _basins(passes: Passes) -> NDArray[np.int64]:
    """(V,) number of the basin of each conformation.

    Flooded from below. Where two basins meet, the shallower one stays by itself if it
    is deep enough, in size and against its spread over the draws.
    """
    energy, heights, drawn = passes.energy, passes.heights, passes.drawn_heights
    basin = np.arange(len(energy))  # each by the number of its lowest conformation
    for e in np.argsort(heights, kind="stable").tolist():
        one, other = sorted(basin[passes.pairs[e]].tolist(), key=lambda v: energy[v])
        if one == other:
            continue
        depth = drawn[:, e] - passes.drawn[:, other]
        least = max(LEAST, CLEAR * float(depth.std()))
        if heights[e] - energy[other] < least:
            basin[basin == other] = one
    return np.asarray(np.unique(basin, return_inverse=True)[1], dtype=np.int64)


def _way(
    ends: tuple[int, int],
    states: list[State],
    passes: Passes,
    places: NDArray[np.float64],
) -> Way:
    """Find the path of largest flux between two states."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import dijkstra

    first, last = (states[end].conformation for end in ends)
    a, b = passes.pairs.T
    length = np.linalg.norm(places[a] - places[b], axis=1) + TINY
    heights = passes.heights
    cost = length * np.exp(heights)
    graph = csr_array((cost, (a, b)), shape=(len(places),) * 2)
    _, before = dijkstra(graph, False, [first], return_predecessors=True)
    path = [last]
    while path[-1] != first:
        path.append(int(before[0, path[-1]]))
    path.reverse()
    number = {frozenset(pair): e for e, pair in enumerate(passes.pairs.tolist())}
    crossed = [number[frozenset(pair)] for pair in itertools.pairwise(path)]
    top = max(crossed, key=lambda e: heights[e])
    error = float((passes.drawn_heights[:, top] - passes.drawn[:, first]).std())
    return Way(ends, tuple(path), float(heights[top] - passes.energy[first]), error)
