"""Least squares in a window: against dense solutions, and where voxels lack views."""

import pytest
import torch
from torch import Tensor

from multicryogan.fourier import frequency_radius
from multicryogan.likelihood.least_squares import (
    from_spectrum,
    solve,
    through,
    to_spectrum,
)
from multicryogan.rng import stream

SOLVE = "multicryogan.likelihood.least_squares"
FLOAT = torch.float64


def drawn(*shape: int, name: str) -> Tensor:
    return torch.randn(shape, generator=stream(0, name), dtype=FLOAT)


def ball(box: int, radius: float) -> Tensor:
    """(D, D, D) soft ball."""
    axis = torch.arange(box, dtype=FLOAT) - box // 2
    square = axis.square()
    distance = (square[:, None, None] + square[:, None] + square).sqrt()
    return (radius + 0.5 - distance).clamp(0, 1)


def matrices(box: int, count: int) -> Tensor:
    """(D, D, D//2+1, C, C) that real volumes may have: alike at opposite modes."""
    power = to_spectrum(drawn(1, box, box, box, name="power"))[0].abs()
    root = drawn(count, count, name="root")
    return (0.1 + power)[..., None, None] * (root @ root.T)


def everything(count: int, box: int) -> Tensor:
    return torch.ones(count, box, box, box // 2 + 1, dtype=torch.bool)


def dense(precision: Tensor, box: int, count: int) -> Tensor:
    """The matrix of `through`."""
    size = count * box**3
    units = torch.eye(size, dtype=FLOAT).view(size, count, box, box, box)
    columns = [through(precision, unit, torch.ones(())).flatten() for unit in units]
    return torch.stack(columns, dim=1)


@pytest.mark.parametrize("box", [4, 5])
def test_the_solution_is_that_of_the_dense_system(
    monkeypatch: pytest.MonkeyPatch, box: int
) -> None:
    monkeypatch.setattr(f"{SOLVE}.ITERATIONS", 200)
    precision, right = matrices(box, 2), drawn(2, box, box, box, name="right")
    window = ball(box, box / 2 - 1)
    found = solve(right, precision, window, everything(2, box))
    weight = window.expand(2, -1, -1, -1).flatten()
    inside = weight > 0
    system = (weight[:, None] * dense(precision, box, 2) * weight)[inside][:, inside]
    solved = torch.linalg.solve(system, (weight * right.flatten())[inside])
    expected = torch.zeros_like(weight)
    expected[inside] = weight[inside] * solved
    torch.testing.assert_close(found.flatten(), expected, rtol=1e-6, atol=1e-9)
    assert inside.sum() < len(inside)


def test_without_a_window_each_mode_is_solved_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(f"{SOLVE}.ITERATIONS", 60)
    box = 8
    precision, truth = matrices(box, 3), drawn(3, box, box, box, name="truth")
    right = through(precision, truth, torch.ones(()))
    found = solve(right, precision, torch.ones(()), everything(3, box))
    torch.testing.assert_close(found, truth, rtol=1e-6, atol=1e-7)


def test_modes_that_are_not_shown_follow_from_the_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a small ball, a cone of the transform tells nothing by itself."""
    box = 16
    monkeypatch.setattr(f"{SOLVE}.ITERATIONS", 100)
    window = ball(box, 3)
    truth = window * drawn(1, box, box, box, name="truth")
    radius = frequency_radius(box, 3, like=truth)
    frequency = torch.fft.fftfreq(box, 1 / box).to(FLOAT).abs()[:, None, None]
    is_hidden = (frequency > 0.9 * radius) & (radius > 0)  # about the z axis
    shown = (~is_hidden).expand(1, -1, -1, -1)
    unit = torch.ones(box, box, box // 2 + 1, 1, 1, dtype=FLOAT)
    found = solve(truth, unit, window, shown)
    left = to_spectrum(found - truth)[:, is_hidden].norm()
    assert float(left) < 0.3 * float(to_spectrum(truth)[:, is_hidden].norm())


@pytest.mark.parametrize("factor", [0.0, 1e-4])
def test_a_gap_between_voxels_makes_no_long_step(factor: float) -> None:
    """A mode that its voxel knows little of, pulled by all its neighbours."""
    box = 16
    window = ball(box, 5)
    truth = window * drawn(1, box, box, box, name="truth")
    precision = torch.ones(box, box, box // 2 + 1, 1, 1, dtype=FLOAT)
    right = through(precision, truth, torch.ones(()))
    precision[3, 2, 1] = precision[-3, -2, 1] = factor
    alone = from_spectrum(to_spectrum(right) / precision[..., 0, 0].clamp(min=1e-6))
    found = solve(right, precision, window, everything(1, box))
    assert float((alone - truth).norm()) > 10 * float(truth.norm())
    assert float((found - truth).norm()) < 0.2 * float(truth.norm())


def test_nothing_is_found_where_nothing_is_asked() -> None:
    box = 6
    zero = torch.zeros(2, box, box, box, dtype=FLOAT)
    found = solve(zero, matrices(box, 2), ball(box, 2), everything(2, box))
    assert torch.equal(found, zero)


def test_volumes_without_precision_are_left_alone() -> None:
    box = 6
    precision = torch.zeros(box, box, box // 2 + 1, 2, 2, dtype=FLOAT)
    precision[..., 0, 0] = 1
    right = drawn(2, box, box, box, name="right")
    right[1] = 0
    found = solve(right, precision, torch.ones(()), everything(2, box))
    torch.testing.assert_close(found, right)


@pytest.mark.parametrize("box", [12, 13])
def test_a_spectrum_is_that_of_its_volumes(box: int) -> None:
    volumes = drawn(2, box, box, box, name="volumes")
    torch.testing.assert_close(from_spectrum(to_spectrum(volumes)), volumes)


@pytest.mark.parametrize("box", [12, 13])
def test_a_point_in_the_centre_has_a_spectrum_of_ones(box: int) -> None:
    point = torch.zeros(1, box, box, box, dtype=FLOAT)
    point[0, box // 2, box // 2, box // 2] = 1
    spectrum = to_spectrum(point)
    torch.testing.assert_close(spectrum, torch.ones_like(spectrum))
