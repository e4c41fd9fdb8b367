"""What the discriminator sees of an image."""

import pytest
import torch
from torch import Tensor

from multicryogan.data.preprocess import Preprocessing, standardise
from multicryogan.data.view import View
from multicryogan.imaging import radial_power, sample_noise
from multicryogan.rng import stream

BOX = 32
PREPROCESSING = Preprocessing(BOX, 1, 15.0, 2.0)


def noise(falloff: float = 0.0, count: int = 400) -> Tensor:
    """(B, D, D) raw noise whose power falls with the shell."""
    power = 4 * torch.exp(-falloff * torch.arange(BOX // 2 + 1.0))
    return 3 + sample_noise((count, BOX, BOX), power, stream(0, "noise"))


def make_view(shell: float, images: Tensor) -> View:
    total = radial_power(standardise(images, PREPROCESSING))
    return View(PREPROCESSING, shell, total)


@pytest.mark.parametrize("falloff", [0.0, 0.1])
@pytest.mark.parametrize("shell", [3.0, 6.5, 11.0])
def test_low_passed_noise_keeps_the_variance_of_all(
    shell: float, falloff: float
) -> None:
    images = noise(falloff)
    seen = make_view(shell, images)(images)
    middle = seen[:, 8:24, 8:24]
    assert middle.var().item() == pytest.approx(1.0, rel=0.08)


def test_nothing_is_seen_beyond_the_soft_edge() -> None:
    images = noise()
    power = radial_power(make_view(5.0, images)(images))
    assert power[8:].max() < 1e-10 * power.max()


def test_modes_well_inside_the_low_pass_keep_their_shape() -> None:
    images = noise()
    view = make_view(8.0, images)
    inside = radial_power(view(images))[2:8]
    ratio = inside / radial_power(standardise(images, PREPROCESSING))[2:8]
    torch.testing.assert_close(ratio, ratio[:1].expand(6), rtol=1e-2, atol=0)


@pytest.mark.parametrize("shell", [16.0, 32.0])
def test_a_view_beyond_nyquist_only_standardises(shell: float) -> None:
    images = noise(count=3)
    seen = make_view(shell, images)(images)
    assert torch.equal(seen, standardise(images, PREPROCESSING))


def test_the_low_pass_acts_up_to_nyquist() -> None:
    images = noise()
    power = radial_power(make_view(14.0, images)(images))
    whole = radial_power(standardise(images, PREPROCESSING))
    assert power[15] / power[10] < 0.8 * whole[15] / whole[10]


@pytest.mark.parametrize(("shell", "highest"), [(3.0, 5), (6.5, 9), (14.0, None)])
def test_the_highest_shell_covers_the_soft_edge(
    shell: float, highest: int | None
) -> None:
    assert View(PREPROCESSING, shell, torch.ones(BOX // 2 + 1)).max_shell == highest


def test_a_view_does_not_see_offset_and_gain() -> None:
    images = noise(count=3)
    view = make_view(5.0, images)
    torch.testing.assert_close(view(7 * images - 2), view(images), atol=1e-4, rtol=1e-3)


def test_a_view_carries_gradients() -> None:
    images = noise(count=2).requires_grad_()
    view = make_view(5.0, images.detach())
    (slope,) = torch.autograd.grad(view(images).square().sum(), images)
    assert slope.isfinite().all()
    assert slope.abs().max() > 0
