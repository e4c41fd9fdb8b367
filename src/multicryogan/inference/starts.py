"""Where refinement starts: from a generator, or from nothing.

Of a generator's conformations, the mean and as many main motions are kept as the latent
has dimensions: a straight line, or a plane, that images bend anew. A generator may run
back along its own curve, and expectation-maximisation would keep such a fold; a
straight line has none. Conformations gather where the particles are before it may bend:
of two states, one of few views, an end of the line would bend back for those views.

A random start is a blob of noise that a few thousand images turn into a map, poses
unknown, at low resolution first. Most end in a false optimum: several are tried, and
held-out images tell which is best. Its motion starts as noise as well.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from multicryogan.errors import InputError
from multicryogan.evaluation import neighbour_frames
from multicryogan.fourier import frequency_radius, shell_mean
from multicryogan.inference.masks import in_sphere
from multicryogan.inference.refinement import Refinement, State, weighed
from multicryogan.inference.spacing import follow, unrest
from multicryogan.likelihood.least_squares import from_spectrum, to_spectrum
from multicryogan.likelihood.manifold import Manifold, all_pairs
from multicryogan.likelihood.maximisation import own_power
from multicryogan.likelihood.weighing import Counts
from multicryogan.networks import Generator
from multicryogan.progress import Report, ignore
from multicryogan.rng import stream

MAP_IMAGES, MOTION_IMAGES = 4_000, 20_000  # at most
MAP_SHELLS = (4,) * 5 + (5,) * 3 + (6,) * 4 + (8,) * 4
LINE_SHELLS, MOTION_SHELLS = (6,) * 6, (8,) * 5
SETTLING_SHELLS = (8,) * 15  # at most
RESTING = 0.002  # of the particles, that a line need not follow
PATIENCE = 3  # iterations in a row by which held-out images lose
FEWEST = (3, 5)  # conformations of a line, and along each side of a plane, to bend
MOTIONS = 3  # tries from the best map
BLOB = 0.2  # spread of the blob, of the box
FAINT = 0.1  # power of the first motion, of the map's
NEW = 1e-6  # of a function, that those before it are not to tell


def begin(
    work: Refinement,
    generator: Generator,
    latents: Tensor,
    excess: Tensor,
    report: Report,
) -> tuple[State, str, dict[str, Any]]:
    """Make the starts that are asked for and keep the best.

    Args:
        work: The refinement.
        generator: A trained generator.
        latents: (V, d) conformations wanted.
        excess: (D//2+1,) power of the images beyond their noise.
        report: Called with what is being done, images done and images in all.

    Returns:
        The first state, the name of its start, and the held-out log-likelihood of all.

    Raises:
        InputError: Starts cannot be told apart, as no images are held out.
    """
    settings = work.config
    scores: dict[str, Any] = {}
    starts: dict[str, Manifold] = {}
    if settings.start != "random":
        starts["generator"] = generator_start(work, generator, latents, report)
    if settings.start != "generator":
        if not len(work.rows[2]):
            raise InputError(
                f"--start {settings.start}: too few particles to hold some out, which "
                "tell the starts apart; use --start generator"
            )
        found = random_start(work, latents, excess, report)
        starts["random"], scores["random tries"] = found
    states = {name: work.begin(start) for name, start in starts.items()}
    for name, state in states.items():
        scores[name] = work.held_out(state.manifold, state.shell, state.tree)
    best = max(states, key=lambda name: scores[name] or 0.0)
    return states[best], best, scores


def generator_start(
    work: Refinement,
    generator: Generator,
    latents: Tensor,
    report: Report = ignore,
) -> Manifold:
    """Take the volumes of a generator at (V, d) latents, and bend them anew.

    Few states along a dimension are kept as they are: see `FEWEST`.

    Args:
        work: The refinement; the first half's images bend the line or plane.
        generator: A trained generator.
        latents: (V, d) conformations wanted.
        report: Called with what is being done, images done and images in all.
    """
    found = generator_volumes(generator, latents, work.config.motions(latents.shape[1]))
    found = found.to(work.noise_power.device).of_contrasts(work.contrast_spread)
    dimensions = latents.shape[1]
    fewest = FEWEST[dimensions > 1] ** dimensions
    if len(latents) < fewest or len(found.basis) <= dimensions:
        return found
    return _bend(work, straightened(found), report)


def generator_volumes(
    generator: Generator, latents: Tensor, components: int
) -> Manifold:
    """Take the volumes of a generator at (V, d) latents, turned on each other.

    They are not shifted: images are centred on the conformations as they come. Those
    that have axes of symmetry or a part at rest in common are not turned.
    """
    device = next(generator.parameters()).device
    with torch.no_grad():
        volumes = torch.cat([generator(z[None].to(device)) for z in latents]).cpu()
    if generator.symmetry.order == 1 and generator.focus is None:
        frames = neighbour_frames(volumes, latents)
        still = replace(frames, shift=torch.zeros_like(frames.shift))
        volumes = still.apply(volumes)
    weights = torch.full((len(latents),), 1 / len(latents))
    return Manifold.span(volumes, latents, weights, components)


def straightened(found: Manifold) -> Manifold:
    """Fit a line, or a plane, to conformations along the d main motions.

    Volumes are linear in their ranks along the motions, whatever their order in the
    (V, d) latents. Of several motions, those directions count that the latents have:
    the orthogonal Procrustes problem (Schoenemann 1966, Psychometrika 31, 1).
    """
    dimensions = found.latents.shape[1]
    ones = torch.ones(len(found.latents), 1)
    even = _smooth_functions(ones, found.latents, dimensions).to(found.basis)
    main = found.coefficients[:, 1 : dimensions + 1]
    left, _, right = torch.linalg.svd(main.T @ even[:, 1:])
    ranks = _ranks(main @ left @ right).to(even)
    unit = (ranks - ranks.mean(0)) / ranks.std(0, correction=0)
    fit = torch.linalg.pinv(torch.cat((even[:, :1], unit), dim=1))
    basis = torch.tensordot(fit, found.volumes, 1)
    pairs = all_pairs(len(basis)).to(basis.device)
    return replace(found, coefficients=even, basis=basis, pairs=pairs)


def random_start(
    work: Refinement,
    latents: Tensor,
    signal_power: Tensor,
    report: Report = ignore,
) -> tuple[Manifold, list[float | None]]:
    """Make a manifold from images alone.

    Args:
        work: The refinement; the first half's images are used.
        latents: (V, d) conformations wanted.
        signal_power: (D//2+1,) power of the images beyond their noise.
        report: Called with what is being done, images done and images in all.

    Returns:
        The best manifold, and the held-out log-likelihoods of all maps and motions;
        None of one that ran off.
    """
    config = work.config
    maps: list[Manifold] = []
    scores: list[float | None] = []
    rows = work.rows[0][:MAP_IMAGES]
    for attempt in range(config.restarts):
        draws = stream(config.seed, "random start", step=attempt)
        blob = _blob(work, signal_power, draws)[None]
        one = Manifold(latents[:1], torch.ones(1), torch.ones(1, 1), blob, all_pairs(1))
        one = one.to(work.noise_power.device).of_contrasts(work.contrast_spread)
        for shell in _shells(MAP_SHELLS, work):
            one, _ = ascend(work, one, rows, shell, report)
        maps.append(one)
        scores.append(_score(work, one))
    best = _best(maps, scores)
    motions: list[Manifold] = []
    dimensions = latents.shape[1]
    straight = min(dimensions, config.motions(dimensions), len(latents) - 1)
    for attempt in range(MOTIONS if straight else 0):
        draws = stream(config.seed, "random motion", step=attempt)
        moving = _faint_motion(best, latents, straight, draws)
        motions.append(_bend(work, moving, report))
        scores.append(_score(work, motions[-1]))
    return _best([*maps, *motions], scores), scores


def _bend(work: Refinement, straight: Manifold, report: Report) -> Manifold:
    """Let images of the first half move a straight line, or a plane, and then bend it.

    Conformations follow the particles while nothing can fold: as soon as the line is
    free to bend, one that is short of particles would take those of another place.
    Where a line has found its bend they follow them again until they rest, or images
    that are held out go on losing by it, as those of two states do: shares drift long
    after images are explained as well as they will be, and these iterations are cheap.
    """
    count, dimensions = len(straight.latents), straight.latents.shape[1]
    most = min(work.config.motions(dimensions), count - 1)
    rows = work.rows[0][:MOTION_IMAGES]

    def once(some: Manifold, shell: int, *, follows: bool) -> tuple[Manifold, float]:
        some, counts = ascend(work, some, rows, shell, report)
        away = unrest(some, counts.weights)
        some = follow(some, counts.weights) if follows else some
        return work.by_laws(some, counts), away

    some = replace(straight, basis=work.symmetry.impose(straight.basis))
    for shell in _shells(LINE_SHELLS, work):
        some, _ = once(some, shell, follows=True)
    some = _free(some, most)
    some = replace(some, basis=work.symmetry.impose(some.basis))
    for shell in _shells(MOTION_SHELLS, work):
        some, _ = once(some, shell, follows=dimensions > 1)
    best, found, lost = _score(work, some) if dimensions == 1 else None, some, 0
    if best is None:
        return some
    for shell in _shells(SETTLING_SHELLS, work):
        some, away = once(some, shell, follows=True)
        score = _score(work, some)
        if score is not None and score >= best:
            best, found, lost = score, some, 0
        else:
            lost += 1
        if score is None or lost == PATIENCE or away < RESTING:
            break
    return found


def ascend(
    work: Refinement,
    manifold: Manifold,
    rows: Tensor,
    shell: int,
    report: Report = ignore,
) -> tuple[Manifold, Counts]:
    """Do one iteration without halves: the prior is the power beyond the noise.

    Returns:
        The manifold with another basis, and what images say of the laws of before.
    """
    look = work.look(manifold, shell, work.tree)
    sums = look.empty_sums(work.box)
    name = f"start, shells to {shell}"
    look.place(work.sampler, rows, sums, partial(report, name))
    estimate = work.maximum(manifold, sums, shell)
    basis = weighed(estimate, own_power(estimate), work.masks(manifold.basis))
    return replace(manifold, basis=basis), sums.counts


def _score(work: Refinement, manifold: Manifold) -> float | None:
    shell = min(MAP_SHELLS[-1], work.last_shell)
    score = work.held_out(manifold, shell, work.tree)
    return score if score is not None and math.isfinite(score) else None


def _best(found: list[Manifold], scores: list[float | None]) -> Manifold:
    known = [-math.inf if score is None else score for score in scores]
    return found[max(range(len(found)), key=lambda i: known[i])]


def _shells(wanted: tuple[int, ...], work: Refinement) -> list[int]:
    return [min(shell, work.last_shell) for shell in wanted]


def _blob(work: Refinement, signal_power: Tensor, draws: torch.Generator) -> Tensor:
    """(D, D, D) noise within a Gaussian, as strong as the images are."""
    box = work.box
    noise = torch.randn((box,) * 3, generator=draws)
    axis = torch.arange(box) - box // 2
    square = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2
    blob = (1 + noise) * torch.exp(-0.5 * square / (BLOB * box) ** 2)
    spectrum = to_spectrum(blob[None])
    radius = frequency_radius(box, 3, like=blob)
    blob = in_sphere(from_spectrum(spectrum * (radius <= MAP_SHELLS[0])))
    blob = work.symmetry.impose(blob)[0]
    # The mode q of a slice has |X(q)|^2 / D^2 of power; squared CTFs average one half.
    power = shell_mean(to_spectrum(blob[None]).abs().square(), box, 3)[0] / box**2
    low = slice(1, MAP_SHELLS[0] + 1)
    strength = 2 * signal_power.cpu()[low].clamp(min=0).sum() / power[low].sum()
    return blob * strength.sqrt()


def _faint_motion(
    rigid: Manifold, latents: Tensor, count: int, draws: torch.Generator
) -> Manifold:
    """Let a map move by `count` weak random components along the (V, d) latents."""
    box = rigid.basis.shape[-1]
    spectrum = to_spectrum(rigid.basis.cpu())
    size = shell_mean(spectrum.abs().square(), box, 3)[0].sqrt()
    radius = frequency_radius(box, 3, like=size)
    noise = to_spectrum(torch.randn((count, box, box, box), generator=draws))
    shells = radius.round().long().clamp(max=box // 2)
    shaped = noise / box**1.5 * size[shells] * math.sqrt(FAINT / count)
    motion = in_sphere(from_spectrum(shaped * (radius <= MAP_SHELLS[-1])))
    ones = torch.ones(len(latents), 1)
    moved = Manifold(
        latents,
        torch.full((len(latents),), 1 / len(latents)),
        _smooth_functions(ones, latents, count),
        torch.cat((rigid.basis.cpu(), motion)),
        all_pairs(count + 1),
    )
    moved = moved.seen_from(rigid.views).of_contrasts(rigid.contrast_spread)
    return moved.to(rigid.basis.device)


def _free(straight: Manifold, count: int) -> Manifold:
    """Add components until there are `count`, empty and smooth along the latents.

    Images that are told apart already give them their shape.
    """
    known, basis = straight.coefficients, straight.basis
    functions = _smooth_functions(known.cpu(), straight.latents, count).to(known)
    empty = basis.new_zeros(count + 1 - len(basis), *basis.shape[1:])
    return replace(
        straight,
        coefficients=functions,
        basis=torch.cat((basis, empty)),
        pairs=all_pairs(count + 1).to(basis.device),
    )


def _smooth_functions(known: Tensor, latents: Tensor, count: int) -> Tensor:
    """(V, count + 1) functions: known ones (V, c), then polynomials of latents' ranks.

    Of several latent dimensions: products, the lowest degrees first. What they have in
    common with those before is taken out, and their mean square made one.
    """
    place, found = _ranks(latents.cpu()), known.double()
    degree = 1
    while found.shape[1] <= count:
        powers = torch.cartesian_prod(*[torch.arange(degree + 1)] * place.shape[1])
        for power in powers.view(-1, place.shape[1]):
            column = (place**power).prod(1)
            left = column - found @ torch.linalg.lstsq(found, column).solution
            size, is_due = left.square().mean().sqrt(), int(power.sum()) == degree
            if is_due and size > NEW and found.shape[1] <= count:
                found = torch.cat((found, left[:, None] / size), dim=1)
        degree += 1
    return found.float()


def _ranks(values: Tensor) -> Tensor:
    """(V, d) place of each of (V, d) values in its column, from 0 to 1."""
    ranks = [column.unique(return_inverse=True)[1].double() for column in values.T]
    return torch.stack([rank / rank.max().clamp(min=1) for rank in ranks], dim=1)
