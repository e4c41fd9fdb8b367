"""Speed of refinement's E-step and its sums by the fineness of poses.

python benchmarks/e_step.py REFINED particles.star [--images 10000] [--levels 1 2 3]

REFINED is a folder of `multicryogan refine`. Processor seconds, which other programs
disturb less than the clock (on a GPU seconds), of one thread unless told otherwise.
Slices of volumes and their sums take as long for few images as for many.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from pathlib import Path

import torch
from quality import guarded

from multicryogan.inference import load_manifold
from multicryogan.io import read_particles
from multicryogan.likelihood import Examination
from multicryogan.rng import Shard
from multicryogan.training import open_stage


def main() -> int:
    """Time each level and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("refined", type=Path)
    parser.add_argument("particles", type=Path)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--levels", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--sign", type=int, choices=(1, -1), default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3, choices=range(1, 100))
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    return guarded("e_step", lambda: time_levels(options))


def time_levels(options: argparse.Namespace) -> None:
    """Place the first images at poses of each level, and add them to sums."""
    stack = read_particles(options.particles)
    manifold, config, _ = load_manifold(options.refined)
    box = manifold.basis.shape[-1]
    stage = open_stage(config, stack, options.sign, box, Shard(), options.device)
    manifold = manifold.of_contrasts(config.imaging.contrast_spread)
    tree = stage.poses(config.imaging.shift_sigma_angstrom)
    clock = time.process_time if options.device == "cpu" else time.monotonic
    rows = torch.arange(min(options.images, len(stack)))
    for level in options.levels:
        look = Examination(manifold.to(options.device), stage.law(), tree, level)
        seconds: list[float] = []
        for _ in range(options.repeats):
            sums = look.empty_sums(box)
            start = clock()
            look.place(stage.sampler, rows, sums)
            seconds.append(clock() - start)
        told = sums.counts.log_likelihood / sums.counts.images
        print(
            f"{len(rows):,} images, {tree.count(level):,} poses "
            f"{math.degrees(tree.spacing(level)):.1f} degrees apart: median "
            f"{statistics.median(seconds):.1f} s ({min(seconds):.1f} to "
            f"{max(seconds):.1f}), {told:.2f} nats an image",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
