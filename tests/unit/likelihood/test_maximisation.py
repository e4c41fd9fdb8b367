"""The M-step against numerical derivatives, closed forms and the truth."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from manifold_data import (
    BOX,
    FLOAT,
    PIXEL_SIZE,
    TREE,
    blobs,
    clean_images,
    found_in,
    law,
    manifold,
    optics,
    relative,
    white_noise,
)
from multicryogan.fourier import (
    frequency_grid,
    frequency_radius,
    shell_index,
    shell_weights,
)
from multicryogan.imaging import CTFParams, ctf, project_spectrum
from multicryogan.imaging.slicing import Slicer
from multicryogan.likelihood.factors import ImageFactors
from multicryogan.likelihood.least_squares import from_spectrum, to_spectrum
from multicryogan.likelihood.manifold import Manifold
from multicryogan.likelihood.maximisation import (
    Estimate,
    Sums,
    accumulate,
    maximise,
    regularise,
)
from multicryogan.likelihood.poses import PoseTree
from multicryogan.likelihood.posterior import Placement
from multicryogan.rng import stream
from multicryogan.rotations import random_rotations

SEARCH = "multicryogan.likelihood.search"
Change = Callable[[float], Manifold]
WHOLE = torch.ones(BOX, BOX, BOX, dtype=FLOAT)


@pytest.fixture(autouse=True)
def leave_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{SEARCH}.DROP", (1e9, 1e9))
    monkeypatch.setattr("multicryogan.likelihood.least_squares.ITERATIONS", 60)


def drawn(*shape: int, name: str) -> Tensor:
    return torch.randn(shape, generator=stream(0, name), dtype=FLOAT)


def factors_of(count: int, power: float) -> ImageFactors:
    """Images of the conformations in turn at random poses, a CTF each."""
    rotations = random_rotations((count,), stream(0, "pose"))
    volumes = manifold().volumes[torch.arange(count) % 4]
    clean = clean_images(volumes, rotations, optics(count), BOX // 2)
    return ImageFactors.of(clean + white_noise(count, power), optics(count), law(power))


def sums_of(
    images: ImageFactors,
    conformations: Manifold,
    tree: PoseTree = TREE,
) -> tuple[Sums, Slicer, Placement]:
    """Do the E-step, and add it up."""
    cells, scorer, found, placement = found_in(images, conformations, tree)
    sums = Sums.empty(scorer)
    accumulate(sums, cells, images, scorer, tree, found, placement)
    return sums, scorer.slicer, placement


def slope(images: ImageFactors, change: Change, step: float = 1e-4) -> float:
    """Numerical derivative of the log-likelihood of all images."""
    values = [
        found_in(images, change(sign * step))[3].log_likelihood.sum()
        for sign in (1, -1)
    ]
    return float(values[0] - values[1]) / (2 * step)


def separate() -> Manifold:
    """The conformations as volumes that have nothing in common."""
    spanned = manifold()
    own = torch.arange(4).expand(2, -1)
    unit = torch.eye(4, dtype=FLOAT)
    return Manifold(spanned.latents, spanned.weights, unit, spanned.volumes, own)


@pytest.mark.parametrize("start", [manifold, separate])
def test_the_gradient_is_the_derivative_with_respect_to_the_basis(
    start: Callable[[], Manifold],
) -> None:
    images, basis = factors_of(5, 4.0), start().basis
    sums, slicer, _ = sums_of(images, start())
    gradient = slicer.transpose_table(sums.gradient)
    for c in range(len(basis)):
        direction = torch.zeros_like(basis)
        direction[c] = blobs(f"direction {c}")
        expected = slope(
            images,
            lambda t, along=direction: dataclasses.replace(
                start(), basis=basis + t * along
            ),
        )
        assert abs(expected) > 0.1
        assert float((gradient * direction).sum()) == pytest.approx(expected, rel=1e-5)


def test_weights_are_the_derivative_with_respect_to_those_of_the_manifold() -> None:
    images, start = factors_of(5, 9.0), manifold()
    found = sums_of(images, start)[0].counts.weights
    for v in range(4):
        one = torch.nn.functional.one_hot(torch.tensor(v), 4)
        expected = slope(
            images,
            lambda t, along=one: dataclasses.replace(
                start, weights=torch.softmax(start.weights.log() + t * along, 0)
            ),
        )
        # Weights sum to one: what one gains the others lose.
        left = float(found[v] - 5 * start.weights[v])
        assert left == pytest.approx(expected, abs=1e-6)


def test_weights_and_log_likelihood_are_sums_over_images() -> None:
    sums, _, placement = sums_of(factors_of(5, 9.0), manifold())
    assert sums.counts.images == 5
    assert sums.counts.log_likelihood == pytest.approx(
        float(placement.log_likelihood.sum())
    )
    torch.testing.assert_close(
        sums.counts.weights, placement.conformation_weight.sum(0)
    )


def test_images_add_up() -> None:
    images, start = factors_of(5, 9.0), manifold()
    whole, _, _ = sums_of(images, start)
    parts: Sums | None = None
    for rows in (slice(2), slice(2, 5)):
        part = ImageFactors(images.modes, images.linear[rows], images.squares[rows])
        cells, scorer, found, placement = found_in(part, start)
        parts = Sums.empty(scorer) if parts is None else parts
        accumulate(parts, cells, part, scorer, TREE, found, placement)
    assert parts is not None
    assert parts.counts.images == whole.counts.images
    torch.testing.assert_close(parts.counts.weights, whole.counts.weights)
    for name in ("gradient", "precision"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name))


def squared_ctf(count: int, max_shell: int) -> Tensor:
    """(B, D, D//2+1) 1 <= |k| <= max_shell, zero elsewhere."""
    freqs = frequency_grid(BOX, PIXEL_SIZE, like=torch.zeros(1, dtype=FLOAT))
    radius = frequency_radius(BOX, 2, like=freqs)
    return ctf(optics(count), freqs).square() * ((radius > 0) & (radius <= max_shell))


def test_precision_in_all_is_squared_ctf_over_noise() -> None:
    count, power = 5, 9.0
    start = manifold()
    sums, _, placement = sums_of(factors_of(count, power), start)
    # Of the orthonormal transform, and a rfftn sums over D voxels along the beam.
    seen = squared_ctf(count, 5) * shell_weights(BOX, like=start.basis)
    seen = seen.sum((1, 2)) / (power * BOX**2)  # (B,)
    weight = placement.conformation_weight.T @ seen  # (V,)
    times = shell_weights(BOX, 3, like=start.basis).flatten()
    for pair, (c, d) in enumerate(start.pairs.T.tolist()):
        products = start.coefficients[:, c] * start.coefficients[:, d]
        expected = float(weight @ products) * (1 if c == d else 2)
        total = float(times @ sums.precision[:, pair])
        assert total == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["first", "second"])
