"""Basis functions, masks and the 3D network."""

import pytest
import torch
from scipy.special import eval_legendre

from multicryogan.networks.blocks import UNet3d, gaussian_blob, legendre, soft_sphere
from multicryogan.rng import stream


def test_legendre_agrees_with_scipy() -> None:
    x = torch.linspace(-1, 1, 41, dtype=torch.float64)
    expected = [torch.from_numpy(eval_legendre(n, x.numpy())) for n in range(1, 8)]
    torch.testing.assert_close(legendre(x, 7), torch.stack(expected, dim=-1))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_legendre_adds_one_axis_of_degrees(count: int) -> None:
    assert legendre(torch.zeros(3, 2), count).shape == (3, 2, count)


@pytest.mark.parametrize("box", [16, 17])
def test_the_sphere_is_full_at_the_centre_and_empty_at_the_faces(box: int) -> None:
    sphere = soft_sphere(box)
    assert sphere[box // 2, box // 2, box // 2] == 1
    assert sphere[0].max() < 0.3
    assert sphere[0, 0, 0] == 0


@pytest.mark.parametrize("box", [16, 17])
def test_the_sphere_is_round_about_the_centre_voxel(box: int) -> None:
    sphere = soft_sphere(box)
    mirrored = sphere.flip(0) if box % 2 else sphere.flip(0).roll(1, 0)
    torch.testing.assert_close(mirrored, sphere)
    torch.testing.assert_close(sphere.transpose(0, 2), sphere)


@pytest.mark.parametrize("box", [16, 17])
def test_the_blob_is_a_gaussian_of_a_quarter_box(box: int) -> None:
    blobs = torch.stack([gaussian_blob(box, stream(i, "blob")) for i in range(60)])
    mean, centre = blobs.mean(0), box // 2
    radius = torch.arange(box) - centre
    expected = torch.exp(-0.5 * (radius / (box / 4)) ** 2)
    torch.testing.assert_close(mean[centre, centre], expected, atol=0.2, rtol=0)


def test_the_3d_network_keeps_the_box_and_is_positive() -> None:
    torch.manual_seed(0)
    volume = UNet3d(2)(5 * torch.randn(2, 16, 16, 16))
    assert volume.shape == (2, 16, 16, 16)
    assert (volume > 0).all()


def test_every_weight_of_the_3d_network_gets_a_gradient() -> None:
    torch.manual_seed(0)
    network = UNet3d(2)
    network(torch.rand(1, 8, 8, 8)).square().sum().backward()
    assert all(
        p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters()
    )
