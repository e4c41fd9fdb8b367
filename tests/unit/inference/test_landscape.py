"""States, barriers and ways in shares of conformations."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from evaluation_phantoms import hinge
from multicryogan.inference.landscape import (
    Landscape,
    _neighbours,
    _places,
    cells,
    measure_landscape,
)
from multicryogan.inference.populations import Shares
from multicryogan.rng import stream

COUNT = 21
LINE = torch.linspace(0, 1, COUNT).double()


def shares(weights: Tensor, noise: float = 0.02) -> Shares:
    """Shares with bootstrap draws of so much relative noise."""
    weights = weights / weights.sum()
    draws = stream(0, "draws")
    factor = 1 + noise * torch.randn((200, len(weights)), generator=draws)
    drawn = (weights * factor.double()).clamp(min=1e-9)
    drawn = drawn / drawn.sum(1, keepdim=True)
    low, high = 0.9 * weights, 1.1 * weights
    return Shares(
        weights, low, high, 0.95, 1000, 0.0, weights, drawn, torch.diag(weights)
    )


def even_line(count: int = COUNT) -> Tensor:
    """Maps that change evenly: one voxel grows."""
    volumes = torch.zeros(count, 4, 4, 4)
    volumes[:, 2, 2, 2] = torch.linspace(0, 1, count)
    return volumes


def double_well(x: Tensor) -> Tensor:
    """Density of two states at 0.2 and 0.8, 3 kT between them on the left's side."""
    left = torch.exp(-((x - 0.2) ** 2) / 0.01)
    right = 0.5 * torch.exp(-((x - 0.8) ** 2) / 0.01)
    return left + right + 0.05


def measured(density: Callable[[Tensor], Tensor], noise: float = 0.02) -> Landscape:
    return measure_landscape(shares(density(LINE), noise), even_line(), (COUNT,))


def test_free_energy_is_minus_the_logarithm_of_the_density() -> None:
    found = measured(double_well)
    density = double_well(LINE).numpy()
    wanted = np.log(density.max() / density)
    np.testing.assert_allclose(found.free_energy, wanted, atol=1e-6)


def test_two_wells_are_two_states_with_their_shares_and_barrier() -> None:
    found = measured(double_well)
    first, second = found.states
    assert first.conformation == 4
    assert second.conformation == 16
    density = double_well(LINE)
    left = float(density[LINE < 0.5].sum() / density.sum())
    assert first.share == pytest.approx(left, abs=0.03)
    assert first.share + second.share == pytest.approx(1)
    assert first.low < first.share < first.high
    (way,) = found.ways
    assert way.ends == (0, 1)
    assert way.conformations == tuple(range(4, 17))
    assert way.barrier == pytest.approx(np.log(1.05 / 0.05), abs=0.1)
    assert 0 < way.error < 0.1
    assert [text.split(":")[0] for text in found.text()[1:]] == [
        "state 1",
        "state 2",
        "from state 1 to 2",
    ]


@pytest.mark.parametrize("depth", [0.2, 0.45])
def test_a_shallow_dip_is_no_state(depth: float) -> None:
    def dipped(x: Tensor) -> Tensor:
        return 1 - (1 - np.exp(-depth)) * torch.exp(-((x - 0.5) ** 2) / 0.02)

    assert len(measured(dipped).states) == 1


def test_a_dip_that_noise_explains_is_no_state() -> None:
    def dipped(x: Tensor) -> Tensor:
        return 1 - 0.7 * torch.exp(-((x - 0.5) ** 2) / 0.02)

    assert len(measured(dipped, noise=0.02).states) == 2
    assert len(measured(dipped, noise=0.6).states) == 1


def test_a_latent_that_runs_unevenly_changes_nothing() -> None:
    """Twice as many conformations in one half, each of half the share."""
    place = torch.cat((torch.linspace(0, 0.5, 21)[:-1], torch.linspace(0.5, 1, 11)))
    volumes = torch.zeros(31, 4, 4, 4)
    volumes[:, 2, 2, 2] = place
    step = torch.where(place < 0.5, 0.025, 0.05).double()
    found = measure_landscape(shares(step), volumes, (31,))
    inner = np.r_[1:18, 23:30]
    assert np.ptp(found.free_energy[inner]) < 0.01
    assert len(found.states) == 1


def test_cells_of_a_plane_have_the_area_of_the_map() -> None:
    """Maps (a, b) on two voxels: areas are those of the parallelogram."""
    a, b = torch.meshgrid(torch.arange(4.0), torch.arange(5.0), indexing="ij")
    volumes = torch.zeros(20, 4, 4, 4)
    volumes[:, 0, 0, 0] = a.flatten() ** 2
    volumes[:, 1, 1, 1] = b.flatten()
    size, excess = cells(_places(volumes), (4, 5), np.array([[0, 5], [5, 10]]))
    size = size.reshape(4, 5)
    np.testing.assert_allclose(size / size[:, :1], 1, rtol=1e-6)
    # Steps of 1, 3, 5: the shorter one of both sides.
    np.testing.assert_allclose(size[:, 0] / size[0, 0], [1, 1, 3, 5], rtol=1e-6)
    np.testing.assert_allclose(excess, [0, np.log(3) / 2], atol=1e-6)


def test_neighbours_of_a_plane_include_corners() -> None:
    pairs = {tuple(sorted(pair)) for pair in _neighbours((2, 3)).tolist()}
    assert pairs == {
        *{(0, 1), (1, 2), (3, 4), (4, 5)},
        *{(0, 3), (1, 4), (2, 5)},
        *{(0, 4), (1, 3), (1, 5), (2, 4)},
    }
    assert len(_neighbours((5,))) == 4


def test_a_way_goes_around_a_mountain() -> None:
    """Two wells in opposite corners, the middle forbidden, one corner open."""
    x, y = torch.meshgrid(torch.arange(5), torch.arange(5), indexing="ij")
    density = torch.full((5, 5), 1e-4)
    density[0, :] = density[:, 4] = 0.1  # the way by one corner
    density[0, 0], density[4, 4] = 1.0, 0.8
    volumes = torch.zeros(25, 4, 4, 4)
    volumes[:, 0, 0, 0], volumes[:, 1, 1, 1] = x.flatten(), y.flatten()
    found = measure_landscape(shares(density.flatten().double()), volumes, (5, 5))
    (way,) = found.ways
    places = [divmod(number, 5) for number in way.conformations]
    assert all(row == 0 or column == 4 for row, column in places)
    assert way.barrier == pytest.approx(np.log(10), abs=0.3)


def test_states_of_a_hinge_are_told_by_its_maps() -> None:
    """Ten conformations of each of two states: particles crowd where maps are alike."""
    angles = [0.1 * n for n in range(10)] + [30 + 0.1 * n for n in range(10)]
    weights = torch.tensor([0.03] * 10 + [0.07] * 10).double()
    found = measure_landscape(shares(weights), hinge(16, angles), (20,))
    assert [round(state.share, 2) for state in found.states] == [0.7, 0.3]
    assert found.ways[0].barrier > 2
    assert found.state_of.tolist() == [1] * 10 + [0] * 10
