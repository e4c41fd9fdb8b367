"""Volumes of the three generators."""

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from multicryogan.fourier import fourier_resize
from multicryogan.imaging import Symmetry, project, symmetrise
from multicryogan.networks import (
    ComponentGenerator,
    ConvolutionGenerator,
    Generator,
    VolumeGenerator,
)
from multicryogan.networks.blocks import legendre, soft_sphere
from multicryogan.networks.generator import LatentKind
from multicryogan.rng import stream
from multicryogan.rotations import random_rotations

LATENTS = torch.tensor([[0.0], [0.4], [1.0]])


def ball(box: int, centre: float = 0.0, sigma: float = 0.1) -> Tensor:
    """(D, D, D) Gaussian in units of the box, so that it fits every box."""
    axis = (torch.arange(box) - box // 2) / box
    squares = axis.square() / (2 * sigma**2)
    moved = (axis - centre).square() / (2 * sigma**2)
    return torch.exp(-(squares[:, None, None] + squares[:, None] + moved))


def components(
    box: int = 16, count: int = 3, dimensions: int = 1, kind: LatentKind = "segment"
) -> ComponentGenerator:
    torch.manual_seed(0)
    parts = torch.stack([0.3 * ball(box, 0.05 * k) for k in range(count)])
    return ComponentGenerator(ball(box), parts, dimensions, 8, kind)


def with_network() -> ComponentGenerator:
    """One whose network says something already."""
    generator = components()
    nn.init.normal_(generator.network[-1].weight)
    return generator


def convolution(box: int = 16) -> ConvolutionGenerator:
    torch.manual_seed(0)
    return ConvolutionGenerator(0.025 * torch.rand(2, box, box, box), 2)


def every_kind() -> list[Generator]:
    return [components(), convolution(), VolumeGenerator(ball(16))]


@pytest.mark.parametrize("generator", every_kind())
def test_one_volume_per_latent(generator: Generator) -> None:
    volumes = generator(torch.rand(3, 1))
    assert volumes.shape == (3, 16, 16, 16)
    assert volumes.isfinite().all()


@pytest.mark.parametrize("generator", every_kind())
def test_densities_are_never_negative(generator: Generator) -> None:
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=stream(0, "x")))
    assert generator(torch.rand(3, 1)).min() >= 0


@pytest.mark.parametrize("generator", every_kind())
def test_nothing_is_outside_the_sphere(generator: Generator) -> None:
    outside = soft_sphere(16) == 0
    assert generator(torch.rand(2, 1))[:, outside].abs().max() == 0


@pytest.mark.parametrize("generator", every_kind())
def test_scale_multiplies_the_densities(generator: Generator) -> None:
    latent = torch.rand(2, 1)
    before = generator(latent)
    generator.scale.mul_(7)
    torch.testing.assert_close(generator(latent), 7 * before)


@pytest.mark.parametrize("generator", every_kind())
def test_gradients_reach_every_parameter(generator: Generator) -> None:
    generator.zero_grad()
    generator(torch.rand(4, 1)).square().sum().backward()
    for name, parameter in generator.named_parameters():
        # The last layer starts at zero: what lies below it moves from the second step.
        if not name.startswith(("network.0", "network.2")):
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("generator", every_kind())
def test_voxels_are_exactly_the_parameters_that_are_volumes(
    generator: Generator,
) -> None:
    names = {id(v) for v in generator.voxels()}
    for name, parameter in generator.named_parameters():
        assert (id(parameter) in names) == name.startswith(("mean", "components"))


def test_a_component_generator_is_the_rectified_sum_of_its_shaped_parts() -> None:
    generator = components()
    alpha = torch.tensor([[0.0], [0.3]])
    weights = legendre(2 * alpha[:, 0] - 1, 3)  # the network starts at zero
    mean = generator.shaped(generator.mean)
    parts = generator.shaped(torch.stack(list(generator.components)))
    summed = mean + torch.einsum("vk,kzyx->vzyx", weights, parts)
    expected = soft_sphere(16) * summed.clamp(min=0)
    torch.testing.assert_close(generator(alpha), expected)