@pytest.mark.parametrize("shell", [2, 4])
def test_precision_gives_the_power_that_slices_have(name: str, shell: int) -> None:
    # Nothing is known of poses by an empty basis: each has the same weight.
    empty = dataclasses.replace(manifold(), basis=0 * manifold().basis)
    count, power, tree = 3, 9.0, PoseTree(576)
    sums, _, _ = sums_of(factors_of(count, power), empty, tree)
    rotations = tree.rotations(torch.arange(tree.count(1)), 1).to(FLOAT)
    volume = band(blobs(name), shell)
    slices = project_spectrum(volume[None], rotations[None])[0].abs().square().mean(0)
    weight = squared_ctf(count, 5).sum(0) * shell_weights(BOX, like=slices)
    expected = float((slices * weight).sum()) / (power * BOX**2)
    precision = sums.precision[:, 0].view(BOX, BOX, -1)  # of the mean
    squares = to_spectrum(volume[None])[0].abs().square()
    times = shell_weights(BOX, 3, like=squares)
    assert float((squares * times * precision).sum()) == pytest.approx(
        expected, rel=0.1
    )


def band(volumes: Tensor, highest: float, lowest: float = 0.5) -> Tensor:
    """Keep the modes lowest <= |k| <= highest."""
    radius = frequency_radius(volumes.shape[-1], 3, like=volumes)
    kept = torch.fft.rfftn(volumes, dim=(-3, -2, -1)) * (
        (radius >= lowest) & (radius <= highest)
    )
    result: Tensor = torch.fft.irfftn(kept, s=volumes.shape[-3:], dim=(-3, -2, -1))
    return result


