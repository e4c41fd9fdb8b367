"""What single images can tell at best: the posterior under the true maps.

python benchmarks/oracle.py DATA [--images 5000] [--assigned FOLDER ...] [--told FILE]

DATA is a folder that `multicryogan simulate` wrote: discrete, or with one or two
coordinates, continuous or of a table, and perhaps a domain that some particles lack.
Each image is compared with every true map in every pose, by the search that `assign`
uses, with its own true optics and the noise spectrum of all images' rims, over all
shells below Nyquist; shifts and contrasts, which no file tells, are integrated out
under their true laws. Of hundreds of maps, their mean and first principal components
are compared instead; the report says how much of them these hold. No rule that looks at
single images finds more right groups, or a smaller rms error of the coordinate, up to
the steps of both grids. Every figure per image that a method reaches is to be quoted
beside this one: --assigned does so for what `multicryogan assign` wrote for the same
particles, on the same images. Its latents are cut in two groups where neighbouring
class maps differ most, without the truth, and counted in the order that fits; each
coordinate counts along the latent axis that orders it best. Poses count after the one
turn, in either hand, that makes most of them right, and with a turn for each
conformation, since images do not show how conformations are turned to each other. What
that alone costs is told by the true maps' poses, once these maps are laid on their
neighbours as `assign` lays its own. Along one continuous coordinate the particles are
counted in thirds of the true range: their latents between class maps, these maps
between true ones. Posterior means crowd towards the middle, under the true maps as
well; shares less that blur are what `multicryogan evaluate FOLDER` tells. All these
place a conformation by its map. A map may be short of what its particles are, where no
image shows a part of its frequencies: so conformations are also placed at the mean true
coordinate of the particles they have, by posterior weight, and counted there.

What the true maps tell is kept in the FILE of --told, and read from there where it is.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from multicryogan.config import RunConfig
from multicryogan.evaluation import (
    align_neighbours,
    mean_map,
    own_frames,
    widest_step,
)
from multicryogan.evaluation.distribution import Cumulative, between_states
from multicryogan.evaluation.matching import correlation_matrix
from multicryogan.evaluation.order import rank_correlations, spearman
from multicryogan.evaluation.pose_errors import pose_errors_deg
from multicryogan.evaluation.scores import matching_shell
from multicryogan.io import read_particles, read_volume, whole_file
from multicryogan.likelihood import (
    CLOSE,
    Examination,
    Manifold,
    Placement,
)
from multicryogan.rng import Shard, stream
from multicryogan.rotations import geodesic_distance_deg
from multicryogan.synthetic import PRESENT, Truth, read_truth
from multicryogan.training import open_stage

FAR_DEG = 30.0
MOST_MAPS, COMPONENTS = 49, 20  # more maps than that are spanned by components


@dataclass(frozen=True)
class Found:
    """What the posterior says of some particles, and which they are."""

    rows: Tensor  # (B,)
    rotation: Tensor  # (B, 3, 3)
    placement: Placement
    poses: int
    seconds: float
    held: float  # share of the variance of the true maps


def main(arguments: Sequence[str] | None = None) -> None:
    """Place some images and print how well it went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=5_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--assigned", type=Path, nargs="*", default=[], help="folders of assign"
    )
    parser.add_argument("--told", type=Path, help="file of what the true maps tell")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    truth = read_truth(options.data)
    rows = torch.randperm(len(truth.rotation), generator=stream(0, "oracle"))
    rows = rows[: options.images]
    told: Path | None = options.told
    if told is not None and told.is_file():
        lines = told.read_text()
    else:
        lines = "\n".join(report(search(options.data, truth, rows), truth))
        if told is not None:
            with whole_file(told) as path:
                path.write_text(lines)
    print(lines)
    for folder in options.assigned:
        print(f"{folder}: {report_assigned(folder, rows, truth)}")