def test_without_open_motion_every_volume_is_the_mean() -> None:
    generator = with_network()
    generator.open_motion(0)
    volumes = generator(torch.tensor([[0.0], [1.0]]))
    expected = soft_sphere(16) * generator.shaped(generator.mean).clamp(min=0)
    torch.testing.assert_close(volumes, expected.expand(2, -1, -1, -1))


@pytest.mark.parametrize("degrees", [0, 1, 2])
def test_degrees_act_one_by_one(degrees: int) -> None:
    generator, alpha = with_network(), torch.tensor([[0.0], [0.3]])
    generator.open_motion(degrees)
    expected = legendre(2 * alpha[:, 0] - 1, 3)
    expected[:, degrees:] = 0
    torch.testing.assert_close(generator.coefficients(alpha), expected)


def test_a_degree_opens_for_all_dimensions_at_once() -> None:
    generator = components(count=5, dimensions=2, kind="uniform")
    opened = []
    for degrees in range(4):
        generator.open_motion(degrees)
        opened.append(generator.gate.tolist())
    assert opened == [[0] * 5, [1, 1, 0, 0, 0], [1, 1, 1, 1, 0], [1] * 5]


def test_the_network_acts_once_every_degree_does() -> None:
    generator, alpha = with_network(), torch.tensor([[0.0], [0.3]])
    generator.open_motion(3)
    position = 2 * alpha - 1
    expected = legendre(position[:, 0], 3) + generator.network(position)
    torch.testing.assert_close(generator.coefficients(alpha), expected)
    assert generator.network(position).abs().max() > 0.1


def test_the_warp_moves_latents_along_the_same_curve() -> None:
    generator, alpha = with_network(), torch.tensor([[0.1], [0.6]])
    plain = with_network()
    nn.init.normal_(generator.warp.logits, generator=stream(0, "warp"))
    moved = generator.warp(alpha)
    assert (moved - alpha).abs().min() > 0.01
    torch.testing.assert_close(generator(alpha), plain(moved))


@pytest.mark.parametrize("degrees", [0, 1, 3])
def test_the_warp_learns_from_the_first_degree_on(degrees: int) -> None:
    generator = components()
    generator.open_motion(degrees)
    assert generator.warp.logits.requires_grad == (degrees > 0)


def test_motion_can_be_opened_again() -> None:
    generator = with_network()
    before = generator(torch.tensor([[0.2]]))
    generator.open_motion(0)
    generator.open_motion(3)
    torch.testing.assert_close(generator(torch.tensor([[0.2]])), before)


@pytest.mark.parametrize("degrees", [0, 1, 2, 3])
def test_closed_degrees_and_the_network_are_frozen(degrees: int) -> None:
    generator = components()
    generator.open_motion(degrees)
    trained = [component.requires_grad for component in generator.components]
    assert trained == [k < degrees for k in range(3)]
    assert generator.mean.requires_grad
    for parameter in generator.network.parameters():
        assert parameter.requires_grad == (degrees == 3)


def test_adam_starts_to_count_when_a_degree_opens() -> None:
    generator = components()
    optimizer = torch.optim.Adam(generator.parameters(), 0.1)
    for degrees in (0, 1):
        generator.open_motion(degrees)
        optimizer.zero_grad()
        generator(torch.tensor([[0.2]])).sum().backward()
        optimizer.step()
    steps = [
        int(optimizer.state[parameter]["step"]) if parameter in optimizer.state else 0
        for parameter in (generator.mean, *generator.components)
    ]
    assert steps == [2, 1, 0, 0]


def test_the_gate_is_part_of_what_is_saved() -> None:
    generator, other = components(), components()
    generator.open_motion(1)
    other.load_state_dict(generator.state_dict())
    assert other.gate.tolist() == [1, 0, 0]


def test_every_component_is_part_of_what_is_saved() -> None:
    """One tensor per component, as safetensors stores them: no shared memory."""
    generator, other = with_network(), components()
    with torch.no_grad():
        for component in other.components:
            component.zero_()
    other.load_state_dict(load(save(generator.state_dict())))
    latent = torch.tensor([[0.1], [0.7]])
    assert torch.equal(other(latent), generator(latent))


