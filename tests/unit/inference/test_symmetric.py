"""Symmetry in refinement: what an image says in all its poses, and what that gains."""

import dataclasses

import pytest
import torch
from torch import Tensor

from evaluation_phantoms import blobs
from multicryogan.config import RefineConfig
from multicryogan.evaluation import fsc
from multicryogan.fourier import frequency_radius
from multicryogan.imaging import ImagingParams, Symmetry, form_images, symmetrise
from multicryogan.imaging.slicing import Slicer
from multicryogan.inference.masks import in_sphere
from multicryogan.inference.refinement import Refinement, State
from multicryogan.inference.symmetric import in_all_poses, rotated_sum
from multicryogan.likelihood.least_squares import to_spectrum
from multicryogan.likelihood.manifold import Manifold, all_pairs
from multicryogan.likelihood.marginal import ImageLaw
from multicryogan.likelihood.maximisation import Sums
from multicryogan.likelihood.weighing import Counts
from multicryogan.priors import ViewLaw
from multicryogan.priors.views import CELLS, view_cells, view_directions
from multicryogan.rng import stream
from multicryogan.rotations import point_group, random_rotations
from refinement_data import BOX, PIXEL_SIZE, correlation, images_of, refinement

HELD_OUT = 50
SIDE = torch.tensor([0.8, 0.6, 0.0])  # its mirror view is one of its mates


def symmetric_points(group: str) -> Tensor:
    """(A, 3) points of a particle with a symmetry."""
    unit = torch.randn(6, 3, generator=stream(0, "unit")) + 0.5
    unit = unit * (0.33 * BOX / unit.norm(dim=1).max())
    return (unit[:, None, None] @ point_group(group).float().mT).reshape(-1, 3)


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


# Sums


