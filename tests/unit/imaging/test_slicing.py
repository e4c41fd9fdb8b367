"""Slices of several volumes: the projector's values, and exact transposes."""

import math

import pytest
import torch
from torch import Tensor

from multicryogan.fourier import shell_weights
from multicryogan.imaging.projection import (
    SliceModes,
    centre_phase,
    sample_modes,
    slice_modes,
)
from multicryogan.imaging.slicing import Slicer
from multicryogan.rng import stream
from multicryogan.rotations import random_rotations

FLOAT = torch.float64
BOXES = [16, 17]


def drawn(*shape: int, name: str = "values", dtype: torch.dtype = FLOAT) -> Tensor:
    return torch.randn(shape, generator=stream(0, name), dtype=dtype)


def poses(count: int) -> Tensor:
    return random_rotations((count,), stream(0, "pose")).to(FLOAT)


def from_the_corner(slicer: Slicer, values: Tensor) -> Tensor:
    """(M, K, C) slices as an rfft2 counts them."""
    return values * centre_phase(slicer.modes, values.real)[:, None]


def slicer_of(box: int, max_shell: int | None = None) -> Slicer:
    return Slicer(slice_modes(box, max_shell, like=torch.zeros(1)))


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("max_shell", [None, 5])
def test_slices_are_those_of_the_projector(box: int, max_shell: int | None) -> None:
    slicer, volumes, rotation = (
        slicer_of(box, max_shell),
        drawn(3, box, box, box),
        poses(7),
    )
    found = slicer.sample(slicer.table(volumes), rotation)  # (M, K, C)
    expected = sample_modes(volumes, rotation.expand(3, -1, -1, -1), slicer.modes)
    found = from_the_corner(slicer, found)
    torch.testing.assert_close(found, expected.permute(1, 2, 0))


def test_slices_are_those_of_the_projector_in_single_precision() -> None:
    slicer, volumes, rotation = slicer_of(16), drawn(2, 16, 16, 16), poses(3)
    table = slicer.table(volumes.float())
    expected = sample_modes(volumes, rotation.expand(2, -1, -1, -1), slicer.modes)
    found = slicer.sample(table, rotation).to(expected.dtype)
    found = from_the_corner(slicer, found)
    assert table.dtype == torch.float32
    peak = expected.abs().max().item()
    torch.testing.assert_close(
        found, expected.permute(1, 2, 0), rtol=0, atol=1e-5 * peak
    )


