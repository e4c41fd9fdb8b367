"""Refinement: what halves share, what they do not, and where it leads."""

import dataclasses
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from evaluation_phantoms import grid_points
from multicryogan.config import RefineConfig
from multicryogan.evaluation import fsc
from multicryogan.fourier import frequency_radius
from multicryogan.imaging.projection import slice_modes
from multicryogan.inference.masks import Masks, in_sphere, sphere
from multicryogan.inference.refinement import (
    Refinement,
    State,
    shared_power,
    shown_by_both,
    weighed,
)
from multicryogan.likelihood.least_squares import to_spectrum
from multicryogan.likelihood.manifold import Manifold, all_pairs
from multicryogan.likelihood.maximisation import Estimate
from multicryogan.likelihood.poses import PoseTree
from multicryogan.rng import stream
from refinement_data import BOX, images_of, phantom, refinement

REFINEMENT = "multicryogan.inference.refinement"
HELD_OUT = 50


def white(name: str, count: int = 64, box: int = BOX) -> Tensor:
    """(C, D, D, D) normal numbers of variance one."""
    return torch.randn(count, box, box, box, generator=stream(0, name))


def estimates(*halves: Tensor) -> list[Estimate]:
    return [Estimate(to_spectrum(half), torch.zeros(0)) for half in halves]


# What both halves agree on


