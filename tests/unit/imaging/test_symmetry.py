"""The mean over a point group: closed forms, then what a projector is."""

import pytest
import torch
from torch import Tensor

from evaluation_phantoms import blobs
from multicryogan.fourier import frequency_radius
from multicryogan.imaging import Symmetry, project, symmetrise
from multicryogan.rng import stream
from multicryogan.rotations import point_group, random_rotations

MODULE = "multicryogan.imaging.symmetry"
ON_GRID = ["C2", "C4", "D2", "D4", "O"]
BETWEEN = ["C3", "C7", "D3", "T", "I"]
every_group = pytest.mark.parametrize("group", ON_GRID + BETWEEN)
both_parities = pytest.mark.parametrize("box", [32, 33])
PLACE = torch.tensor([0.2, 0.11, 0.17])  # of the box: |PLACE| = 0.28


def relative(found: Tensor, expected: Tensor) -> float:
    """Relative error of the modes up to 0.8 of Nyquist."""
    box = expected.shape[-1]
    inside = frequency_radius(box, 3, like=expected) <= 0.8 * box / 2
    error = torch.fft.rfftn(found - expected)[..., inside]
    return float(error.norm() / torch.fft.rfftn(expected)[..., inside].norm())


def sphere_of_noise(box: int, name: str, count: int = 1) -> Tensor:
    """(C, D, D, D) smooth noise well inside the sphere in the box."""
    noise = torch.randn(count, 6, 3, generator=stream(0, name))
    points = 0.3 * box * torch.nn.functional.normalize(noise, dim=-1)
    return torch.stack([blobs(box, some, 1.2) for some in points])


@both_parities
@every_group
@pytest.mark.parametrize("sigma", [0.8, 1.5])
def test_a_gaussian_becomes_one_at_each_rotated_place(
    group: str, box: int, sigma: float
) -> None:
    rotations = point_group(group).float()
    one = blobs(box, PLACE[None] * box, sigma)
    expected = blobs(box, rotations @ (PLACE * box), sigma) / len(rotations)
    found = symmetrise(one, group)
    assert relative(found, expected) < (1e-5 if group in ON_GRID else 0.01)
    if sigma > 1:  # nothing of it lies beyond Nyquist
        assert float((found - expected).norm() / expected.norm()) < 0.003


@both_parities
@pytest.mark.parametrize("group", ON_GRID)
def test_rotations_that_keep_the_grid_permute_voxels(group: str, box: int) -> None:
    volume = torch.zeros(box, box, box)
    z, y, x = 3, 7, 5
    volume[z + box // 2, y + box // 2, x + box // 2] = 1
    found = symmetrise(volume, group)
    rotations = point_group(group)
    for place in (rotations @ torch.tensor([x, y, z]).double()).round().long():
        at = place.flip(0) + box // 2
        assert float(found[tuple(at)]) == pytest.approx(1 / len(rotations))
        found[tuple(at)] = 0
    assert found.abs().max() == 0


@both_parities
@every_group
def test_what_is_symmetric_stays(group: str, box: int) -> None:
    once = symmetrise(sphere_of_noise(box, "blobs"), group)
    assert relative(symmetrise(once, group), once) < 0.005


@both_parities
@every_group
def test_the_mean_over_a_group_is_its_own_transpose(group: str, box: int) -> None:
    first, second = (sphere_of_noise(box, name) for name in ("first", "second"))
    left = (symmetrise(first, group) * second).sum()
    right = (first * symmetrise(second, group)).sum()
    assert float(left) == pytest.approx(float(right), rel=0.005)


@every_group
def test_gradients_are_those_of_the_mean_over_the_group(group: str) -> None:
    volume = sphere_of_noise(32, "first").requires_grad_()
    target = sphere_of_noise(32, "second")
    (gradient,) = torch.autograd.grad(
        (symmetrise(volume, group) * target).sum(), volume
    )
    direction = sphere_of_noise(32, "direction")
    change = (symmetrise(direction, group) * target).sum()  # it is linear
    assert float((gradient * direction).sum()) == pytest.approx(float(change), rel=0.01)


@both_parities
@pytest.mark.parametrize("group", ["C3", "D2", "T", "I"])
def test_views_that_differ_by_a_rotation_of_the_group_are_alike(
    group: str, box: int
) -> None:
    volume = symmetrise(sphere_of_noise(box, "blobs"), group)
    view = random_rotations((1, 1), stream(0, "view"))
    views = project(volume, view @ point_group(group).float())[0]
    error = (views - views[0]).flatten(1).norm(dim=1) / views[0].norm()
    assert error.max() < 0.01
    other = random_rotations((1, 1), stream(0, "other"))
    assert (project(volume, other)[0, 0] - views[0]).norm() > 0.1 * views[0].norm()


def test_without_symmetry_nothing_changes() -> None:
    volume = torch.randn(2, 8, 8, 8, generator=stream(0, "volume"))
    assert torch.equal(symmetrise(volume, "C1"), volume)


@pytest.mark.parametrize("group", ["D2", "D3"])
def test_volumes_of_a_batch_do_not_see_each_other(group: str) -> None:
    volumes = sphere_of_noise(16, "blobs", 6).view(2, 3, 16, 16, 16)
    before = volumes.clone()
    found = symmetrise(volumes, group)
    assert found.shape == volumes.shape
    assert torch.equal(volumes, before)
    torch.testing.assert_close(symmetrise(volumes[1, 2], group), found[1, 2])


@pytest.mark.parametrize("group", ["D2", "D3"])
def test_double_precision_stays_double(group: str) -> None:
    volume = sphere_of_noise(16, "blobs")
    found = symmetrise(volume.double(), group)
    assert found.dtype == torch.float64
    torch.testing.assert_close(
        found.float(), symmetrise(volume, group), atol=1e-5, rtol=0
    )


def test_large_tables_are_worked_out_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    volume = sphere_of_noise(16, "blobs")
    kept = symmetrise(volume, "T")
    monkeypatch.setattr(f"{MODULE}.TAPS_KEPT", 0)
    assert torch.equal(symmetrise(volume, "T"), kept)


def test_a_free_motion_leaves_no_symmetry_to_all() -> None:
    free, symmetric = Symmetry("D3"), Symmetry("D3", has_motion=True)
    assert [free.of_all(motions) for motions in (0, 1, 5)] == ["D3", "C1", "C1"]
    assert [symmetric.of_all(motions) for motions in (0, 1)] == ["D3", "D3"]
