"""Starts: what a generator has found, and what images alone tell."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from evaluation_phantoms import asymmetric_points, blobs
from multicryogan.config import RefineConfig
from multicryogan.evaluation import align
from multicryogan.evaluation.frames import lay_each
from multicryogan.evaluation.rigid import move
from multicryogan.imaging import Symmetry, symmetrise
from multicryogan.imaging.noise import radial_power
from multicryogan.inference.masks import in_sphere
from multicryogan.inference.refinement import Refinement
from multicryogan.inference.spacing import unrest
from multicryogan.inference.starts import (
    _free,
    _smooth_functions,
    ascend,
    generator_start,
    generator_volumes,
    random_start,
    straightened,
)
from multicryogan.likelihood import Manifold
from multicryogan.priors import LatentPrior
from multicryogan.rng import stream
from multicryogan.rotations import random_rotations
from refinement_data import BOX, Known, correlation, images_of, phantom, refinement

STARTS = "multicryogan.inference.starts"
LATENTS = torch.tensor([[0.25], [0.75]])


def segment(count: int) -> Tensor:
    return LatentPrior("segment", 1).grid(count)


def moving(places: list[tuple[float, float, float]]) -> Tensor:
    """(V, D, D, D) body with a lump at each of these places."""
    body = asymmetric_points(BOX, 0)
    lump = 0.4 * torch.randn(12, 3, generator=stream(0, "lump"))
    shapes = [torch.cat((body, torch.tensor(place) + lump)) for place in places]
    return in_sphere(torch.stack([blobs(BOX, points, 1.0) for points in shapes]))


ALONG = [(0.0, 3.0, 1.0), (0.0, 2.4, 1.8), (0.0, 1.6, 2.4)]


# From a generator


def assert_alike_up_to_a_turn(found: Tensor, volumes: Tensor) -> None:
    laid = lay_each(found, volumes)
    for made, volume in zip(laid, volumes, strict=True):
        assert correlation(made, volume) > 0.98
    assert correlation(found[0], volumes[0]) > 0.999  # the first one stays


def test_a_generators_volumes_come_back() -> None:
    volumes = moving(ALONG)
    found = generator_volumes(Known(volumes), segment(3), components=2)
    assert found.basis.shape[0] == 3
    assert_alike_up_to_a_turn(found.volumes, volumes)
    torch.testing.assert_close(found.weights, torch.full((3,), 1 / 3))
    assert torch.equal(found.latents, segment(3))


def test_a_generators_volumes_are_turned_on_each_other() -> None:
    volumes = moving(ALONG)
    turn = random_rotations((3,), stream(0, "turn"))
    turn[0] = torch.eye(3)
    scrambled = move(volumes, turn, torch.zeros(3, 3))
    found = generator_volumes(Known(scrambled), segment(3), components=2).volumes
    assert_alike_up_to_a_turn(found, volumes)
    for first in (0, 1):
        pair = slice(first, first + 2)
        assert correlation(*scrambled[pair]) < 0.7
        assert correlation(*found[pair]) > correlation(*volumes[pair]) - 0.01


def test_axes_of_symmetry_are_not_turned() -> None:
    volumes = moving(ALONG)
    generator = Known(volumes)
    generator.symmetry = Symmetry("C2")
    found = generator_volumes(generator, segment(3), components=2).volumes
    torch.testing.assert_close(found, volumes, atol=1e-4, rtol=0)


def test_what_is_at_rest_is_not_turned() -> None:
    volumes = moving(ALONG)
    generator = Known(volumes)
    generator.focus = torch.ones_like(volumes[0])
    found = generator_volumes(generator, segment(3), components=2).volumes
    torch.testing.assert_close(found, volumes, atol=1e-4, rtol=0)


def test_a_generators_volumes_are_not_shifted() -> None:
    volume, shift = moving(ALONG[:1]), torch.tensor([[0.0, 0.0, 0.0], [1.5, 0.0, 0.0]])
    shifted = move(volume.expand(2, -1, -1, -1), torch.eye(3).expand(2, 3, 3), shift)
    found = generator_volumes(Known(shifted), segment(2), components=1)
    axis = torch.arange(BOX) - BOX // 2
    centres = (found.volumes.sum((1, 2)) * axis).sum(1) / found.volumes.sum((1, 2, 3))
    assert float(centres[1] - centres[0]) == pytest.approx(1.5, abs=0.15)


def test_a_generator_that_does_not_move_starts_at_rest() -> None:
    volume = phantom()
    found = generator_volumes(Known(volume[None]), segment(5), components=5)
    for made in found.volumes:
        assert correlation(made, volume) > 0.9999
    motion = found.basis[1:].flatten(1).norm(dim=1) / volume.norm()
    assert (motion < 1e-3).all()


def test_no_component_leaves_the_mean() -> None:
    known = Known(moving(ALONG))
    all_of_it = generator_volumes(known, segment(3), components=2)
    found = generator_volumes(known, segment(3), components=0)
    assert found.coefficients.shape == (3, 1)
    torch.testing.assert_close(found.basis[0], all_of_it.volumes.mean(0))


# From a generator's line or plane, laid out straight and bent by images


def turning(count: int) -> Tensor:
    """(V, D, D, D) body with a lump that goes a quarter around it."""
    angle = torch.linspace(0, math.pi / 2, count)
    return moving([(0.0, 4 * float(a.cos()), 4 * float(a.sin())) for a in angle])


def matches(found: Tensor, volumes: Tensor) -> Tensor:
    """Number of the volume that each of (V, D, D, D) is most like."""
    return torch.tensor(
        [
            max(range(len(volumes)), key=lambda v: correlation(made, volumes[v]))
            for made in found
        ]
    )


def test_a_straight_line_comes_back_in_order() -> None:
    mean, motion = phantom(), moving(ALONG[:1])[0]
    places = torch.tensor([-0.1, 0.5, -0.5, 0.3, -0.3, 0.1])
    volumes = mean + places[:, None, None, None] * motion
    weights = torch.full((6,), 1 / 6)
    found = straightened(Manifold.span(volumes, segment(6), weights, 5))
    assert torch.equal(found.latents, segment(6))
    assert len(found.basis) == 2
    steps = found.volumes.diff(dim=0).flatten(1) @ motion.flatten()
    expected = 0.2 * motion.square().sum()
    torch.testing.assert_close(steps.abs(), expected.expand(5), rtol=1e-3, atol=0)
    assert (steps.sign() == steps[0].sign()).all()


def test_a_plane_comes_back_straight_along_its_latents() -> None:
    """Latents that bend along the main motions, which are no coordinates themselves."""
    mean = phantom()
    motions = torch.stack((moving(ALONG[:1])[0], moving([(3.0, 0.0, 1.0)])[0])) - mean
    latents = LatentPrior("uniform", 2).grid(5)
    even = (latents - 0.5) / 0.2**0.5 / 0.4**0.5
    bent = even + 0.2 * even.prod(1, keepdim=True)
    volumes = mean + torch.tensordot(bent, motions, 1)
    weights = torch.full((25,), 1 / 25)
    found = straightened(Manifold.span(volumes, latents, weights, 5))
    assert len(found.basis) == 3
    table = found.volumes.view(5, 5, -1)
    for axis, motion in enumerate(motions):
        steps = table.diff(dim=axis).reshape(20, -1)
        torch.testing.assert_close(steps, steps[:1].expand(20, -1), rtol=0, atol=1e-4)
        assert correlation(steps[0], motion) > 0.9


def test_weights_of_a_plane_follow_the_particles_while_it_is_bent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two thirds of the images in one corner of 25 conformations."""
    short(monkeypatch)
    latents = LatentPrior("uniform", 2).grid(5)
    places = [(0.0, 3 - 1.5 * i, 1 + 1.5 * j) for i in range(5) for j in range(5)]
    volumes = moving(places)
    made, power = images_of(volumes, [192] + [4] * 24, 4.0)
    work = refinement(made, power, RefineConfig(components=3), held_out=60)
    generator = Known(volumes)
    generator.focus = torch.ones_like(volumes[0])  # keeps the frame
    weights = generator_start(work, generator, latents).weights
    assert float(weights.sum()) == pytest.approx(1)
    corners = weights.view(5, 5)[::4, ::4].flatten()
    assert int(weights.argmax()) in (0, 1, 5, 6)
    assert float(corners[0]) > 3 * float(corners[1:].max())


