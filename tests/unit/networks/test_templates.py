"""Scores of the two banks of templates against likelihoods computed in pixels."""

import math

import pytest
import torch
from torch import Tensor

from multicryogan.fourier import fourier_resize, low_pass
from multicryogan.imaging import sample_noise
from multicryogan.losses import relativistic_loss
from multicryogan.networks import TemplateDiscriminator, templates
from multicryogan.networks.harmonics import circular_harmonics
from multicryogan.rng import stream

BOX = 32
SIGMA = 2.0  # pixels
Blobs = list[tuple[float, float, float]]  # height, radius in pixels, angle
# Heights sum to zero: rings leave out the mean of an image.
FIRST: Blobs = [(1.0, 5.0, 0.4), (0.5, 3.0, 2.5), (-1.5, 4.0, 4.2)]
SECOND: Blobs = [(0.8, 2.0, 1.0), (-1.2, 5.5, 1.9), (0.4, 4.5, 3.3)]
THIRD: Blobs = [(0.9, 4.0, 0.0), (0.6, 5.0, 2.2), (-1.5, 1.0, 5.0)]
FOURTH: Blobs = [(-0.7, 3.0, 0.0), (1.3, 2.5, 1.8), (-0.6, 5.5, 5.5)]


def drawn(
    blobs: Blobs, turn: float = 0.0, *, mirrored: bool = False, box: int = BOX
) -> Tensor:
    """(D, D) Gaussians, left and right exchanged or not, then turned about D // 2."""
    axis = torch.arange(box, dtype=torch.float64) - box // 2
    image = torch.zeros(box, box, dtype=torch.float64)
    for height, radius, start in blobs:
        angle = (math.pi - start if mirrored else start) + turn
        x = axis - radius * math.cos(angle)
        y = axis[:, None] - radius * math.sin(angle)
        image += height * torch.exp(-(x.square() + y.square()) / (2 * SIGMA**2))
    return image


def radius_grid(box: int = BOX) -> Tensor:
    """(D, D//2+1) |k| of every rfft2 mode."""
    k = torch.fft.fftfreq(box, 1 / box, dtype=torch.float64)
    half = torch.fft.rfftfreq(box, 1 / box, dtype=torch.float64)
    return (k[:, None].square() + half.square()).sqrt()


