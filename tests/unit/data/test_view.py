"""What the discriminator sees of an image."""

import pytest
import torch
from torch import Tensor

from multicryogan.data.preprocess import Preprocessing, standardise
from multicryogan.data.view import View, Views
from multicryogan.imaging.ctf import CTFParams, ring_ctf
from multicryogan.rng import stream
from training_data import tiny_optics

BOX = 32
PREPROCESSING = Preprocessing(BOX, 1, 15.0, 2.0)
VIEW = View(PREPROCESSING, 3.0, shows_ctf=True)


def noise(count: int = 3, name: str = "noise") -> Tensor:
    return 3 + 2 * torch.randn(count, BOX, BOX, generator=stream(0, name))


def views(count: int, name: str) -> Views:
    return Views(noise(count, name), torch.rand(count, BOX // 2))


def test_images_are_standardised() -> None:
    images = noise()
    seen = VIEW(images, tiny_optics(3)).images
    assert torch.equal(seen, standardise(images, PREPROCESSING))


def test_every_image_comes_with_its_ctf_on_the_rings() -> None:
    optics = tiny_optics(3)
    transfer = VIEW(noise(), optics).transfer
    assert torch.equal(transfer, ring_ctf(optics, BOX // 2, BOX * 3.0))
    assert transfer.shape == (3, BOX // 2)


def test_the_ctf_has_the_type_of_the_images() -> None:
    images = noise().double()
    assert VIEW(images, tiny_optics(3)).transfer.dtype == torch.float64


@pytest.mark.parametrize(
    ("shows_ctf", "optics"), [(False, tiny_optics(3)), (True, None), (False, None)]
)
def test_a_ctf_that_is_not_known_is_one(
    shows_ctf: bool, optics: CTFParams | None
) -> None:
    transfer = View(PREPROCESSING, 3.0, shows_ctf)(noise(), optics).transfer
    assert torch.equal(transfer, torch.ones(3, BOX // 2))


def test_a_view_does_not_see_offset_and_gain() -> None:
    images = noise()
    torch.testing.assert_close(
        VIEW(7 * images - 2, None).images,
        VIEW(images, None).images,
        atol=1e-4,
        rtol=1e-3,
    )


def test_a_view_carries_gradients() -> None:
    images = noise().requires_grad_()
    seen = VIEW(images, tiny_optics(3)).images
    (slope,) = torch.autograd.grad(seen[:, 16, 16].sum(), images)
    assert slope.isfinite().all()
    assert slope.abs().max() > 0


def test_detached_views_leave_the_graph() -> None:
    images = noise().requires_grad_()
    seen = VIEW(images, tiny_optics(3))
    left = seen.detached()
    assert seen.images.requires_grad
    assert not left.images.requires_grad
    assert torch.equal(left.images, seen.images)
    assert torch.equal(left.transfer, seen.transfer)


def test_joined_views_keep_each_image_with_its_ctf() -> None:
    first, second = views(2, "first"), views(3, "second")
    joined = first.followed_by(second)
    assert torch.equal(joined.images[:2], first.images)
    assert torch.equal(joined.transfer[:2], first.transfer)
    assert torch.equal(joined.images[2:], second.images)
    assert torch.equal(joined.transfer[2:], second.transfer)
