"""Speed of the posterior over poses, beside the machine's matrix products.

python benchmarks/likelihood.py [--threads 2] [--device cpu]

Images of 32 x 32 with a CTF each meet 4,608 poses of one volume, all shells below
Nyquist. The product of images and slices alone, in the same blocks, is what the machine
could do at best. Medians of some repeats. Takes 2 GB of memory.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable

import torch

from multicryogan.imaging import CTFParams
from multicryogan.likelihood import ImageLaw, pose_posterior
from multicryogan.likelihood.marginal import SCORES_AT_ONCE
from multicryogan.rng import stream
from multicryogan.rotations import super_fibonacci

BOX, PIXEL_SIZE, POSES = 32, 5.0, 4_608


def main() -> None:
    """Time both and print what they come to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    count, device = options.images, options.device
    draws = stream(0, "benchmark")
    images = torch.randn((count, BOX, BOX), generator=draws).to(device)
    volume = torch.randn((1, BOX, BOX, BOX), generator=draws).to(device)
    u = 10_000 + 10_000 * torch.rand(count, generator=draws)
    one = torch.ones(count)
    optics = CTFParams(u, u, 0 * one, 0 * one, 300 * one, 2.7 * one, 0.1 * one)
    rotations = super_fibonacci(POSES).to(device)
    law = ImageLaw(
        torch.full((BOX // 2 + 1,), 10.0, device=device),
        PIXEL_SIZE,
        BOX // 2 - 1,
    )
    optics = optics.to(device)
    modes = sum(
        1 for y in range(-15, 16) for x in range(16) if 0 < math.hypot(x, y) <= 15.5
    )
    side = math.isqrt(SCORES_AT_ONCE)
    left = torch.randn((side, 3 * modes), generator=draws).to(device)
    right = torch.randn((side, 3 * modes), generator=draws).to(device)
    blocks = math.ceil(count / side) * math.ceil(POSES / side)

    def multiply() -> None:
        for _ in range(blocks):
            left @ right.T

    whole = timed(
        lambda: pose_posterior(images, optics, volume, rotations, law),
        options.repeats,
    )
    product = timed(multiply, options.repeats) * count * POSES / (blocks * side**2)
    print(
        f"{count:,} images x {POSES:,} poses x 1 volume on {device}, "
        f"{options.threads} threads: {whole:.2f} s; the products alone {product:.2f} s "
        f"({product / whole:.0%})"
    )


def timed(work: Callable[[], object], repeats: int) -> float:
    """Median seconds of some calls, after one that is not counted."""
    work()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
