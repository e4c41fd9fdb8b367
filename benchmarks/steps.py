"""Milliseconds per generator step by part, at boxes 16, 32 and 64.

python benchmarks/steps.py [--threads 1 2] [--repeats 7] > steps.json

One step is one discriminator update and one generator update with default settings.
Parts are timed one by one, forward and backward, each the median of the repeats; the
machine's load is in the result.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

import torch

from multicryogan.cli.options import keep_freed_memory
from multicryogan.config import RunConfig
from multicryogan.data.preprocess import Preprocessing
from multicryogan.data.view import View, Views
from multicryogan.imaging import CTFParams, form_images
from multicryogan.imaging.noise import sample_noise
from multicryogan.imaging.params import ImagingParams
from multicryogan.imaging.projection import project
from multicryogan.networks import TemplateDiscriminator
from multicryogan.rng import stream
from multicryogan.rotations import random_rotations
from multicryogan.training.build import build_discriminator, build_generator

VOLUMES, POSES = RunConfig().train.volumes_per_batch, RunConfig().train.poses_per_volume
PIXEL_SIZE = 5.0


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--boxes", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    keep_freed_memory()
    rows = []
    for box in options.boxes:
        for threads in options.threads:
            torch.set_num_threads(threads)
            row = {"box": box, "threads": threads}
            for name, part in parts(box).items():
                row[name] = round(median_ms(part, options.repeats), 2)
            rows.append(row)
            print(row, file=sys.stderr)
    json.dump({**machine(), "rows": rows}, sys.stdout, indent=1)
    print()


def parts(box: int) -> dict[str, Callable[[], None]]:
    """Build the parts of a step at a box; each runs forward and backward."""
    config = RunConfig()
    generator = build_generator(config, box)
    discriminator = build_discriminator(config, box, "cpu")
    assert isinstance(discriminator, TemplateDiscriminator)
    draws = stream(0, "benchmark")
    latent = torch.rand((VOLUMES, 1), generator=draws)
    rotation = random_rotations((VOLUMES, POSES), draws)
    one = torch.ones((VOLUMES, POSES))
    optics = CTFParams(
        15_000 * one, 14_000 * one, 30 * one, 0 * one, 300 * one, 2.7 * one, 0.1 * one
    )
    params = ImagingParams(rotation, None, optics)
    volume = generator(latent).detach().requires_grad_(True)
    clean = form_images(volume, params, PIXEL_SIZE).detach().requires_grad_(True)
    power = torch.ones(box // 2 + 1)
    prepared = Preprocessing(box, 1, 0.95 * box / 2, 2.0)
    view = View(prepared, PIXEL_SIZE, shows_ctf=True)
    flat = optics.reshape(-1)
    noise = torch.randn((VOLUMES * POSES, box, box), generator=draws)
    real = view(noise, flat)
    fake = Views(real.images.clone().requires_grad_(True), real.transfer)
    weight = config.train.penalty_weight

    def show() -> None:
        noisy = clean + sample_noise(tuple(clean.shape), power, draws)
        view(noisy.flatten(0, 1), flat).images.square().sum().backward()

    def discriminate() -> None:
        both = real.followed_by(fake.detached())
        scores = discriminator(both.images, both.transfer)
        loss = discriminator.loss(*scores.chunk(2))
        mix = torch.rand(len(fake.images), generator=draws)
        shown = real.images, fake.images.detach(), fake.transfer, mix
        (loss + weight * discriminator.penalty(*shown)).backward()

    def generate() -> None:
        discriminator.requires_grad_(False)
        with torch.no_grad():
            real_score = discriminator(real.images, real.transfer)
        fake_score = discriminator(fake.images, fake.transfer)
        discriminator.loss(fake_score, real_score).backward()
        discriminator.requires_grad_(True)

    return {
        "volumes": lambda: generator(latent).sum().backward(),
        "projection": lambda: project(volume, rotation).sum().backward(),
        "projection_ctf": lambda: (
            form_images(volume, params, PIXEL_SIZE).sum().backward()
        ),
        "noise_view": show,
        "discriminator_update": discriminate,
        "generator_through_discriminator": generate,
    }


def median_ms(part: Callable[[], None], repeats: int) -> float:
    """Median time of a part in milliseconds, after two runs to warm up."""
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        part()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times[2:])


def machine() -> dict[str, object]:
    """Say what was measured where."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return {
        "commit": commit,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    main()