def rings(box: int = BOX) -> Tensor:
    return torch.arange(1, box // 2 + 1, dtype=torch.float64)


def some_ctf(k: Tensor) -> Tensor:
    """A CTF that changes sign between the sixth and the seventh ring."""
    return torch.cos(0.04 * k.square())


def some_noise(k: Tensor) -> Tensor:
    """Power of coloured noise."""
    return 0.5 + 1.5 * torch.exp(-k / 5)


def made(
    real: Tensor, fake: Tensor, precision: torch.dtype = torch.float32
) -> TemplateDiscriminator:
    """A discriminator whose templates are these images (J, D, D)."""
    box = real.shape[-1]
    discriminator = TemplateDiscriminator(box, len(real), precision)
    matrix = circular_harmonics(box, box // 2, discriminator.orders)
    for bank, images in enumerate((real, fake)):
        found = torch.tensordot(images.flatten(1).cfloat(), matrix, ([1], [2]))
        parts = torch.stack((found.real, found.imag)).permute(0, 3, 2, 1)
        discriminator.values.data[bank] = parts
    return discriminator


def a_few() -> TemplateDiscriminator:
    """Two templates a side."""
    real = torch.stack((drawn(FIRST), drawn(SECOND)))
    return made(real, torch.stack((drawn(THIRD), drawn(FOURTH))))


def scored(
    discriminator: TemplateDiscriminator, images: Tensor, transfer: Tensor | None = None
) -> Tensor:
    if transfer is None:
        transfer = torch.ones(images.shape[-1] // 2)
    images = images.float().view(-1, *images.shape[-2:])
    score: Tensor = discriminator(images, transfer.float().expand(len(images), -1))
    return score.detach()


def in_pixels(image: Tensor, blobs: Blobs, transfer: Tensor, noise: Tensor) -> Tensor:
    """Log-likelihood of an image, up to a constant, by trying every turn and mirror.

    Transfer and noise power are given on the modes (D, D//2+1).
    """
    whitened = low_pass(image, noise.rsqrt())
    turns = 2 * math.pi * torch.arange(100, dtype=torch.float64) / 100
    candidates = torch.stack(
        [drawn(blobs, float(t), mirrored=m) for t in turns for m in (False, True)]
    )
    shown = low_pass(candidates, transfer * noise.rsqrt())
    alike = (shown * whitened).sum((-2, -1))
    energy = shown.square().sum((-2, -1))
    return torch.logsumexp(alike - energy / 2, dim=0)


def noisy(image: Tensor, count: int, name: str = "noise") -> Tensor:
    """(count, D, D) copies in white noise of variance one, where the image is."""
    noise = torch.randn(count, *image.shape, generator=stream(0, name))
    return image + low_pass(noise.double(), (radius_grid() < 8).double())


def test_the_score_is_the_ratio_of_the_likelihoods_in_pixels() -> None:
    discriminator = made(drawn(FIRST)[None], drawn(SECOND)[None])
    flat = torch.ones_like(radius_grid())
    for image in (drawn(FIRST, 0.77), drawn(SECOND, 2.0), drawn(THIRD)):
        expected = in_pixels(image, FIRST, flat, flat)
        expected = expected - in_pixels(image, SECOND, flat, flat)
        assert scored(discriminator, image).item() == pytest.approx(
            expected.item(), abs=0.02
        )


def test_templates_are_seen_through_the_ctf_of_the_image() -> None:
    discriminator = made(drawn(FIRST)[None], drawn(SECOND)[None])
    transfer, flat = some_ctf(radius_grid()), torch.ones_like(radius_grid())
    for blobs in (FIRST, SECOND):
        image = low_pass(drawn(blobs, 0.77), transfer)
        expected = in_pixels(image, FIRST, transfer, flat)
        expected = expected - in_pixels(image, SECOND, transfer, flat)
        found = scored(discriminator, image, some_ctf(rings()))
        assert found.item() == pytest.approx(expected.item(), abs=0.02)


def test_coloured_noise_is_whitened() -> None:
    discriminator = made(drawn(FIRST)[None], drawn(SECOND)[None])
    power = some_noise(torch.arange(BOX // 2 + 1.0))
    discriminator.adapt(power, torch.ones(BOX // 2 + 1))
    # Templates are in units of the noise.
    discriminator.values.data *= discriminator.whitening[:, None]
    noise, flat = some_noise(radius_grid()), torch.ones_like(radius_grid())
    image = drawn(FIRST, 0.77)
    expected = in_pixels(image, FIRST, flat, noise)
    expected = expected - in_pixels(image, SECOND, flat, noise)
    found = scored(discriminator, image)
    assert found.item() == pytest.approx(expected.item(), abs=0.05)


def test_several_templates_are_a_mixture_with_their_shares() -> None:
    real = torch.stack((drawn(FIRST), drawn(SECOND)))
    discriminator = made(real, torch.zeros_like(real))
    discriminator.share.data[0] = torch.tensor([math.log(3.0), 0.0])
    flat, image = torch.ones_like(radius_grid()), drawn(THIRD)
    first, second = (in_pixels(image, b, flat, flat) for b in (FIRST, SECOND))
    mixture = torch.logaddexp(math.log(0.75) + first, math.log(0.25) + second)
    expected = mixture - math.log(200)  # turns and mirrors of nothing: all one
    found = scored(discriminator, image)
    assert found.item() == pytest.approx(expected.item(), abs=0.02)


def test_a_true_template_is_recognised_in_noise() -> None:
    discriminator = made(drawn(FIRST)[None], drawn(SECOND)[None])
    real = scored(discriminator, noisy(drawn(FIRST, 1.3), 50))
    fake = scored(discriminator, noisy(drawn(SECOND, 1.3), 50))
    assert (real > 0).float().mean() > 0.9
    assert (fake < 0).float().mean() > 0.9


@pytest.mark.parametrize("turn", [math.pi / 25, 0.3, math.pi / 2, 4.0])
def test_turning_an_image_keeps_its_score(turn: float) -> None:
    discriminator = a_few()
    score = scored(discriminator, drawn(FIRST, 0.1))
    torch.testing.assert_close(
        scored(discriminator, drawn(FIRST, 0.1 + turn)), score, atol=5e-3, rtol=0
    )


def test_mirroring_an_image_keeps_its_score() -> None:
    discriminator = a_few()
    torch.testing.assert_close(
        scored(discriminator, drawn(FIRST, mirrored=True)),
        scored(discriminator, drawn(FIRST)),
        atol=5e-3,
        rtol=0,
    )


def test_different_images_have_different_scores() -> None:
    discriminator = a_few()
    score = scored(discriminator, torch.stack((drawn(FIRST), drawn(THIRD))))
    assert score[0] > score[1] + 3


@pytest.mark.parametrize("box", [16, 32])
def test_a_fresh_discriminator_scores_exactly_zero(box: int) -> None:
    images = torch.randn(3, box, box, generator=stream(0, "images"))
    fresh = TemplateDiscriminator(box, 4, torch.float32)
    assert torch.equal(scored(fresh, images), torch.zeros(3))


def test_equal_banks_score_zero() -> None:
    bank = torch.stack((drawn(FIRST), drawn(SECOND)))
    score = scored(made(bank, bank), noisy(drawn(FIRST), 5))
    torch.testing.assert_close(score, torch.zeros(5), atol=1e-5, rtol=0)


def test_exchanging_the_banks_changes_the_sign() -> None:
    discriminator, images = a_few(), noisy(drawn(FIRST), 5)
    score = scored(discriminator, images)
    discriminator.values.data = discriminator.values.data.flip(0)
    torch.testing.assert_close(scored(discriminator, images), -score)


def test_images_of_a_batch_do_not_see_each_other() -> None:
    discriminator, images = a_few(), noisy(drawn(FIRST), 3)
    transfer = torch.stack([some_ctf(rings() + i) for i in range(3)])
    alone = scored(discriminator, images[1:2], transfer[1])
    together = scored(discriminator, images, transfer)[1:2]
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-5)


def penalty(discriminator: TemplateDiscriminator) -> float:
    """The same whatever the images."""
    box = 2 * discriminator.rings
    images, transfer = torch.randn(2, box, box), torch.ones(2, discriminator.rings)
    return discriminator.penalty(images, images, transfer, torch.rand(2)).item()


def test_the_penalty_is_the_mean_squared_difference_over_templates() -> None:
    discriminator = TemplateDiscriminator(16, 2, torch.float32)
    values = discriminator.values.data  # bank, part, order, ring, template
    values[:, 0, 3, 2, 0] = torch.tensor([5.0, 2.0])
    values[:, 1, 4, 1, 1] = torch.tensor([1.0, -3.0])
    values[:, 0, 1, 1, 1] = 7.0  # the same on both sides
    assert penalty(discriminator) == pytest.approx((3**2 + 4**2) / 2)


def test_the_penalty_is_in_units_of_the_noise_and_low_passed() -> None:
    discriminator = TemplateDiscriminator(16, 1, torch.float32)
    discriminator.values.data[0, 0, 0, 2] = 2.0  # ring 3
    discriminator.values.data[0, 0, 0, 5] = 9.0  # ring 6
    discriminator.step[2] = 0.5
    discriminator.open_band(4.0)
    assert penalty(discriminator) == pytest.approx((2 * 0.5) ** 2)


def test_the_band_falls_from_one_to_zero_about_its_shell() -> None:
    discriminator = TemplateDiscriminator(16, 1, torch.float32)
    discriminator.open_band(4.0)
    expected = torch.tensor([1, 1, 1, 2 / 3, 0, 0, 0, 0])
    torch.testing.assert_close(discriminator.band, expected)


def test_what_lies_beyond_the_band_does_not_count() -> None:
    discriminator = a_few()
    axis = torch.arange(BOX, dtype=torch.float64) - BOX // 2
    patch = torch.exp(-(axis[:, None].square() + axis.square()) / 32)
    fine = 3 * patch * torch.cos(2 * math.pi * 13 * axis / BOX)
    discriminator.values.data[0, :, :, 12] += 1  # a fine template answers to it
    image = drawn(FIRST)
    before = scored(discriminator, image + fine) - scored(discriminator, image)
    assert before.abs() > 1
    discriminator.open_band(5.0)
    torch.testing.assert_close(
        scored(discriminator, image + fine),
        scored(discriminator, image),
        atol=1e-3,
        rtol=0,
    )


def test_adapting_keeps_the_templates_and_changes_the_step() -> None:
    discriminator = a_few()
    before = discriminator.templates().detach()
    falling = torch.exp(-torch.arange(BOX // 2 + 1.0) / 4)
    discriminator.adapt(torch.ones_like(falling), falling.sqrt())
    discriminator.adapt(torch.full_like(falling, 4.0), falling)
    torch.testing.assert_close(discriminator.templates().detach(), before)
    expected = torch.exp(-torch.arange(0.0, 16) / 8)
    expected[-1] = expected[-2]  # a Fourier crop empties the last ring
    torch.testing.assert_close(discriminator.step, expected)
    torch.testing.assert_close(discriminator.whitening, torch.full((BOX // 2,), 0.5))


def test_steps_never_rise_with_the_ring() -> None:
    discriminator = TemplateDiscriminator(16, 1, torch.float32)
    snr = torch.tensor([9.0, 1.0, 0.25, 0.64, -1.0, 0.04, 0.0, 0.0, 5.0])
    discriminator.adapt(torch.ones(9), snr)
    expected = torch.tensor([1, 0.5, 0.5, *[0.05] * 5])
    torch.testing.assert_close(discriminator.step, expected)


def test_a_finer_box_goes_on_with_the_same_scores() -> None:
    discriminator, share = a_few(), torch.tensor([[0.3, -0.2], [0.1, 0.5]])
    discriminator.share.data = share
    small = torch.stack(
        [fourier_resize(drawn(b), 16) for b in (FIRST, SECOND, THIRD, FOURTH)]
    )
    coarse = made(small[:2], small[2:])
    coarse.share.data = share
    # A pixel of the coarse box averages four: a quarter of the noise.
    noise = some_noise(torch.arange(BOX // 2 + 1.0))
    falling = torch.exp(-torch.arange(BOX // 2 + 1.0) / 4)
    coarse.adapt(noise[:9] / 4, falling[:9])
    fine = TemplateDiscriminator(BOX, 2, torch.float32)
    fine.adapt(noise, falling)
    fine.take_over(coarse)
    images = torch.stack((drawn(FIRST, 0.3), drawn(SECOND), drawn(THIRD)))
    transfer = some_ctf(rings())
    expected = scored(coarse, fourier_resize(images, 16), transfer[:8])
    assert expected.std() > 1
    torch.testing.assert_close(
        scored(fine, images, transfer), expected, atol=0.02, rtol=1e-3
    )


def test_finer_rings_start_empty() -> None:
    fine = TemplateDiscriminator(BOX, 2, torch.float32)
    fine.values.data.fill_(7)
    coarse = TemplateDiscriminator(16, 2, torch.float32)
    coarse.values.data.fill_(1)
    fine.take_over(coarse)
    assert fine.values[:, :, :13, :8].detach().unique().tolist() == [1]
    assert fine.values[:, :, :, 8:].abs().max() == 0
    assert fine.values[:, :, 13:].abs().max() == 0


def test_a_start_is_the_wiener_filtered_images_in_both_banks() -> None:
    images = torch.stack((drawn(FIRST), drawn(SECOND)))
    transfer = some_ctf(rings()).float()
    snr = torch.exp(-torch.arange(BOX // 2 + 1.0) / 4)
    power = some_noise(torch.arange(BOX // 2 + 1.0))
    discriminator = TemplateDiscriminator(BOX, 2, torch.float32)
    discriminator.adapt(power, snr)
    discriminator.start(images.float(), transfer.expand(2, -1), snr)
    whole = made(images, images).templates().detach()
    gain = transfer.sign() * snr[1:] / (1 + snr[1:]) * power[1:].rsqrt()
    torch.testing.assert_close(
        discriminator.templates().detach(), whole * gain[:, None], atol=1e-5, rtol=1e-4
    )


def test_a_ring_without_signal_starts_nearly_empty() -> None:
    discriminator = TemplateDiscriminator(BOX, 1, torch.float32)
    snr = torch.full((BOX // 2 + 1,), -0.5)
    image = torch.randn(1, BOX, BOX, generator=stream(0, "image"))
    discriminator.start(image, torch.ones(1, BOX // 2), snr)
    whole = made(image, image).templates().detach()
    expected = whole * 0.002 / 1.002
    torch.testing.assert_close(discriminator.templates().detach(), expected)


def test_scores_have_slopes_in_the_images() -> None:
    discriminator = a_few()
    images = noisy(drawn(FIRST), 2).float().requires_grad_()
    transfer = some_ctf(rings()).float().expand(2, -1)
    (slope,) = torch.autograd.grad(discriminator(images, transfer).sum(), images)
    for i in range(2):
        step = torch.zeros_like(slope)
        step[i] = 0.05 * slope[i] / slope[i].norm()
        with torch.no_grad():
            above, below = (
                discriminator(images + s * step, transfer).sum() for s in (1, -1)
            )
        measured = (above - below).item() / 0.1
        assert measured == pytest.approx(slope[i].norm().item(), rel=0.01)
        assert measured > 0.1


def test_every_weight_gets_a_gradient() -> None:
    discriminator = a_few()
    images = noisy(drawn(FIRST), 4).float()
    discriminator(images, torch.ones(4, BOX // 2)).square().sum().backward()
    for name, parameter in discriminator.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_bfloat16_changes_scores_little() -> None:
    long = a_few()
    short = TemplateDiscriminator(BOX, 2, torch.bfloat16)
    short.load_state_dict(long.state_dict())
    images = torch.cat((noisy(drawn(FIRST), 20), noisy(drawn(THIRD), 20, "other")))
    expected, found = scored(long, images), scored(short, images)
    assert found.dtype == torch.float32
    assert (found - expected).norm() < 0.02 * expected.norm()


def test_what_is_saved_restores_the_scores() -> None:
    discriminator = a_few()
    falling = torch.exp(-torch.arange(BOX // 2 + 1.0) / 4)
    discriminator.adapt(some_noise(torch.arange(BOX // 2 + 1.0)), falling)
    discriminator.open_band(6.0)
    other = TemplateDiscriminator(BOX, 2, torch.float32)
    other.load_state_dict(discriminator.state_dict())
    images = noisy(drawn(FIRST), 3)
    assert torch.equal(scored(other, images), scored(discriminator, images))


@pytest.mark.parametrize("block", [3, 4, 10, 99])
def test_blocks_of_turns_have_the_values_and_slopes_of_the_whole(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(templates, "BLOCK", block)
    draws = stream(0, "columns")
    cosines, sines = torch.randn(2, 7, 5, generator=draws)
    sides, weight = torch.randn(2, 5, 10, generator=draws), torch.arange(10.0)
    x, y = (side.clone().requires_grad_() for side in sides)
    expected = torch.logsumexp(cosines @ x - sines @ y, dim=0)
    found = templates.TurnedLogSumExp.apply(x, y, cosines, sines)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad(found @ weight, (x, y)),
        torch.autograd.grad(expected @ weight, (x, y)),
        atol=1e-5,
        rtol=1e-4,
    )


def test_far_likelihoods_stay_finite() -> None:
    discriminator = a_few()
    score = scored(discriminator, 1e3 * drawn(FIRST))
    assert score.isfinite().all()


def test_training_tells_two_sets_apart() -> None:
    def batch(blobs: Blobs, step: int) -> Tensor:
        draws = stream(0, f"turn {blobs[0]}", step=step)
        turns = (2 * math.pi * torch.rand(24, generator=draws)).tolist()
        images = torch.stack([1.5 * drawn(blobs, turn) for turn in turns])
        noise = sample_noise((24, BOX, BOX), torch.ones(BOX // 2 + 1), draws)
        return (images + noise).float()

    discriminator = TemplateDiscriminator(BOX, 4, torch.float32)
    transfer, snr = torch.ones(24, BOX // 2), torch.exp(-torch.arange(17.0) / 3)
    discriminator.adapt(torch.ones(17), snr)
    discriminator.start(batch(FIRST, 99)[:4], transfer[:4], snr)
    optimizer = torch.optim.Adam(discriminator.parameters(), 0.03)
    for step in range(50):
        real, fake = batch(FIRST, step), batch(SECOND, step)
        loss = relativistic_loss(
            discriminator(real, transfer), discriminator(fake, transfer)
        )
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    real, fake = (scored(discriminator, batch(b, 60)) for b in (FIRST, SECOND))
    assert (real > fake.median()).float().mean() > 0.9
    assert (fake < real.median()).float().mean() > 0.9