def clear_images(
    truth: Manifold, tree: PoseTree, ctfs: CTFParams | None, power: float
) -> ImageFactors:
    """Images with little noise, one at each pose of the tree's first level."""
    count = tree.count(1)
    pose = torch.arange(count)
    shown = pose % len(truth.weights)
    clean = clean_images(truth.volumes[shown], tree.rotations(pose, 1), ctfs, BOX // 2)
    return ImageFactors.of(clean + white_noise(count, power), ctfs, law(power))


def error_of(estimate: Estimate, truth: Tensor) -> float:
    """Relative, of the modes 1 <= |k| <= 5 of all basis volumes."""
    radius = frequency_radius(BOX, 3, like=truth)
    seen = (radius > 0) & (radius <= 5)
    return relative(estimate.spectrum[:, seen], to_spectrum(truth)[:, seen])


@pytest.mark.parametrize("is_modulated", [False, True])
@pytest.mark.parametrize(("share", "left"), [(0.05, 0.03), (0.02, 0.013)])
def test_one_step_from_nearby_comes_to_the_truth(
    is_modulated: bool, share: float, left: float
) -> None:
    truth, tree = manifold(), PoseTree(72)
    ctfs = optics(tree.count(1)) if is_modulated else None
    images = clear_images(truth, tree, ctfs, 1e-3)
    others = torch.stack([blobs(f"other {c}") for c in range(3)])
    start = dataclasses.replace(truth, basis=truth.basis + share * others)
    sums, slicer, _ = sums_of(images, start, tree)
    radius = frequency_radius(BOX, 3, like=truth.basis)
    before = Estimate(to_spectrum(start.basis) * (radius <= 5), torch.zeros(0))
    assert error_of(before, truth.basis) > share
    assert error_of(maximise(start, sums, slicer.modes, WHOLE), truth.basis) < left


@pytest.mark.parametrize("kind", [manifold, separate])
def test_the_truth_stays(kind: Callable[[], Manifold]) -> None:
    truth, tree = kind(), PoseTree(72)
    images = clear_images(truth, tree, optics(tree.count(1)), 1e-6)
    sums, slicer, placement = sums_of(images, truth, tree)
    estimate = maximise(truth, sums, slicer.modes, WHOLE)
    assert placement.pose.tolist() == list(range(tree.count(1)))
    assert error_of(estimate, truth.basis) < 1e-3


def test_modes_that_images_do_not_show_are_empty() -> None:
    sums, slicer, _ = sums_of(factors_of(5, 9.0), manifold())
    found = maximise(manifold(), sums, slicer.modes, WHOLE).spectrum
    radius = frequency_radius(BOX, 3, like=found.real)
    # Half a shell beyond: what the window tells.
    assert (found[:, radius >= 5.5] == 0).all()
    assert (found[:, (radius > 0) & (radius <= 5)] != 0).all()


def test_precision_is_a_matrix_of_each_voxel() -> None:
    start = manifold()
    sums, slicer, _ = sums_of(factors_of(5, 9.0), start)
    found = maximise(start, sums, slicer.modes, WHOLE).precision
    assert found.shape == (BOX, BOX, BOX // 2 + 1, 3, 3)
    torch.testing.assert_close(found, found.mT)
    pairs = sums.precision.view(BOX, BOX, -1, 6)
    for pair, (c, d) in enumerate(start.pairs.T.tolist()):
        both = found[..., c, d] * (1 if c == d else 2)
        torch.testing.assert_close(both, pairs[..., pair])


def estimate_of(count: int, box: int) -> Estimate:
    """Of volumes, with precision matrices that depend on the shell."""
    spectrum = to_spectrum(drawn(count, box, box, box, name="volumes"))
    root = drawn(box, count, count, name="root")
    precision = root @ root.mT + 0.1 * torch.eye(count, dtype=FLOAT)
    return Estimate(spectrum, precision[shell_index(box, 3, like=spectrum)])


def everywhere(estimate: Estimate) -> Tensor:
    """A window that leaves all."""
    return torch.ones_like(from_spectrum(estimate.spectrum))


@pytest.mark.parametrize("box", [12, 13])
def test_a_strong_signal_is_left_as_it_is(box: int) -> None:
    estimate = estimate_of(3, box)
    power = torch.full((3, box // 2 + 1), 1e12, dtype=FLOAT)
    torch.testing.assert_close(
        regularise(estimate, power, everywhere(estimate)),
        drawn(3, box, box, box, name="volumes"),
    )


def test_without_a_signal_nothing_is_left() -> None:
    estimate, power = estimate_of(3, 12), torch.zeros(3, 7, dtype=FLOAT)
    assert (regularise(estimate, power, everywhere(estimate)) == 0).all()


@pytest.mark.parametrize("box", [12, 13])
def test_one_volume_is_filtered_as_by_wiener(box: int) -> None:
    estimate = estimate_of(1, box)
    power = drawn(1, box // 2 + 1, name="power").square() + 0.1
    shells = shell_index(box, 3, like=power).clamp(max=box // 2)
    density = estimate.precision[..., 0, 0]
    expected = density / (density + 1 / power[0, shells]) * estimate.spectrum[0]
    found = to_spectrum(regularise(estimate, power, everywhere(estimate)))[0]
    expected[0, 0, 0] = estimate.spectrum[0, 0, 0, 0]  # a grey level has no prior
    torch.testing.assert_close(found, expected)


def test_several_volumes_are_filtered_together() -> None:
    estimate = estimate_of(3, 12)
    power = drawn(3, 7, name="power").square() + 0.1
    found = to_spectrum(regularise(estimate, power, everywhere(estimate)))
    for place in ((0, 0, 1), (2, -1, 3), (-4, 0, 2)):
        shell = min(6, round(math.hypot(*place)))
        # The most likely x: (1 / T + ρ) x = ρ x_max.
        density = estimate.precision[place].numpy()
        right = density @ estimate.spectrum[:, *place].numpy()
        expected = np.linalg.solve(
            np.diag(1 / power[:, shell].numpy()) + density, right
        )
        np.testing.assert_allclose(found[:, *place].numpy(), expected, rtol=1e-9)


def test_a_volume_without_power_leaves_the_others_alone() -> None:
    estimate = estimate_of(2, 12)
    power = torch.stack((torch.ones(7, dtype=FLOAT), torch.zeros(7, dtype=FLOAT)))
    found = to_spectrum(regularise(estimate, power, everywhere(estimate)))
    assert (found[1] == 0).all()
    assert (found[0] != 0).all()