def peaks(box: int, places: Tensor) -> Tensor:
    """(D * D * (D//2+1), 1) wide Gaussians at places (x, y, z) and their opposites."""
    density = blobs(box, torch.cat((places, -places)), 2.0)
    corner = torch.roll(density, [-(box // 2)] * 3, (0, 1, 2))
    return corner[..., : box // 2 + 1].reshape(-1, 1)


@pytest.mark.parametrize("box", [16, 17])
@pytest.mark.parametrize(("group", "error"), [("D2", 1e-5), ("O", 1e-5), ("T", 0.1)])
def test_a_density_is_summed_over_its_turns(group: str, error: float, box: int) -> None:
    place = torch.tensor([2.0, -3.0, 1.5])
    turned = (point_group(group).float() @ place[:, None])[..., 0]
    found = rotated_sum(peaks(box, place[None]), box, group)
    inside = frequency_radius(box, 3, like=found).flatten() < box / 2 - 1
    expected = peaks(box, turned)
    assert relative(found[inside], expected[inside]) < error


@pytest.mark.parametrize("group", ["D2", "C4"])
def test_sums_are_those_of_all_symmetric_poses(group: str) -> None:
    """Slices inserted once and summed, or inserted at every symmetric pose."""
    box = 13  # odd: no voxel lies on both sides
    modes = ImageLaw(torch.ones(box // 2 + 1), 5.0, 4).modes(box, torch.zeros(()))
    slicer, count = Slicer(modes), 40
    rotation = random_rotations((count,), stream(0, "pose"))
    shape = (count, len(modes.frequency), 1)
    values = torch.randn(*shape, 2, generator=stream(0, "values"))
    values, seen = torch.view_as_complex(values), values[..., 0].square()

    def sums_at(rotation: Tensor, times: int) -> Sums:
        gradient = torch.zeros_like(slicer.table(torch.zeros(1, box, box, box)))
        precision = torch.zeros(box * box * (box // 2 + 1), 1)
        slicer.insert(values.repeat(times, 1, 1), rotation, gradient)
        slicer.insert_nearest(seen.repeat(times, 1, 1), rotation, precision)
        return Sums(gradient, precision, no_counts(1))

    group_poses = rotation @ point_group(group).float()[:, None]
    every = sums_at(group_poses.flatten(0, 1), len(group_poses))
    once = sums_at(rotation, 1)
    found = in_all_poses(once, all_pairs(1), box, Symmetry(group))
    inside = frequency_radius(box, 3, like=values.real).flatten() <= 4
    # Points half-way between voxels may go to either.
    assert relative(found.precision[inside], every.precision[inside]) < 0.02
    step = symmetrise(slicer.transpose_table(found.gradient), group)
    assert relative(step, slicer.transpose_table(every.gradient)) < 1e-4


def no_counts(conformations: int) -> Counts:
    weights = torch.zeros(conformations)
    return Counts(weights, weights[:, None], torch.zeros(()), torch.zeros(2))


def drawn_sums() -> Sums:
    """Sums of a mean and a motion."""
    draws = stream(0, "sums")
    precision = torch.rand(BOX * BOX * (BOX // 2 + 1), 3, generator=draws)
    return Sums(torch.randn(5, 4, generator=draws), precision, no_counts(2))


def test_a_free_motion_keeps_its_sums_apart_from_the_mean() -> None:
    sums, pairs = drawn_sums(), all_pairs(2)
    found = in_all_poses(sums, pairs, BOX, Symmetry("D2"))
    torch.testing.assert_close(found.gradient[:, :2], 4 * sums.gradient[:, :2])
    assert torch.equal(found.gradient[:, 2:], sums.gradient[:, 2:])
    mean, both, motion = found.precision.T
    torch.testing.assert_close(
        mean, rotated_sum(sums.precision[:, :1], BOX, "D2")[:, 0]
    )
    assert (both == 0).all()
    assert torch.equal(motion, sums.precision[:, 2])


def test_a_symmetric_motion_counts_in_all_poses_as_well() -> None:
    sums = drawn_sums()
    found = in_all_poses(sums, all_pairs(2), BOX, Symmetry("D2", has_motion=True))
    torch.testing.assert_close(found.gradient, 4 * sums.gradient)
    torch.testing.assert_close(found.precision, rotated_sum(sums.precision, BOX, "D2"))


def test_sums_are_left_alone_without_symmetry() -> None:
    sums = drawn_sums()
    assert in_all_poses(sums, all_pairs(2), BOX, Symmetry()) is sums


# A refinement of a symmetric particle


def error_of(found: Tensor, expected: Tensor) -> float:
    """Relative error of the modes that images show at the last shell."""
    radius = frequency_radius(BOX, 3, like=expected)
    seen = (radius > 0) & (radius <= BOX // 2 - 1)
    return relative(to_spectrum(found) * seen, to_spectrum(expected) * seen)


def after(work: Refinement, start: Manifold, steps: int) -> State:
    state = work.begin(start)
    for _ in range(steps):
        state = work.step(state)
    return state


def with_symmetry(
    images: tuple[Tensor, float], symmetry: Symmetry, components: int
) -> Refinement:
    settings = RefineConfig(start_shell=3, components=components)
    work = refinement(*images, settings, held_out=HELD_OUT)
    return dataclasses.replace(work, symmetry=symmetry)


@pytest.mark.parametrize(("group", "asymmetry"), [("D2", 1e-5), ("C3", 0.06)])
def test_a_symmetric_map_is_better_for_as_many_images(
    group: str, asymmetry: float
) -> None:
    volume = in_sphere(blobs(BOX, symmetric_points(group), 1.0)[None])
    one = torch.ones(1, 1)
    start = Manifold(one / 2, one[0], one, volume, all_pairs(1))
    images = images_of(volume, [60 + HELD_OUT], 1.0)
    maps = []
    for symmetry in (Symmetry(), Symmetry(group)):
        work = with_symmetry(images, symmetry, components=0)
        maps.append(after(work, start, steps=2).manifold.basis)
    without, found = maps
    assert error_of(found, volume) < 0.92 * error_of(without, volume)
    curves = fsc(torch.cat(maps), volume.expand(2, -1, -1, -1))
    assert (curves[1, 2:6] > curves[0, 2:6]).all()
    assert error_of(symmetrise(found, group), found) < asymmetry


def broken(group: str) -> Tensor:
    """(2, D, D, D) states between which a lump hops from one place to its like."""
    mean = blobs(BOX, symmetric_points(group), 1.0)
    place = BOX * torch.tensor([0.25, 0.1, 0.2])
    other = point_group(group)[1].float() @ place
    hop = blobs(BOX, place[None], 1.2) - blobs(BOX, other[None], 1.2)
    return in_sphere(torch.stack((mean - hop, mean + hop)))


def test_a_motion_may_break_the_symmetry_of_the_mean() -> None:
    states = broken("C3")
    mean, motion = states.mean(0), (states[1] - states[0]) / 2
    start = Manifold(
        torch.tensor([[0.25], [0.75]]),
        torch.tensor([0.5, 0.5]),
        torch.tensor([[1.0, -1.0], [1.0, 1.0]]),
        torch.stack((mean, motion)),
        all_pairs(2),
    )
    images = images_of(states, [250, 250], 1.0)
    found = {}
    for symmetry in (Symmetry(), Symmetry("C3"), Symmetry("C3", has_motion=True)):
        work = with_symmetry(images, symmetry, components=1)
        found[symmetry] = after(work, start, steps=2)
    free, right, wrong = (
        error_of(state.manifold.volumes, states) for state in found.values()
    )
    assert right < 0.92 * free
    assert right < 0.9 * wrong
    assert correlation(found[Symmetry("C3")].manifold.basis[1], motion) > 0.7
    history = found[Symmetry("C3")].history
    for half in (0, 1):
        first, last = (record["log_likelihood"][half] for record in history)
        assert last > first


# Views


def from_the_side(group: str, count: int) -> tuple[Tensor, float, Tensor]:
    """Images of a symmetric particle from about one direction, and the poses."""
    volume = in_sphere(blobs(BOX, symmetric_points(group), 1.0)[None])
    cap = view_directions(CELLS) @ SIDE > 0.95
    law = ViewLaw(cap[None] / cap.sum())
    rotation = law.sample(torch.zeros(count).long(), stream(0, "side"))
    clean = form_images(volume, ImagingParams(rotation[None]), PIXEL_SIZE)[0]
    power = float(clean.var((-2, -1)).mean())
    noise = torch.randn(clean.shape, generator=stream(0, "noise"))
    return clean + power**0.5 * noise, power, rotation


def counted(rotation: Tensor, group: str) -> ViewLaw:
    """The law that poses tell."""
    counts = view_cells(rotation).bincount(minlength=CELLS)
    return ViewLaw.of_counts(counts[None].float(), group)


def distance(first: ViewLaw, second: ViewLaw) -> float:
    """Total variation, 0 to 1, of laws of one conformation."""
    return float((first.weights - second.weights).abs().sum() / 2)


def mate_shares(law: ViewLaw, group: str) -> Tensor:
    """(G,) shares of the directions that are nearest to each mate of the side."""
    mates = point_group(group).float() @ SIDE
    nearest = (view_directions(CELLS) @ mates.T).argmax(1)
    return torch.zeros(len(mates)).index_add(0, nearest, law.weights[0])


@pytest.mark.parametrize("group", ["C4", "D2"])
def test_views_of_a_symmetric_particle_are_learned_up_to_its_symmetry(
    group: str,
) -> None:
    """Even a law that begins with one of the mates cannot stay there."""
    images, power, rotation = from_the_side(group, 200 + HELD_OUT)
    seen = rotation[:200]
    volume = in_sphere(blobs(BOX, symmetric_points(group), 1.0)[None])
    one = torch.ones(1, 1)
    start = Manifold(one / 2, one[0], one, volume, all_pairs(1))
    start = start.seen_from(counted(seen, "C1"))
    laws = []
    for symmetry in (Symmetry(group), Symmetry()):
        work = with_symmetry((images, power), symmetry, components=0)
        assert work.config.views == "learned"
        laws.append(after(work, start, steps=1).manifold.views)
    found, lopsided = laws
    even = torch.full((4,), 0.25)
    torch.testing.assert_close(mate_shares(found, group), even, rtol=0, atol=0.01)
    assert mate_shares(lopsided, group).max() > 0.3
    truth = counted(seen, group)
    assert distance(found, truth) < 0.6 * distance(ViewLaw.uniform(), truth)
    assert distance(found, truth) < 0.6 * distance(lopsided, truth)


@pytest.mark.parametrize(("has_motion", "group"), [(False, "C1"), (True, "C3")])
def test_a_free_motion_tells_directions_apart(
    has_motion: bool, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    law = ViewLaw.of_counts
    monkeypatch.setattr(
        ViewLaw,
        "of_counts",
        lambda counts, of, alike: asked.append(of) or law(counts, of, alike),
    )
    states = broken("C3")
    one, basis = torch.ones(2, 1), torch.stack((states.mean(0), states[1] - states[0]))
    coefficients = torch.tensor([[1.0, -0.5], [1.0, 0.5]])
    start = Manifold(one, one[:, 0] / 2, coefficients, basis, all_pairs(2))
    images = images_of(states, [4 + HELD_OUT, 4], 1.0)
    after(with_symmetry(images, Symmetry("C3", has_motion), components=1), start, 1)
    assert asked == [group]