FOLDED = [0, 2, 4, 6, 5, 3, 1]


def test_images_lay_a_fold_out(monkeypatch: pytest.MonkeyPatch) -> None:
    short(monkeypatch)
    monkeypatch.setattr(f"{STARTS}.MOTION_SHELLS", (4,) * 4)
    volumes = turning(7)
    work, _ = begun(volumes, 700, 4.0, components=3)
    generator = Known(volumes[FOLDED])
    generator.focus = torch.ones_like(volumes[0])  # keeps the frame
    before = generator_volumes(generator, segment(7), 3).volumes
    assert matches(before, volumes).tolist() == FOLDED
    told: list[tuple[str, int, int]] = []
    found = generator_start(
        work, generator, segment(7), lambda *done: told.append(done)
    )
    ends = [one for one in told if one[1] == one[2]]
    assert told[0] == ("start, shells to 4", 0, 320)
    assert ends == [("start, shells to 4", 320, 320)] * len(ends)
    assert 7 <= len(ends) <= 8  # until they rest
    after = matches(found.volumes, volumes)
    steps = after.diff() * (after[-1] - after[0]).sign()
    assert (steps >= 0).all()
    assert int((after[-1] - after[0]).abs()) >= 4
    assert len(found.basis) == 4


def test_a_bent_line_follows_the_particles_until_they_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Four of five are in the first half of the motion, which the line did not know."""
    short(monkeypatch)
    monkeypatch.setattr(f"{STARTS}.LINE_SHELLS", (4,))
    volumes = turning(8)
    made, power = images_of(volumes, [120] * 4 + [30] * 4, 4.0)
    work = refinement(made, power, RefineConfig(components=3), held_out=60)
    generator = Known(volumes)
    generator.focus = torch.ones_like(volumes[0])  # keeps the frame

    def left(most: int, resting: float) -> tuple[float, int]:
        monkeypatch.setattr(f"{STARTS}.SETTLING_SHELLS", (4,) * most)
        monkeypatch.setattr(f"{STARTS}.RESTING", resting)
        told: list[int] = []
        found = generator_start(
            work, generator, segment(8), lambda name, done, total: told.append(done)
        )
        _, counts = ascend(work, found, work.rows[0], 4)
        return unrest(found, counts.weights), len(told) // 2

    restless, without = left(0, 0.0)
    assert left(8, 0.0)[0] < 0.5 * restless
    assert left(8, 1.0)[1] == without + 1  # it rests at once
    scores = itertools.count()
    monkeypatch.setattr(f"{STARTS}._score", lambda work, line: next(scores))
    assert left(8, 0.0)[1] == without + 8  # held-out images gain each time
    monkeypatch.setattr(f"{STARTS}._score", lambda work, line: -next(scores))
    assert left(8, 0.0) == (restless, without + 3)  # they lose: it stays
    once = iter([1.0, 0.9, *map(float, range(2, 9))])
    monkeypatch.setattr(f"{STARTS}._score", lambda work, line: next(once))
    assert left(8, 0.0)[1] == without + 8  # they gain all the same


def test_conformations_gather_where_particles_are_before_the_line_bends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of two states, one has three quarters of the images."""
    short(monkeypatch)
    monkeypatch.setattr(f"{STARTS}.LINE_SHELLS", (4,) * 4)
    states = moving(ALONG[:1] + ALONG[-1:])
    made, power = images_of(states, [150, 450], 4.0)
    work = refinement(made, power, RefineConfig(components=3), held_out=60)
    shares = torch.linspace(0, 1, 9)[:, None, None, None]
    generator = Known(states[0] + shares * (states[1] - states[0]))
    generator.focus = torch.ones_like(states[0])  # keeps the frame
    found = generator_start(work, generator, segment(9))
    which = matches(found.volumes, states)
    assert (which.diff() * (which[-1] - which[0]) >= 0).all()
    assert 6 <= int(which.sum()) <= 7