def test_two_dimensions_have_a_linear_term_each_before_any_square() -> None:
    generator = components(count=3, dimensions=2, kind="uniform")
    weights = generator.coefficients(torch.tensor([[0.75, 0.1]]))
    linear = [0.5, -0.8]
    square = (3 * 0.5**2 - 1) / 2
    torch.testing.assert_close(weights, torch.tensor([[*linear, square]]))


def test_gaussian_latents_act_through_their_percentile() -> None:
    normal = components(kind="gaussian").coefficients(torch.tensor([[0.6744898]]))
    unit = components(kind="segment").coefficients(torch.tensor([[0.75]]))
    torch.testing.assert_close(normal, unit)


def test_far_gaussian_latents_stay_finite() -> None:
    volumes = components(kind="gaussian")(torch.tensor([[-40.0], [40.0]]))
    assert volumes.isfinite().all()


@pytest.mark.parametrize("new_box", [24, 32, 33])
@pytest.mark.parametrize("kind", ["components", "volume"])
def test_a_resized_generator_makes_the_same_images(kind: str, new_box: int) -> None:
    box = 16
    generator: Generator = components(box)
    if kind == "volume":
        generator = VolumeGenerator(ball(box))
    generator.scale.fill_(2.5)
    latent = torch.tensor([[0.1], [0.9]])
    rotation = random_rotations((2, 3), stream(0, "pose"))
    images = project(generator(latent), rotation)
    resized = project(generator.resized(new_box)(latent), rotation)
    expected = fourier_resize(images, new_box)
    assert (resized - expected).norm() / expected.norm() < 0.02


def test_a_resized_generator_keeps_warp_network_gate_and_kind() -> None:
    generator = components(kind="gaussian", dimensions=2)
    nn.init.normal_(generator.network[-1].weight)
    nn.init.normal_(generator.warp.logits, generator=stream(0, "warp"))
    latent = torch.randn(4, 2, generator=stream(0, "latent"))
    for degrees in (1, 2):  # the network acts after the last
        generator.open_motion(degrees)
        other = generator.resized(32)
        torch.testing.assert_close(
            other.coefficients(latent), generator.coefficients(latent)
        )
        assert torch.equal(other.gate, generator.gate)


def test_a_resized_generator_has_as_many_components() -> None:
    other = components().resized(24)
    assert [tuple(c.shape) for c in other.components] == [(24, 24, 24)] * 3


def test_resizing_leaves_the_generator_alone() -> None:
    generator = components()
    before = {k: v.clone() for k, v in generator.state_dict().items()}
    other = generator.resized(32)
    with torch.no_grad():
        other.mean.zero_()
        other.components[0].zero_()
        other.scale.zero_()
        other.gate.zero_()
        other.warp.logits.fill_(1)
    for name, value in generator.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_endpoints_of_the_3d_network_are_frozen_but_saved() -> None:
    generator = convolution()
    assert "endpoints" in generator.state_dict()
    assert all("endpoints" not in name for name, _ in generator.named_parameters())


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_the_3d_network_sees_the_point_between_the_endpoints(alpha: float) -> None:
    generator = convolution()
    first, second = generator.endpoints
    mixed = (1 - alpha) * first + alpha * second
    expected = soft_sphere(16) * generator.network(40 * mixed[None])
    torch.testing.assert_close(generator(torch.tensor([[alpha]])), expected)


def test_the_3d_network_cannot_change_its_box() -> None:
    with pytest.raises(AssertionError, match="cannot change its box to 32"):
        convolution().resized(32)


# Symmetry


def lopsided(box: int) -> Tensor:
    """(D, D, D) body without symmetry."""
    return ball(box) + 0.5 * ball(box, 0.2, 0.06).transpose(1, 2) + ball(box, 0.1)


def symmetric_components(has_motion: bool, box: int = 16) -> ComponentGenerator:
    parts = torch.stack([0.3 * lopsided(box).flip(k) for k in range(3)])
    symmetry = Symmetry("C3", has_motion)
    return ComponentGenerator(lopsided(box), parts, 1, 8, "segment", symmetry)


def asymmetry(volumes: Tensor, group: str = "C3") -> float:
    volumes = volumes.detach()
    return float((symmetrise(volumes, group) - volumes).norm() / volumes.norm())


