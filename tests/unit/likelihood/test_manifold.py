"""A linear manifold spans what it was made of."""

import numpy as np
import pytest
import torch
from torch import Tensor

from multicryogan.likelihood.manifold import Manifold, all_pairs
from multicryogan.rng import stream

FLOAT = torch.float64
LATENTS = torch.linspace(0, 1, 6, dtype=FLOAT)[:, None]
WEIGHTS = torch.tensor([0.05, 0.1, 0.15, 0.2, 0.2, 0.3], dtype=FLOAT)


def drawn(*shape: int, name: str = "volumes", dtype: torch.dtype = FLOAT) -> Tensor:
    return torch.randn(shape, generator=stream(0, name), dtype=dtype)


def of_rank(rank: int) -> Tensor:
    """(6, 5, 5, 5) volumes: a mean and combinations of `rank` others."""
    shares = torch.cat(
        (torch.ones(6, 1, dtype=FLOAT), drawn(6, rank, name="shares")), 1
    )
    return torch.einsum("vc,czyx->vzyx", shares, drawn(rank + 1, 5, 5, 5))


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_volumes_of_a_rank_are_spanned_by_as_many_components(rank: int) -> None:
    volumes = of_rank(rank)
    found = Manifold.span(volumes, LATENTS, WEIGHTS, rank)
    assert found.basis.shape == (rank + 1, 5, 5, 5)
    torch.testing.assert_close(found.volumes, volumes)


def test_no_component_is_kept_that_the_volumes_do_not_have() -> None:
    volumes = of_rank(2)
    found = Manifold.span(volumes, LATENTS, WEIGHTS, 5)
    assert found.coefficients.shape == (6, 3)
    assert found.pairs.tolist() == [[0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]]
    torch.testing.assert_close(found.volumes, volumes)


def test_a_rigid_molecule_has_a_mean_alone() -> None:
    found = Manifold.span(of_rank(0), LATENTS, WEIGHTS, 3)
    assert len(found.basis) == 1
    torch.testing.assert_close(found.basis[0], of_rank(0)[0])


def test_coefficients_have_mean_zero_and_variance_one_under_the_weights() -> None:
    found = Manifold.span(drawn(6, 5, 5, 5), LATENTS, WEIGHTS, 3).coefficients
    torch.testing.assert_close(found[:, 0], torch.ones(6, dtype=FLOAT))
    moments = found.T @ (WEIGHTS[:, None] * found)
    torch.testing.assert_close(moments, torch.eye(4, dtype=FLOAT))


def test_the_first_basis_volume_is_the_weighted_mean() -> None:
    volumes = drawn(6, 5, 5, 5)
    found = Manifold.span(volumes, LATENTS, WEIGHTS, 2).basis[0]
    expected = sum(float(w) * v for w, v in zip(WEIGHTS, volumes, strict=True))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("components", [0, 1, 3])
def test_components_leave_the_least_that_so_many_can(components: int) -> None:
    volumes = drawn(6, 5, 5, 5)
    found = Manifold.span(volumes, LATENTS, WEIGHTS, components)
    left = (found.volumes - volumes).square().sum((1, 2, 3)) @ WEIGHTS
    # The eigenvalues of the weighted covariance matrix that were left out.
    flat, weights = volumes.flatten(1).numpy(), WEIGHTS.numpy()
    covariance = np.cov(flat.T, aweights=weights, ddof=0)
    values = np.sort(np.linalg.eigvalsh(covariance))[::-1]
    assert left.item() == pytest.approx(values[components:].sum(), rel=1e-9)


def test_places_and_weights_are_kept() -> None:
    found = Manifold.span(drawn(6, 5, 5, 5), LATENTS, WEIGHTS, 2)
    torch.testing.assert_close(found.latents, LATENTS)
    torch.testing.assert_close(found.weights, WEIGHTS)


def power_of_slices(found: Manifold) -> tuple[Tensor, Tensor]:
    """(V, 30) |S_v|² as it is, and by the quadratic identity."""
    slices = drawn(len(found.basis), 30, name="slices", dtype=torch.complex128)
    direct = (found.coefficients.to(slices) @ slices).abs().square()
    first, second = found.pairs
    return direct, found.quadratic @ (slices[first] * slices[second].conj()).real


def test_power_of_a_slice_is_quadratic_in_the_basis() -> None:
    direct, identity = power_of_slices(
        Manifold.span(drawn(6, 5, 5, 5), LATENTS, WEIGHTS, 3)
    )
    torch.testing.assert_close(identity, direct)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_separate_volumes_are_their_own_basis(dtype: torch.dtype) -> None:
    volumes = drawn(6, 5, 5, 5).to(dtype)
    found = Manifold.separate(volumes, LATENTS.to(dtype), WEIGHTS.to(dtype))
    torch.testing.assert_close(found.volumes, volumes)
    assert found.pairs.tolist() == [list(range(6))] * 2


def test_power_of_a_slice_of_separate_volumes_is_its_own() -> None:
    direct, identity = power_of_slices(
        Manifold.separate(drawn(6, 5, 5, 5), LATENTS, WEIGHTS)
    )
    torch.testing.assert_close(identity, direct)


def test_pairs_are_all_products_in_one_order() -> None:
    assert all_pairs(3).T.tolist() == [[0, 0], [0, 1], [0, 2], [1, 1], [1, 2], [2, 2]]