def test_more_components_leave_volumes_as_they_are() -> None:
    volumes = moving(ALONG)
    weights = torch.full((len(volumes),), 1 / len(volumes))
    line = Manifold.span(volumes, segment(len(volumes)), weights, 1)
    found = _free(line, 2)
    assert len(found.basis) == found.coefficients.shape[1] == 3
    torch.testing.assert_close(found.volumes, line.volumes)
    assert (found.basis[2] == 0).all()
    assert (found.coefficients[:, 2] != 0).any()


@pytest.mark.parametrize("latents", [segment(2), LatentPrior("uniform", 2).grid(2)])
def test_few_states_along_a_dimension_start_as_they_are(latents: Tensor) -> None:
    volumes = moving([*ALONG, (1.0, -2.0, 0.0)])[: len(latents)]
    work, _ = begun(volumes, 80, 1.0, components=1)
    found = generator_start(work, Known(volumes), latents)
    expected = generator_volumes(Known(volumes), latents, 1)
    torch.testing.assert_close(found.volumes, expected.volumes)


def test_a_rigid_generator_starts_as_it_is() -> None:
    volume = phantom()
    work, _ = begun(volume[None], 80, 1.0, components=0)
    found = generator_start(work, Known(volume[None]), segment(5))
    assert found.basis.shape[0] == 1