def search(data: Path, truth: Truth, rows: Tensor) -> Found:
    """Compare the particles of rows (B,) with all true maps in all poses."""
    stack = read_particles(data / "particles.star")
    box = truth.maps.shape[-1]
    stage = open_stage(RunConfig(), stack, 1, box, Shard(), "cpu")
    law, tree = stage.law(), stage.poses(truth.config.shift_sigma_angstrom)
    level = tree.fine_level(law.max_shell)
    maps, held = true_manifold(truth)
    if not truth.config.contrast_in_star:
        maps = maps.of_contrasts(truth.config.contrast_spread)
    look = Examination(maps, law, tree, level, CLOSE)
    start = time.monotonic()
    placement = look.place(stage.sampler, rows)
    return Found(
        rows=rows,
        rotation=look.tree.rotations(placement.pose, look.level),
        placement=placement,
        poses=look.tree.count(look.level),
        seconds=time.monotonic() - start,
        held=held,
    )


def true_manifold(truth: Truth) -> tuple[Manifold, float]:
    """Take the true maps, and the share of their variance that is kept."""
    weights = truth.map_weights.float()
    if len(truth.maps) <= MOST_MAPS:
        return Manifold.separate(truth.maps, truth.map_coordinates, weights), 1.0
    maps = Manifold.span(truth.maps, truth.map_coordinates, weights, COMPONENTS)
    lost = weights @ (truth.maps - maps.volumes).flatten(1).square().sum(1)
    whole = weights @ (truth.maps - truth.mean).flatten(1).square().sum(1)
    return maps, 1 - float(lost / whole)


def is_of_groups(truth: Truth) -> bool:
    """Whether the particles are in a few states; those of a table have coordinates."""
    return truth.config.law.kind == "discrete" and bool((truth.state >= 0).all())


def report(found: Found, truth: Truth) -> list[str]:
    """List the figures; shares of images with their standard error."""
    rows, placement = found.rows, found.placement
    count = len(rows)
    lines = [
        f"{count:,} images, {found.poses:,} poses, {len(truth.maps)} maps "
        f"({100 * found.held:.2f} % of their variance): {found.seconds:.0f} s",
        *_true_turns(found, truth),
        f"entropy of the posterior: median {placement.entropy.median():.1f} of "
        f"{math.log(found.poses * len(truth.maps)):.1f} nats",
    ]
    state = truth.state[rows]
    if is_of_groups(truth):
        group = placement.conformation_weight.argmax(1)
        means = placement.conformation_weight.mean(0).tolist()
        own = (torch.bincount(state, minlength=len(truth.maps)) / count).tolist()
        return [
            *lines,
            f"in the right group: {_share(group == state)}",
            f"shares by the mean posterior: {_percents(means)}; of these images: "
            f"{_percents(own)}",
        ]
    true, mean = truth.coordinates[rows], placement.latent
    error = (mean - true).square().mean(0).sqrt()
    prior = true.std(0, unbiased=False)
    spread = placement.latent_spread.square().mean(0).sqrt()
    for axis, unit in enumerate(truth.units):
        if unit == PRESENT:
            is_right = (mean[:, axis] > 0.5) == truth.is_present[rows]
            lines.append(f"domain there or not, told rightly: {_share(is_right)}")
            continue
        lines.append(
            "coordinate, posterior mean: rank correlation "
            f"{spearman(mean[:, axis], true[:, axis]):.3f}, rms error "
            f"{error[axis]:.2f} {unit} (prior mean: {prior[axis]:.2f}), told spread "
            f"{spread[axis]:.2f}"
        )
    if truth.map_coordinates.shape[1] == 1 and truth.units != (PRESENT,):
        lines.append(_shares_along(mean[:, 0], rows, truth))
        lines.append(_shares_of_own(placement.conformation_weight, rows, truth))
    return lines