def test_the_mean_is_symmetric() -> None:
    generator = symmetric_components(has_motion=False)
    generator.open_motion(0)
    volumes = generator(torch.rand(2, 1))
    assert asymmetry(volumes) < 0.01
    assert asymmetry(volumes, "D3") > 0.03
    assert asymmetry(generator.shaped(generator.mean)[None]) > 0.05


def test_conformations_may_break_the_symmetry() -> None:
    assert asymmetry(symmetric_components(has_motion=False)(torch.ones(1, 1))) > 0.05


def test_conformations_have_the_symmetry_when_asked_to() -> None:
    volumes = symmetric_components(has_motion=True)(torch.tensor([[0.0], [1.0]]))
    assert asymmetry(volumes) < 0.01
    assert (volumes[1] - volumes[0]).norm() > 0.05 * volumes[0].norm()


def test_a_single_volume_is_symmetric() -> None:
    generator = VolumeGenerator(lopsided(16), Symmetry("T"))
    assert asymmetry(generator(torch.rand(1, 1)), "T") < 0.02


def test_a_network_makes_symmetric_volumes() -> None:
    torch.manual_seed(0)
    ends = 0.025 * torch.rand(2, 16, 16, 16)
    generator = ConvolutionGenerator(ends, 2, Symmetry("D2", has_motion=True))
    assert asymmetry(generator(torch.rand(1, 1)), "D2") < 1e-5
    free = ConvolutionGenerator(ends, 2)
    assert asymmetry(free(torch.rand(1, 1)), "D2") > 1e-3


def test_what_lies_outside_the_sphere_does_not_come_into_it() -> None:
    outside = soft_sphere(16) == 0
    volumes = []
    for corners in (0.0, 1.0):
        start = torch.where(outside, corners, ball(16))
        generator = VolumeGenerator(start, Symmetry("C3"))
        generator.band.fill_(1.0)  # no ringing
        volumes.append(generator(torch.zeros(1, 1)))
    torch.testing.assert_close(*volumes)


def test_all_parts_of_a_symmetric_generator_learn() -> None:
    generator = symmetric_components(has_motion=True)
    generator(torch.rand(2, 1)).square().sum().backward()
    for voxels in generator.voxels():
        assert voxels.grad is not None
        assert voxels.grad.abs().max() > 0
        assert asymmetry(voxels.grad[None]) < 0.1


def test_a_resized_generator_keeps_its_symmetry() -> None:
    generator = symmetric_components(has_motion=True)
    assert generator.resized(24).symmetry == Symmetry("C3", True)
    single = VolumeGenerator(lopsided(16), Symmetry("O"))
    assert single.resized(24).symmetry == Symmetry("O")


# Focus


def focused(box: int = 16) -> ComponentGenerator:
    """One that moves in one half of the box."""
    loose = components(box)
    focus = torch.zeros(box, box, box)
    focus[:, :, box // 2 + 1 :] = 1
    parts = torch.stack(list(loose.components))
    return ComponentGenerator(loose.mean, parts, 1, 8, "segment", focus=focus)


def test_nothing_moves_outside_of_the_focus() -> None:
    volumes = focused()(LATENTS).detach()
    still = volumes[..., :9]
    assert torch.equal(still[0], still[1])
    assert torch.equal(still[0], still[2])
    assert float((volumes[0] - volumes[2])[..., 9:].abs().max()) > 0.1
    torch.testing.assert_close(volumes[..., 9:], components()(LATENTS)[..., 9:])


def test_the_mean_is_free_of_the_focus() -> None:
    generator = focused()
    generator(LATENTS).sum().backward()
    assert generator.mean.grad is not None
    assert (generator.mean.grad != 0).all()


def test_the_focus_goes_to_the_other_box() -> None:
    found = focused().resized(32).focus
    assert found is not None
    assert found.shape == (32, 32, 32)
    assert (found[:, :, :17] == 0).all()
    assert (found[2:-2, 2:-2, 18:-2] == 1).all()
    assert components().resized(32).focus is None


def test_the_focus_is_stored_with_the_weights() -> None:
    stored = load(save(focused().state_dict()))
    other = focused()
    assert other.focus is not None
    other.focus.fill_(1)
    other.load_state_dict(stored)
    assert torch.equal(other(LATENTS), focused()(LATENTS))
    assert "focus" not in components().state_dict()