# From nothing


def ones(latents: Tensor) -> Tensor:
    return torch.ones(len(latents), 1)


@pytest.mark.parametrize(
    ("latents", "count"),
    [
        (segment(21), 5),
        (segment(2), 1),
        (segment(6), 5),
        (LatentPrior("uniform", 2).grid(5), 7),
        (LatentPrior("gaussian", 1).grid(9), 4),
    ],
)
def test_motions_start_as_orthonormal_functions(latents: Tensor, count: int) -> None:
    found = _smooth_functions(ones(latents), latents, count)
    assert found.shape == (len(latents), count + 1)
    torch.testing.assert_close(found[:, 0], torch.ones(len(latents)))
    products = found.T @ found / len(latents)
    torch.testing.assert_close(products, torch.eye(count + 1), atol=1e-5, rtol=0)


def test_functions_over_a_plane_make_all_cubics() -> None:
    latents = LatentPrior("uniform", 2).grid(7)
    count = RefineConfig().motions(2)
    found = _smooth_functions(ones(latents), latents, count).double()
    x, y = latents.double().T
    cubics = torch.stack((x**3, x**2 * y, x * y**2, y**3, x * y), dim=1)
    left = cubics - found @ torch.linalg.lstsq(found, cubics).solution
    torch.testing.assert_close(left, torch.zeros_like(left), rtol=0, atol=1e-5)


