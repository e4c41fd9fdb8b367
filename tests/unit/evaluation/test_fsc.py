"""Facts about the FSC and what is read from its curve."""

import math

import pytest
import torch

from multicryogan.evaluation import (
    fsc,
    fsc_area,
    last_shell_above,
    resolution_angstrom,
)
from multicryogan.rng import stream

BOXES = [16, 17]


def noise(box: int, name: str, count: int = 1) -> torch.Tensor:
    return torch.randn(count, box, box, box, generator=stream(0, name))


def plane_wave(box: int, k: tuple[int, int, int]) -> torch.Tensor:
    axis = torch.arange(box) * (2 * math.pi / box)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    return torch.cos(k[0] * z + k[1] * y + k[2] * x)


@pytest.mark.parametrize("box", BOXES)
def test_fsc_of_a_volume_with_itself_is_one(box: int) -> None:
    a = noise(box, "a")
    torch.testing.assert_close(fsc(a, a), torch.ones(1, box // 2 + 1))


def test_fsc_is_blind_to_scale_and_sees_the_sign() -> None:
    a = noise(16, "a")
    torch.testing.assert_close(fsc(a, -3 * a), -torch.ones(1, 9))


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize(
    ("k", "shell"), [((0, 0, 3), 3), ((2, 2, 2), 3), ((1, 1, 0), 1), ((0, -4, 2), 4)]
)
def test_a_wave_counts_in_shell_round_k(
    box: int, k: tuple[int, int, int], shell: int
) -> None:
    a, b = noise(box, "a")[0], noise(box, "b")[0]
    wave = 100 * plane_wave(box, k)
    assert fsc(a + wave, b + wave).argmax().item() == shell


@pytest.mark.parametrize("box", BOXES)
def test_hermitian_halves_count_once_each(box: int) -> None:
    # a holds two waves of one shell with equal power, one on the plane kx = 0 whose
    # two halves are both stored, one off it whose mirror is not: each is half of it.
    on_plane, off_plane = plane_wave(box, (3, 0, 0)), plane_wave(box, (0, 0, 3))
    curve = fsc(on_plane + off_plane, on_plane)
    assert curve[3].item() == pytest.approx(math.sqrt(0.5), abs=1e-5)


def test_known_noise_gives_the_expected_fsc() -> None:
    a, n = noise(32, "a"), noise(32, "n")
    curve = fsc(a, a + n)[0]
    assert curve[6:].mean().item() == pytest.approx(math.sqrt(0.5), abs=0.01)


def test_empty_shells_have_no_correlation() -> None:
    assert fsc(torch.zeros(16, 16, 16), noise(16, "a")[0]).abs().max() == 0


def test_leading_axes_broadcast() -> None:
    a, b = noise(16, "a", 3), noise(16, "b")[0]
    torch.testing.assert_close(fsc(a, b)[1], fsc(a[1], b))


def test_volumes_of_different_boxes_are_refused() -> None:
    with pytest.raises(ValueError, match="expected cubic volumes"):
        fsc(torch.zeros(16, 16, 16), torch.zeros(17, 17, 17))


@pytest.mark.parametrize("length", [9, 17])
def test_area_of_a_perfect_curve_is_one(length: int) -> None:
    assert fsc_area(torch.ones(length)).item() == pytest.approx(1)


def test_area_of_a_straight_fall_is_one_half() -> None:
    assert fsc_area(torch.linspace(1, 0, 17)).item() == pytest.approx(0.5)


def test_resolution_is_interpolated_between_shells() -> None:
    curve = torch.tensor([1.0, 0.9, 0.7, 0.3, 0.1])
    assert resolution_angstrom(curve, 0.5, 8, 5.0) == pytest.approx(8 * 5 / 2.5)


def test_resolution_of_a_perfect_curve_is_nyquist() -> None:
    assert resolution_angstrom(torch.ones(17), 0.5, 32, 5.0) == pytest.approx(10)


def test_resolution_is_read_at_the_first_crossing() -> None:
    curve = torch.tensor([1.0, 0.4, 0.9, 0.9])
    assert resolution_angstrom(curve, 0.5, 6, 1.0) > 6


def test_resolution_is_infinite_where_nothing_agrees() -> None:
    assert resolution_angstrom(torch.zeros(9), 0.5, 16, 1.0) == math.inf


@pytest.mark.parametrize(
    ("curve", "shell"),
    [([1.0, 0.5, 0.4, 0.9], 1), ([1.0, 1.0], 1), ([0.2, 1.0], -1)],
)
def test_last_shell_before_the_first_one_below(curve: list[float], shell: int) -> None:
    assert last_shell_above(torch.tensor(curve), 0.5) == shell