def report_assigned(folder: Path, rows: Tensor, truth: Truth) -> str:
    """Say how well `assign` placed some particles (B,)."""
    with np.load(folder / "latents.npz", allow_pickle=False) as arrays:
        latent = torch.from_numpy(arrays["latent"])[rows]
        weight = torch.from_numpy(arrays["conformation_weight"])
        rotation = torch.from_numpy(arrays["rotation"])[rows]
        conformation = torch.from_numpy(arrays["conformation"])[rows]
        places = torch.from_numpy(arrays["conformation_latents"])[:, 0]
    files = sorted(folder.glob("class_*.mrc"))
    maps = torch.stack([read_volume(file).values for file in files])
    share = weight.mean(0)
    true = truth.rotation[rows].float()
    poses = "; a turn for each conformation: ".join(
        (
            _turns(pose_errors_deg(rotation, true)),
            _turns(pose_errors_deg(rotation, true, conformation)),
        )
    )
    state = truth.state[rows]
    if truth.units == (PRESENT,):
        state = truth.is_present[rows].long()
    elif not is_of_groups(truth):
        moving = [axis for axis, unit in enumerate(truth.units) if unit != PRESENT]
        ranks = rank_correlations(latent, truth.coordinates[rows][:, moving])
        told = " / ".join(f"{abs(rank):.3f}" for rank in ranks)
        told = f"posterior mean: rank correlation {told}; {poses}"
        if len(truth.units) > 1:
            return told
        found = np.interp(latent[:, 0], places, places_along(maps, truth))
        placed = _shares_along(torch.from_numpy(found), rows, truth)
        return f"{told}; {placed}; {_shares_of_own(weight[rows], rows, truth)}"
    first, _ = widest_step(maps)
    group = latent[:, 0] > float(places[first : first + 2].mean())
    right = max((group == state, group != state), key=lambda hits: int(hits.sum()))
    low = float(share[: first + 1].sum())
    return (
        f"in the right group: {_share(right)}; shares by the mean posterior of all: "
        f"{_percents([low, 1 - low])}; {poses}"
    )


def places_along(maps: Tensor, truth: Truth) -> Tensor:
    """Place maps (V, D, D, D) along the true coordinate, each in its own frame."""
    states, weights = truth.maps, truth.map_weights
    laid = own_frames(maps, states, mean_map(states, weights))
    shell = matching_shell(states, weights)
    everyone = torch.arange(len(maps))
    columns = [
        correlation_matrix(laid.lay(m, everyone), states[m : m + 1], shell)
        for m in range(len(states))
    ]
    correlation = torch.cat(columns, dim=1)
    return between_states(correlation, truth.map_coordinates[:, 0])


def _shares_along(found: Tensor, rows: Tensor, truth: Truth) -> str:
    """Count particles (B,) at coordinates that were found, and where they are."""
    true, limits = truth.coordinates[rows, 0], _limits(truth)
    ones = torch.ones(len(rows))
    here, there = (Cumulative.spread(x, ones, limits) for x in (found, true))
    return (
        f"in thirds of the range, as placed: {_percents(list(here.shares(limits)))}; "
        f"of these images: {_percents(list(there.shares(limits)))}; largest "
        "difference of the cumulative shares "
        f"{100 * here.largest_difference(there):.1f} points"
    )


def _shares_of_own(weight: Tensor, rows: Tensor, truth: Truth) -> str:
    """Place conformations by the particles that (B, V) weights give, and count them."""
    true = truth.coordinates[rows, 0]
    share = weight.double().mean(0)
    place = weight.double().T @ true.double() / (len(rows) * share)
    used = share > 0
    limits = _limits(truth)
    shares = Cumulative.spread(place[used], share[used], limits).shares(limits)
    return f"conformations where their particles are: {_percents(list(shares))}"


def _limits(truth: Truth) -> tuple[float, float]:
    """Least and greatest coordinate of the true maps along their one axis."""
    states = truth.map_coordinates[:, 0]
    return float(states.min()), float(states.max())


def _true_turns(found: Found, truth: Truth) -> list[str]:
    """Pose errors under the true maps: in their frame, and laid on their neighbours."""
    true = truth.rotation[found.rows].float()
    lines = [_turns(geodesic_distance_deg(found.rotation, true))]
    if len(truth.maps) > 2:
        _, frames = align_neighbours(truth.maps, truth.map_coordinates)
        laid, _ = frames.poses(found.rotation, found.placement.conformation)
        lines.append(f"laid on their neighbours: {_turns(pose_errors_deg(laid, true))}")
    return lines


def _turns(turn: Tensor) -> str:
    return (
        f"pose error: median {turn.median():.1f} degrees; above {FAR_DEG:g} degrees "
        f"{_share(turn > FAR_DEG)}"
    )


def _share(hits: Tensor) -> str:
    share, count = float(hits.double().mean()), len(hits)
    error = math.sqrt(share * (1 - share) / count)
    return f"{100 * share:.1f} +- {100 * error:.1f} %"


def _percents(shares: list[float]) -> str:
    return " / ".join(f"{100 * share:.1f} %" for share in shares)


if __name__ == "__main__":
    main()