def test_the_first_function_is_a_slope_and_the_second_a_parabola() -> None:
    found = _smooth_functions(ones(segment(21)), segment(21), 2)
    t = torch.linspace(-1, 1, 21)
    parabola = t.square() - t.square().mean()
    for column, shape in ((1, t), (2, parabola)):
        expected = shape / shape.square().mean().sqrt()
        torch.testing.assert_close(found[:, column], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dimensions", [1, 2])
def test_functions_that_are_known_stay_and_others_stand_beside_them(
    dimensions: int,
) -> None:
    """Two clusters along a line, as of two states; a plane that is straight."""
    latents = LatentPrior("uniform", dimensions).grid(5)
    known = ones(latents)
    if dimensions == 1:
        line = torch.tensor([0.0, 0.01, 0.02, 1.0, 1.01])
        known = torch.stack((known[:, 0], line), dim=1)
    else:
        known = _smooth_functions(known, latents, 2)
    count = known.shape[1]
    found = _smooth_functions(known, latents, 4).double()
    assert torch.equal(found[:, :count], known.double())
    assert found.shape == (len(latents), 5)
    fresh = found[:, count:]
    torch.testing.assert_close(
        fresh.T @ fresh / len(latents), torch.eye(5 - count).double(), atol=1e-4, rtol=0
    )
    left = known.double().T @ fresh
    torch.testing.assert_close(left, torch.zeros_like(left), atol=1e-4, rtol=0)
    # The ranks are among them.
    place = latents.double()
    rest = place - found @ torch.linalg.lstsq(found, place).solution
    assert float(rest.abs().max()) < 1e-4


def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the schedules."""
    monkeypatch.setattr(f"{STARTS}.MAP_SHELLS", (3,) * 3 + (4,) * 2)
    monkeypatch.setattr(f"{STARTS}.LINE_SHELLS", (4,) * 2)
    monkeypatch.setattr(f"{STARTS}.MOTION_SHELLS", (4,) * 2)
    monkeypatch.setattr(f"{STARTS}.SETTLING_SHELLS", (4,) * 2)
    monkeypatch.setattr(f"{STARTS}.MOTIONS", 2)
    monkeypatch.setattr(f"{STARTS}.FAINT", 0.5)


def begun(
    volumes: Tensor, images: int, snr: float, components: int
) -> tuple[Refinement, Tensor]:
    """A refinement of images of these volumes in equal shares, and their excess."""
    made, power = images_of(volumes, [images // len(volumes)] * len(volumes), snr)
    config = RefineConfig(components=components, restarts=2)
    work = refinement(made, power, config, held_out=60)
    return work, radial_power(made) - work.noise_power[0]


def test_images_alone_tell_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    short(monkeypatch)
    volume = phantom()
    work, excess = begun(volume[None], 240, 0.5, components=0)
    found, scores = random_start(work, LATENTS, excess)
    assert align(found.basis[0], volume).correlation > 0.9
    assert len(scores) == 2
    assert found.basis.shape[0] == len(found.latents) == 1
    # In the grey levels of the images as well.
    assert float(found.basis.norm() / volume.norm()) == pytest.approx(1, abs=0.1)
    assert work.held_out(found, 4, work.tree) == pytest.approx(max(scores))


def test_a_map_from_images_alone_has_the_symmetry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    short(monkeypatch)
    volume = in_sphere(symmetrise(phantom()[None], "C2"))[0]
    work, excess = begun(volume[None], 240, 0.5, components=0)
    work = replace(work, symmetry=Symmetry("C2"))
    found, _ = random_start(work, LATENTS, excess)
    torch.testing.assert_close(symmetrise(found.basis, "C2"), found.basis)
    assert align(found.basis[0], volume).correlation > 0.9


def test_images_alone_tell_the_motion(monkeypatch: pytest.MonkeyPatch) -> None:
    short(monkeypatch)
    monkeypatch.setattr(f"{STARTS}.LINE_SHELLS", (4,) * 8)
    work, excess = begun(moving([ALONG[0], (0.0, -2.5, 2.5)]), 600, 4.0, components=1)
    found, scores = random_start(work, LATENTS, excess)
    maps, motions = scores[:2], scores[2:]
    assert len(motions) == 2
    assert max(motions) > max(maps) + 1
    assert work.held_out(found, 4, work.tree) == pytest.approx(max(motions))
    assert torch.equal(found.latents, LATENTS)
    shown = torch.arange(600) >= 300
    order = torch.randperm(600, generator=stream(0, "order"))
    placed = work.look(found, 4, work.tree)
    state = placed.place(work.sampler, torch.arange(600)).conformation
    right = float((state == shown[order]).float().mean())
    assert max(right, 1 - right) > 0.7


def test_only_the_first_half_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    short(monkeypatch)
    monkeypatch.setattr(f"{STARTS}.MAP_SHELLS", (2,))
    work, excess = begun(phantom()[None], 240, 0.5, components=0)
    found, _ = random_start(work, LATENTS, excess)
    other = work.sampler.stack.values.copy()
    other[work.rows[1]] = math.nan
    changed = refinement(
        torch.from_numpy(other), float(work.noise_power[0, 0]), work.config, held_out=60
    )
    again, _ = random_start(changed, LATENTS, excess)
    assert torch.equal(again.basis, found.basis)
