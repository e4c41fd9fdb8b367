"""What single images can tell at best: the posterior under the true maps.

python benchmarks/oracle.py DATA [--images 2000] [--poses 18432] [--assigned FOLDER]

DATA is a folder that `multicryogan simulate` wrote, discrete or with one continuous
coordinate, without shifts. Each image is compared with every true map in every pose,
with its own true optics and the noise spectrum of all images' rims, over all shells
below Nyquist. No rule that looks at single images finds more right groups, or a smaller
rms error of the coordinate, up to the steps of both grids: where images are clear the
grid of poses limits it, and the spread that it tells is then less than its error.
Every figure per image that a method reaches is to be quoted beside this one:
--assigned does so for what `multicryogan assign` wrote for the same particles, on the
same images. Its latents are cut in two groups where neighbouring class maps differ
most, without the truth, and counted in the order that fits.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from multicryogan.config import RunConfig
from multicryogan.errors import InputError
from multicryogan.evaluation import fsc, fsc_area
from multicryogan.evaluation.order import spearman
from multicryogan.inference import (
    ImageLaw,
    Placement,
    PosePosterior,
    place,
    pose_posterior,
)
from multicryogan.io import read_particles, read_volume
from multicryogan.rng import Shard, stream
from multicryogan.rotations import geodesic_distance_deg, super_fibonacci
from multicryogan.synthetic import Truth, read_truth
from multicryogan.training import open_stage

BATCH = 10_000  # images at a time; the slices of each are made anew
FAR_DEG = 30.0


@dataclass(frozen=True)
class Found:
    """What the posterior says of some particles, and which they are."""

    rows: Tensor  # (B,)
    rotations: Tensor  # (M, 3, 3)
    placement: Placement
    seconds: float


def main() -> None:
    """Place some images and print how well it went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--poses", type=int, default=18_432)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--assigned", type=Path, help="folder that assign wrote")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    truth = read_truth(options.data)
    found = search(options.data, truth, options.images, options.poses)
    print("\n".join(report(found, truth)))
    if options.assigned is not None:
        with np.load(options.assigned / "latents.npz", allow_pickle=False) as arrays:
            latent = torch.from_numpy(arrays["latent"])[found.rows, 0]
            places = torch.from_numpy(arrays["conformation_latents"])[:, 0]
        files = sorted(options.assigned.glob("class_*.mrc"))
        maps = torch.stack([read_volume(file).values for file in files])
        print(report_assigned(latent, jump(maps, places), found.rows, truth))


def search(data: Path, truth: Truth, images: int, poses: int) -> Found:
    """Compare random particles with all true maps and a grid of poses.

    Raises:
        InputError: The particles are shifted, or have several coordinates.
    """
    if bool(truth.shift_angstrom.any()) or truth.coordinates.shape[1] != 1:
        raise InputError(f"{data}: give data without shifts and with one coordinate")
    stack = read_particles(data / "particles.star")
    box = stack.box
    stage = open_stage(RunConfig(), stack, 1, box, Shard(), "cpu")
    rows = torch.randperm(len(stack), generator=stream(0, "oracle"))[:images]
    rotations = super_fibonacci(poses).float()
    law = ImageLaw(rotations, stage.spectra.rim, stage.pixel_size, box // 2 - 1)
    start = time.monotonic()
    parts = []
    for some in torch.split(rows, BATCH):
        image, optics = stage.sampler.take(some)
        parts.append(pose_posterior(image, optics, truth.maps, law))
    joined = PosePosterior.join(parts, dim=0)
    placement = place(joined, truth.map_coordinates, truth.map_weights)
    return Found(rows, rotations, placement, time.monotonic() - start)


def report(found: Found, truth: Truth) -> list[str]:
    """List the figures; shares of images with their standard error."""
    rows, placement = found.rows, found.placement
    count = len(rows)
    turn = geodesic_distance_deg(
        found.rotations[placement.pose], truth.rotation[rows].float()
    )
    pairs = count * len(found.rotations) * len(truth.maps)
    lines = [
        f"{count:,} images, {len(found.rotations):,} poses, {len(truth.maps)} maps: "
        f"{found.seconds:.0f} s, {pairs / found.seconds / 1e6:.0f} million pairs a "
        "second",
        f"pose error: median {turn.median():.1f} degrees; above {FAR_DEG:g} degrees "
        f"{_share(turn > FAR_DEG)}",
        f"entropy of the posterior: median {placement.entropy.median():.1f} of "
        f"{math.log(len(found.rotations) * len(truth.maps)):.1f} nats",
    ]
    state = truth.state[rows]
    if (state >= 0).all():
        group = placement.conformation_weight.argmax(1)
        means = placement.conformation_weight.mean(0).tolist()
        own = (torch.bincount(state, minlength=len(truth.maps)) / count).tolist()
        return [
            *lines,
            f"in the right group: {_share(group == state)}",
            f"shares by the mean posterior: {_percents(means)}; of these images: "
            f"{_percents(own)}",
        ]
    true = truth.coordinates[rows, 0]
    mean = placement.latent[:, 0]
    error = (mean - true).square().mean().sqrt()
    prior = true.std(unbiased=False)
    return [
        *lines,
        f"coordinate, posterior mean: rank correlation {spearman(mean, true):.3f}, rms "
        f"error {error:.2f} {truth.unit} (prior mean: {prior:.2f}), told spread "
        f"{placement.latent_spread[:, 0].square().mean().sqrt():.2f}",
    ]


def report_assigned(latent: Tensor, cut: float, rows: Tensor, truth: Truth) -> str:
    """Say how well latents (B,) of some particles tell their conformations."""
    state = truth.state[rows]
    if (state < 0).any():
        rank = spearman(latent, truth.coordinates[rows, 0])
        return f"assigned, posterior mean: rank correlation {abs(rank):.3f}"
    group = latent > cut
    right = max((group == state, group != state), key=lambda hits: int(hits.sum()))
    return f"assigned, in the right group: {_share(right)}"


def jump(maps: Tensor, places: Tensor) -> float:
    """Find the latent between the two neighbouring maps that are least alike."""
    alike = fsc_area(fsc(maps[:-1], maps[1:]))
    first = int(alike.argmin())
    return float(places[first] + places[first + 1]) / 2


def _share(hits: Tensor) -> str:
    share, count = float(hits.double().mean()), len(hits)
    error = math.sqrt(share * (1 - share) / count)
    return f"{100 * share:.1f} +- {100 * error:.1f} %"


def _percents(shares: list[float]) -> str:
    return " / ".join(f"{100 * share:.1f} %" for share in shares)


if __name__ == "__main__":
    main()