@pytest.mark.parametrize("box", [12, 13])
@pytest.mark.parametrize("snr", [4.0, 0.5])
def test_shared_power_is_that_of_the_signal(box: int, snr: float) -> None:
    signal = snr**0.5 * white("signal", box=box)
    halves = [signal + white(name, box=box) for name in ("first", "second")]
    power, correlation = shared_power(estimates(*halves))
    assert power.shape == correlation.shape == (64, box // 2 + 1)
    # White numbers of variance v have v D³ of power in each mode of the transform.
    found = power[:, 2:].mean(0) / box**3
    torch.testing.assert_close(found, torch.full_like(found, snr), rtol=0.1, atol=0)
    expected = torch.full_like(found, snr / (1 + snr))
    torch.testing.assert_close(
        correlation[:, 2:].mean(0), expected, rtol=0.05, atol=0.01
    )


def test_noise_alone_has_no_correlation() -> None:
    power, correlation = shared_power(estimates(white("first"), white("second")))
    assert correlation[:, 2:].mean(0).abs().max() < 0.03
    assert (power >= 0).all()
    assert (power[correlation < 0] == 0).all()
    assert (correlation[:, 2:] < 0).float().mean() == pytest.approx(0.5, abs=0.1)


def test_what_is_seen_of_a_shell_has_the_power_of_all_of_it() -> None:
    """Modes up to 4.2 are a tenth of shell 4 or more, and none of shell 5."""
    both = estimates(2 * white("first"), 2 * white("first"))
    radius = frequency_radius(BOX, 3, like=both[0].spectrum.real)
    part = [
        Estimate(each.spectrum * (radius <= 4.2), each.precision, 4.2) for each in both
    ]
    power, correlation = shared_power(part)
    found = power[:, 4].mean() / BOX**3
    torch.testing.assert_close(found, torch.tensor(4.0), rtol=0.05, atol=0)
    assert (correlation[:, 1:5] > 0.999).all()
    assert (power[:, 5:] == 0).all()


def test_opposite_halves_share_no_power() -> None:
    power, correlation = shared_power(estimates(white("one"), -white("one")))
    torch.testing.assert_close(correlation, -torch.ones_like(correlation))
    assert (power == 0).all()


def test_an_empty_shell_has_neither_power_nor_correlation() -> None:
    both = estimates(white("first"), white("second"))
    for half in both:
        half.spectrum[:, 0, 0, 0] = 0
    power, correlation = shared_power(both)
    assert (power[:, 0] == 0).all()
    assert (correlation[:, 0] == 0).all()


# The sphere


def radius(box: int) -> Tensor:
    return grid_points(box).norm(dim=-1)


@pytest.mark.parametrize("box", [12, 13])
def test_the_level_of_the_rim_is_taken_off(box: int) -> None:
    inner = radius(box) < 3
    volumes = torch.stack((2.0 + 3.0 * inner, -1.0 + 0.5 * inner))
    expected = torch.stack((3.0 * inner, 0.5 * inner))
    torch.testing.assert_close(in_sphere(volumes), expected)


@pytest.mark.parametrize("box", [12, 13])
def test_what_lies_well_inside_keeps_its_contrast(box: int) -> None:
    inner = radius(box) <= box / 2 - 2
    volume = white("inside", 1, box)
    found = in_sphere(volume)
    offset = (volume - found)[0, inner]
    rim = (radius(box) > box / 2 - 2) & (radius(box) < box / 2)
    expected = volume[0, rim].mean().expand_as(offset)
    torch.testing.assert_close(offset, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("box", [12, 13])
def test_nothing_is_left_at_the_surface(box: int) -> None:
    found = in_sphere(white("outside", 2, box))
    assert (found[:, radius(box) >= box / 2] == 0).all()
    assert (found[:, radius(box) < box / 2 - 0.1] != 0).all()


# A refinement of a single map


def single(volume: Tensor) -> Manifold:
    return Manifold(
        torch.tensor([[0.5]]),
        torch.ones(1),
        torch.ones(1, 1),
        volume[None],
        all_pairs(1),
    )


def settings(start_shell: int = 3) -> RefineConfig:
    return RefineConfig(start_shell=start_shell, components=0)


@pytest.fixture(scope="module")
def images() -> tuple[Tensor, float]:
    """500 images of one particle, and their noise."""
    return images_of(phantom()[None], [500], 1.0)


@pytest.fixture(scope="module")
def work(images: tuple[Tensor, float]) -> Refinement:
    return refinement(*images, settings(), held_out=HELD_OUT)


@pytest.fixture(scope="module")
def course(work: Refinement) -> list[State]:
    """The start and three steps."""
    states = [work.begin(single(phantom()))]
    for _ in range(3):
        states.append(work.step(states[-1]))
    return states


def shells(volumes: Tensor) -> tuple[Tensor, Tensor]:
    """(C, D, D, D//2+1) transforms and the shell of each mode."""
    radius = frequency_radius(volumes.shape[-1], 3, like=volumes)
    return to_spectrum(volumes), radius


def test_the_start_is_low_passed_and_the_same_for_both(work: Refinement) -> None:
    start = white("start", 1)
    state = work.begin(single(start[0]))
    given, radius = shells(in_sphere(start))
    for half in state.halves:
        found, _ = shells(half.basis)
        inside = (radius > 0) & (radius <= 3)
        torch.testing.assert_close(found[:, inside], given[:, inside])
        assert found[:, radius > 3].abs().max() < 1e-3  # of about 40
    torch.testing.assert_close(
        state.maxima, state.halves[0].basis.expand(2, 1, -1, -1, -1)
    )
    assert (state.iteration, state.shell, state.history) == (0, 3, ())


def test_nothing_smears_into_shells_that_halves_do_not_share() -> None:
    """The same in both halves, it would look like agreement one iteration later."""
    strong = in_sphere(10 * phantom()[None])
    power = torch.full((1, BOX // 2 + 1), 1e6)
    power[:, 4:] = 0
    precision = torch.ones(BOX, BOX, BOX // 2 + 1, 1, 1)
    masks = Masks(sphere(strong[0]))
    found = weighed(Estimate(to_spectrum(strong), precision), power, masks)
    spectrum, radius = shells(found)
    expected = to_spectrum(strong)
    assert expected[:, radius.round() > 3].abs().max() > 10
    assert spectrum[:, radius.round() > 3].abs().max() < 1e-3
    kept = radius.round() <= 3
    error = (spectrum - expected)[:, kept].norm() / expected[:, kept].norm()
    assert float(error) < 0.02


def bounded(box: int) -> Tensor:
    """(D, D, D) soft ball well within the sphere."""
    return (box / 4 - radius(box)).clamp(0, 1)


@pytest.mark.parametrize("snr", [0.3, 3.0])
def test_a_mask_takes_noise_away_and_the_prior_knows(snr: float) -> None:
    """The error is that of the best filter of what is left."""
    box = 24
    ball = (radius(box) < box / 4).float()
    truth = ball * white("truth", 8, box)
    power = torch.full((8, box // 2 + 1), float(truth.square().mean()) * box**3)
    noise = float(truth.square().mean() / snr) ** 0.5 * white("noise", 8, box)
    level = 1 / (float(noise.square().mean()) * box**3)
    precision = level * torch.eye(8).expand(box, box, box // 2 + 1, 8, 8)
    estimate = Estimate(to_spectrum(truth + noise), precision)

    def error(masks: Masks) -> float:
        return float((weighed(estimate, power, masks) - truth).square().mean())

    tight, wide = Masks(ball), Masks(sphere(truth[0]))
    assert error(tight) < 0.6 * error(wide)
    for factor in (0.3, 3.0):
        other = dataclasses.replace(estimate, precision=factor * precision)
        found = weighed(other, power, tight) - truth
        assert float(found.square().mean()) > error(tight)


def test_what_both_show_is_their_signal() -> None:
    signal = white("signal")
    halves = estimates(*(signal + white(name) for name in ("first", "second")))
    _, agreement = shared_power(halves)
    found = shown_by_both(halves, agreement)
    both = sum(to_spectrum(signal + white(name)) for name in ("first", "second")) / 2
    # Of signal, and of noise that two share, equally strong: two parts in three.
    shells = frequency_radius(BOX, 3, like=signal).round() == 4
    torch.testing.assert_close(
        to_spectrum(found)[:, shells].mean(),
        (2 / 3 * both)[:, shells].mean(),
        rtol=0.1,
        atol=0.05,
    )
    ratio = to_spectrum(found)[:, shells].norm() / both[:, shells].norm()
    assert float(ratio) == pytest.approx(2 / 3, rel=0.03)


def test_the_last_shell_holds_all_modes_below_nyquist(work: Refinement) -> None:
    modes = work.law(work.last_shell).modes(BOX, phantom())
    every = slice_modes(BOX, None, like=phantom())
    assert len(modes.frequency) == len(every.frequency) - 1  # zero frequency
    assert modes.radius > BOX / 2 - 0.2


def test_the_start_may_not_exceed_the_last_shell(work: Refinement) -> None:
    assert work.last_shell == 6
    eager = dataclasses.replace(work, config=settings(start_shell=50))
    assert eager.begin(single(phantom())).shell == 6


def test_steps_raise_the_likelihood(course: list[State]) -> None:
    history = course[-1].history
    for before, after in pairwise(history):
        for half in (0, 1):
            gain = after["log_likelihood"][half] - before["log_likelihood"][half]
            assert gain > 0.05
    assert history[-1]["held_out"] > history[0]["held_out"] + 0.1


def test_steps_find_the_shells_that_the_start_lacks(course: list[State]) -> None:
    curves = [fsc(s.manifold.basis, phantom()[None])[0] for s in course]
    assert curves[0][4] < 0.3
    assert curves[-1][3] > curves[1][3] + 0.02
    assert curves[-1][3] > 0.9
    assert curves[-1][4] > 0.5


def test_the_manifold_is_the_mean_of_the_halves(course: list[State]) -> None:
    first, second = (half.basis for half in course[-1].halves)
    assert not torch.equal(first, second)
    torch.testing.assert_close(course[-1].manifold.basis, 0.5 * first + 0.5 * second)


def test_records_tell_the_mean_log_likelihood(
    work: Refinement, course: list[State]
) -> None:
    state, record = course[2], course[3].history[2]
    for half in (0, 1):
        look = work.look(state.halves[half], state.shell, work.tree)
        found = look.place(work.sampler, work.rows[half]).log_likelihood
        assert record["log_likelihood"][half] == pytest.approx(
            float(found.mean()), rel=1e-5
        )
    assert record["iteration"] == course[3].iteration == 3
    assert record["shell"] == state.shell
    after = course[3]
    look = work.look(after.manifold, after.shell, work.tree)
    found = look.place(work.sampler, work.rows[2]).log_likelihood
    assert len(found) == HELD_OUT
    assert record["held_out"] == pytest.approx(float(found.mean()), rel=1e-5)


def test_without_held_out_images_nothing_is_said_of_them(work: Refinement) -> None:
    blind = dataclasses.replace(work, rows=(*work.rows[:2], torch.arange(0)))
    assert blind.held_out(single(phantom()), 3, work.tree) is None


# Shells


def test_shells_grow_to_the_last_one_and_stop(course: list[State]) -> None:
    assert [state.shell for state in course] == [3, 6, 6, 6]
    agreement = torch.tensor([r["agreement"] for r in course[-1].history])
    assert (agreement[0, 0, 1:4] > 0.9).all()  # one record, one component
    assert (agreement[0, 0, 4:] == 0).all()  # shells that are not in


@pytest.mark.parametrize(
    ("start", "low", "expected"),
    [(2, None, 5), (2, 2, 4), (2, 1, 3), (6, 4, 6), (6, 1, 6), (6, None, 8)],
)
def test_shells_are_added_as_far_as_halves_agree(
    monkeypatch: pytest.MonkeyPatch, start: int, low: int | None, expected: int
) -> None:
    """Three beyond the last one before the first at which they do not."""
    curve = torch.full((1, 9), 0.15)
    if low is not None:
        curve[0, low] = 0.14
    monkeypatch.setattr(
        f"{REFINEMENT}.shared_power", lambda found: (torch.ones(1, 9), curve)
    )
    volume = phantom(box=16)
    few, power = images_of(volume[None], [6], 1.0)
    tree = PoseTree(300)
    short = refinement(few, power, settings(start), held_out=0, tree=tree)
    assert short.step(short.begin(single(volume))).shell == expected


# What halves must not see


@pytest.fixture(scope="module")
def one_step(images: tuple[Tensor, float]) -> State:
    return stepped(*images)


def stepped(images: Tensor, power: float) -> State:
    """One step with few images."""
    work = refinement(images[:150], power, settings(4), held_out=HELD_OUT)
    return work.step(work.begin(single(phantom())))


def changed(images: Tensor, part: slice) -> Tensor:
    """Put other images in the place of some."""
    other = images.clone()
    other[:150][part] = -images[150:300][part]
    return other


def test_halves_do_not_see_each_others_images(
    images: tuple[Tensor, float], one_step: State
) -> None:
    second = slice(1, 150 - HELD_OUT, 2)
    other = stepped(changed(images[0], second), images[1])
    assert torch.equal(other.maxima[0], one_step.maxima[0])
    assert not torch.equal(other.maxima[1], one_step.maxima[1])
    # What both agree on is the prior power.
    assert not torch.equal(other.halves[0].basis, one_step.halves[0].basis)


def test_halves_share_the_prior_power_and_the_mask_alone(
    monkeypatch: pytest.MonkeyPatch, images: tuple[Tensor, float]
) -> None:
    shells = torch.ones(1, BOX // 2 + 1)
    monkeypatch.setattr(f"{REFINEMENT}.shared_power", lambda found: (shells, shells))
    monkeypatch.setattr(f"{REFINEMENT}.molecule", lambda found, size: sphere(found[0]))
    second = slice(1, 150 - HELD_OUT, 2)
    one, other = (
        stepped(shown, images[1]) for shown in (images[0], changed(images[0], second))
    )
    assert torch.equal(other.halves[0].basis, one.halves[0].basis)
    assert not torch.equal(other.halves[1].basis, one.halves[1].basis)


def test_neither_half_sees_the_images_that_are_held_out(
    images: tuple[Tensor, float], one_step: State
) -> None:
    held_out = slice(150 - HELD_OUT, 150)
    other = stepped(changed(images[0], held_out), images[1])
    assert torch.equal(other.maxima, one_step.maxima)
    for half in (0, 1):
        assert torch.equal(other.halves[half].basis, one_step.halves[half].basis)
    assert other.history[0]["held_out"] != one_step.history[0]["held_out"]


# Conformations


def test_conformations_go_where_the_images_are() -> None:
    """Of four, one is due to the rarer of two states, as one image in four shows it."""
    states = torch.stack((phantom(0), phantom(1)))
    pictures, power = images_of(states, [100, 300], 4.0)
    basis = torch.stack((states[0], states[1] - states[0]))
    coefficients = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    start = Manifold(
        torch.arange(4.0)[:, None],
        torch.full((4,), 0.25),
        coefficients,
        basis,
        all_pairs(2),
    )
    work = refinement(pictures, power, settings(BOX // 2))
    first, second = work.step(work.begin(start)).halves
    assert torch.equal(first.coefficients, second.coefficients)
    found = first.coefficients[:, 1]
    assert abs(float(found[0])) < 0.1
    assert (found[1:] > 0.7).all()
    torch.testing.assert_close(first.coefficients[:, 0], torch.ones(4))


# Masks


def test_masks_come_after_what_halves_are_compared_by(
    monkeypatch: pytest.MonkeyPatch, images: tuple[Tensor, float], one_step: State
) -> None:
    """Half maps and their agreement know of none; what goes on does."""
    monkeypatch.setattr(f"{REFINEMENT}.molecule", lambda found, size: bounded(BOX))
    other = stepped(*images)
    assert torch.equal(other.maxima, one_step.maxima)
    assert other.history[0]["agreement"] == one_step.history[0]["agreement"]
    outside = bounded(BOX) == 0
    for kept, free in zip(other.halves, one_step.halves, strict=True):
        left, before = (half.basis[:, outside].norm() for half in (kept, free))
        assert float(left) < 0.8 * float(before)


@pytest.mark.parametrize("mask", ["sphere", "auto"])
def test_the_mask_is_drawn_only_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, images: tuple[Tensor, float], mask: str
) -> None:
    seen = []

    def drawn(found: Tensor, voxel_size: float) -> Tensor:
        seen.append((found.shape, voxel_size))
        return sphere(found[0])

    monkeypatch.setattr(f"{REFINEMENT}.molecule", drawn)
    config = dataclasses.replace(settings(4), mask=mask)
    work = refinement(images[0][:60], images[1], config, held_out=0)
    work.step(work.begin(single(phantom())))
    assert seen == ([((1, BOX, BOX, BOX), work.pixel_size)] if mask == "auto" else [])


def test_a_mask_that_is_given_is_taken(images: tuple[Tensor, float]) -> None:
    config = dataclasses.replace(settings(4), mask="given.mrc")
    work = refinement(images[0][:60], images[1], config, held_out=0)
    work = dataclasses.replace(work, solvent=bounded(BOX))
    start = white("start", 1)
    assert torch.equal(work.masks(start).solvent, bounded(BOX))
    begun = work.begin(single(start[0])).halves[0].basis
    spectrum, shell = shells(Masks(bounded(BOX)).keep(start))
    inside = (shell > 0) & (shell <= 4)
    torch.testing.assert_close(to_spectrum(begun)[:, inside], spectrum[:, inside])


def test_nothing_moves_outside_of_the_focus() -> None:
    """Both ends of the molecule move; one is looked at."""
    body, ends = phantom(), [phantom(1), phantom(2)]
    focus = (0.5 + grid_points(BOX)[..., 0]).clamp(0, 1) * sphere(body)
    states = torch.stack([body + end for end in ends])
    pictures, power = images_of(states, [150, 150], 4.0)
    start = Manifold(
        torch.arange(2.0)[:, None],
        torch.full((2,), 0.5),
        torch.tensor([[1.0, -1.0], [1.0, 1.0]]),
        torch.stack((states.mean(0), (states[1] - states[0]) / 2)),
        all_pairs(2),
    )
    config = RefineConfig(start_shell=BOX // 2)
    free = refinement(pictures, power, config, held_out=0)
    held = dataclasses.replace(free, focus=focus)
    state = held.step(held.begin(start))
    for manifold in (held.begin(start).halves[0], *state.halves):
        mean, motion = manifold.basis
        assert (motion[focus == 0] == 0).all()
        assert float(motion[focus > 0].norm()) > 0.3 * float(start.basis[1].norm())
        assert float(mean[focus == 0].norm()) > 0.3 * float(mean.norm())
    loose = free.step(free.begin(start)).halves[0].basis[1]
    assert float(loose[focus == 0].norm()) > 0.3 * float(loose.norm())