@pytest.mark.parametrize("box", BOXES)
def test_slices_of_a_point_are_plane_waves(box: int) -> None:
    slicer, rotation, volumes = (
        slicer_of(box, 6),
        poses(5),
        torch.zeros(2, box, box, box),
    )
    places = torch.tensor(
        [[2.0, -3.0, 1.0], [-1.0, 0.0, 4.0]], dtype=FLOAT
    )  # (x, y, z)
    for volume, (x, y, z) in zip(volumes, places.long() + box // 2, strict=True):
        volume[z, y, x] = 1
    seen = torch.einsum("mij,cj->mci", rotation, places)[..., :2] + box // 2  # (x, y)
    plane = slicer.modes.frequency.flip(-1).to(FLOAT)  # (kx, ky)
    angle = -2 * math.pi / box * torch.einsum("kj,mcj->mkc", plane, seen)
    found = slicer.sample(slicer.table(volumes.to(FLOAT)), rotation)
    expected = torch.polar(torch.ones_like(angle), angle)
    torch.testing.assert_close(
        from_the_corner(slicer, found), expected, rtol=0, atol=8e-3
    )


def inner(a: Tensor, b: Tensor) -> float:
    """Real inner product."""
    return float((a * b.conj()).real.sum())


@pytest.mark.parametrize("box", BOXES)
def test_insert_is_the_transpose_of_sample(box: int) -> None:
    slicer, rotation = slicer_of(box), poses(7)
    table = drawn(*slicer.table(torch.zeros(3, box, box, box, dtype=FLOAT)).shape)
    slices = slicer.sample(table, rotation)
    values = drawn(*slices.shape, name="slices", dtype=torch.complex128)
    total = torch.zeros_like(table)
    slicer.insert(values, rotation, total)
    product = inner(slices, values)
    assert abs(product) > 10
    assert inner(table, total) == pytest.approx(product, rel=1e-10)


def test_insert_adds_to_what_is_there() -> None:
    slicer, rotation = slicer_of(16, 5), poses(2)
    table = slicer.table(torch.zeros(3, 16, 16, 16, dtype=FLOAT))
    count = len(slicer.modes.frequency)
    first, second = drawn(2, 2, count, 3, dtype=torch.complex128)
    both, total = torch.zeros_like(table), torch.zeros_like(table)
    slicer.insert(first + second, rotation, both)
    slicer.insert(first, rotation, total)
    slicer.insert(second, rotation, total)
    torch.testing.assert_close(total, both)


@pytest.mark.parametrize("box", BOXES)
def test_transpose_table_is_the_transpose_of_table(box: int) -> None:
    slicer, volumes = slicer_of(box, 6), drawn(3, box, box, box)
    table = slicer.table(volumes)
    total = drawn(*table.shape, name="total")
    product = inner(table, total)
    assert abs(product) > 10
    assert inner(volumes, slicer.transpose_table(total)) == pytest.approx(
        product, rel=1e-10
    )


def test_transpose_table_works_where_gradients_are_off() -> None:
    slicer = slicer_of(16, 4)
    total = drawn(*slicer.table(drawn(1, 16, 16, 16)).shape)
    with torch.no_grad():
        volumes = slicer.transpose_table(total)
    assert not volumes.requires_grad
    torch.testing.assert_close(volumes, slicer.transpose_table(total))


def without_zero(box: int, max_shell: int) -> Slicer:
    frequency = slicer_of(box, max_shell).modes.frequency
    return Slicer(SliceModes(box, frequency[frequency.any(-1)]))


def inserted_nearest(slicer: Slicer, values: Tensor, rotation: Tensor) -> Tensor:
    """(D, D, D//2+1, P) sums."""
    box = slicer.modes.box
    total = values.new_zeros(box * box * (box // 2 + 1), values.shape[-1])
    slicer.insert_nearest(values, rotation, total)
    return total.view(box, box, box // 2 + 1, -1)


@pytest.mark.parametrize(("box", "max_shell"), [(16, 7), (17, 8)])
def test_nearest_voxels_and_their_opposites_share_twice_the_values(
    box: int, max_shell: int
) -> None:
    slicer = without_zero(box, max_shell)
    values = drawn(9, len(slicer.modes.frequency), 2).abs()
    total = inserted_nearest(slicer, values, poses(9))
    times = shell_weights(box, 3, like=values)[..., None]  # in the full transform
    torch.testing.assert_close((total * times).sum((0, 1, 2)), 2 * values.sum((0, 1)))


@pytest.mark.parametrize(("box", "max_shell"), [(16, 7), (17, 8)])
def test_nearest_voxels_of_a_mode_and_its_opposite_are_alike(
    box: int, max_shell: int
) -> None:
    slicer = without_zero(box, max_shell)
    values = drawn(200, len(slicer.modes.frequency), 1)
    plane = inserted_nearest(slicer, values, poses(200))[:, :, 0]  # x = 0
    opposite = plane.roll((-1, -1), (0, 1)).flip(0, 1)
    assert (plane != 0).sum() > box
    torch.testing.assert_close(plane, opposite)


def in_layout(slicer: Slicer, values: Tensor, columns: tuple[int, int]) -> Tensor:
    """(D, D, D//2+1) values of one slice whose image axes are two axes of (z, y, x)."""
    box = slicer.modes.box
    total = values.new_zeros(box, box, box // 2 + 1)
    for (ky, kx), value in zip(slicer.modes.frequency.tolist(), values, strict=True):
        for sign in (1, -1) if kx == 0 else (1,):
            place = [0, 0, 0]
            place[columns[0]], place[columns[1]] = sign * ky, sign * kx
            total[tuple(place)] += value
    return total


@pytest.mark.parametrize("box", BOXES)
def test_a_slice_without_rotation_lands_in_the_plane_z_0(box: int) -> None:
    slicer = without_zero(box, 7)
    values = drawn(1, len(slicer.modes.frequency), 1)
    found = inserted_nearest(slicer, values, torch.eye(3, dtype=FLOAT)[None])[..., 0]
    torch.testing.assert_close(found, in_layout(slicer, values[0, :, 0], (1, 2)))


@pytest.mark.parametrize("box", BOXES)
def test_a_slice_whose_y_is_the_volume_z_lands_in_the_plane_y_0(box: int) -> None:
    slicer = without_zero(box, 7)
    values = drawn(1, len(slicer.modes.frequency), 1)
    # A (x, y, z) = (x, z, -y).
    tilt = torch.tensor([[[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]], dtype=FLOAT)
    found = inserted_nearest(slicer, values, tilt)[..., 0]
    torch.testing.assert_close(found, in_layout(slicer, values[0, :, 0], (0, 2)))
