"""Memory and speed of training on a stack far larger than memory.

python benchmarks/large_stack.py [--rows 1000000] [--box 128] > large.json

Makes a .star of many rows over several stacks, 64 GB on paper. The stacks are sparse
files: evenly spread images of each hold noise and a ball and are on the disk, all
others are holes, and the rows name the former, again and again. Beside it a small
stack of a few of these images. `multicryogan train` on either tells the peak memory.
Then both are trained in turns in one process: the large stack is pushed out of the
page cache before each turn, the small one is in it. Processor time is told beside the
clock's, which other processes disturb. Needs Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from quality import machine, run_command

from multicryogan.cli.options import keep_freed_memory
from multicryogan.config import RunConfig
from multicryogan.io import read_particles
from multicryogan.io.mrc_header import HEADER_BYTES, Statistics, new_header
from multicryogan.rng import Shard
from multicryogan.tables import write_toml
from multicryogan.training import Trainer

PIXEL_SIZE = 1.5
SMALL = 2_000  # rows of the small stack
LABELS = (
    "ImageName MicrographName DefocusU DefocusV DefocusAngle PhaseShift OpticsGroup"
)


@dataclass(frozen=True)
class Layout:
    """A data set of many rows."""

    rows: int
    stacks: int
    box: int  # pixels
    written: int  # images of each stack that are on the disk

    @property
    def per_stack(self) -> int:
        """Rows of each stack, and images that its header promises."""
        return self.rows // self.stacks


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--stacks", type=int, default=100)
    parser.add_argument("--box", type=int, default=128)
    parser.add_argument("--written", type=int, default=200)
    parser.add_argument("--boxes", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--updates", type=int, default=6, help="of each turn")
    parser.add_argument("--turns", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--folder", type=Path, help="made and kept; else temporary")
    options = parser.parse_args(arguments)
    layout = Layout(options.rows, options.stacks, options.box, options.written)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        sets = make_sets(folder, layout)
        config = RunConfig()
        train = replace(config.train, images=10 * 128, discriminator_warmup=5)
        short = replace(config, train=train)
        common = ["--threads", str(options.threads), "--device", options.device]
        facts = {
            **machine(options.device),
            "threads": options.threads,
            "seed": config.train.seed,
            "layout": asdict(layout),
            "gb_on_paper": layout.rows * layout.box**2 * 4 / 1e9,
            "gb_on_disk": sum(512 * f.stat().st_blocks for f in stacks_of(folder))
            / 1e9,
            "peak_gb": {  # first: the size of this process counts with them
                name: peak_gb(path, short, folder, common)
                for name, path in sets.items()
            },
        }
        keep_freed_memory()
        torch.set_num_threads(options.threads)
        facts["star_processor_seconds"] = star_seconds(sets["large"])
        turns = options.turns, options.updates
        facts["speed"] = [
            speed(sets, working_box(config, box), folder, turns, options.device)
            for box in options.boxes
        ]
    json.dump(facts | {"load_after": os.getloadavg()[0]}, sys.stdout, indent=1)
    print()
    return 0


def make_sets(folder: Path, layout: Layout) -> dict[str, Path]:
    """Write large.star, small.star and their stacks; return the two."""
    images = some_images(layout.written, layout.box)
    (folder / "stacks").mkdir(parents=True, exist_ok=True)
    spacing = layout.per_stack // layout.written
    names = [f"stacks/{number:04d}.mrcs" for number in range(layout.stacks)]
    for name in names:
        write_sparse(folder / name, images, layout.per_stack, spacing)
    numbers = np.arange(layout.per_stack) % layout.written * spacing
    rows = ((name, int(k)) for name in names for k in numbers)
    write_rows(folder / "large.star", rows, layout.box)
    write_sparse(folder / "small.mrcs", images, layout.written, 1)
    few = (("small.mrcs", k % layout.written) for k in range(SMALL))
    write_rows(folder / "small.star", few, layout.box)
    return {name: folder / f"{name}.star" for name in ("large", "small")}


def some_images(count: int, box: int) -> NDArray[np.float32]:
    """(count, box, box) white noise and a faint ball."""
    noise = np.random.default_rng(0).normal(size=(count, box, box))
    offset = np.arange(box) - box // 2
    ball = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * (box / 8) ** 2))
    return (noise + 0.3 * ball).astype("<f4")


def write_sparse(
    path: Path, images: NDArray[np.float32], promised: int, spacing: int
) -> None:
    """Write a stack of `promised` images: every so-many-th is given, holes between."""
    statistics_ = Statistics()
    statistics_.add(images)
    shape = (promised, *images.shape[1:])
    size = images[0].nbytes
    with path.open("wb") as file:
        file.write(new_header(shape, PIXEL_SIZE, statistics_, is_volume=False))
        for number, image in enumerate(images):
            file.seek(HEADER_BYTES + number * spacing * size)
            file.write(image.data)
        file.truncate(HEADER_BYTES + promised * size)


def write_rows(path: Path, rows: Any, box: int) -> None:  # noqa: ANN401
    """Write a RELION 3.1 file line by line: this process must stay small."""
    draws = np.random.default_rng(1)
    with path.open("w") as file:
        file.write("data_optics\n\nloop_\n_rlnOpticsGroup\n_rlnVoltage\n")
        file.write("_rlnSphericalAberration\n_rlnAmplitudeContrast\n")
        file.write("_rlnImagePixelSize\n_rlnImageSize\n")
        file.write(f"1 300.0 2.7 0.1 {PIXEL_SIZE} {box}\n\ndata_particles\n\nloop_\n")
        file.writelines(f"_rln{label}\n" for label in LABELS.split())
        for name, number in rows:
            u, angle = 10_000 + 10_000 * draws.random(), 180 * draws.random()
            micrograph = f"MotionCorr/job002/Movies/{Path(name).stem}.mrc"
            file.write(f"{number + 1:06d}@{name} {micrograph} ")
            file.write(f"{u:.6f} {u - 100:.6f} {angle:.6f} 0.000000 1\n")


def peak_gb(
    particles: Path, config: RunConfig, folder: Path, common: Sequence[str]
) -> float:
    """Peak resident memory of `multicryogan train`, from reading to the verdict."""
    settings, name = folder / "run.toml", f"run_{particles.stem}"
    write_toml(settings, config)
    command = ["train", str(particles), "-o", str(folder / name), *common]
    command += ["--config", str(settings)]
    ending = run_command(command, folder / f"{name}.log")
    if ending.status != 0:
        raise RuntimeError(f"train on {particles} ended with {ending.last_line}")
    return round(ending.peak_gb, 3)


def star_seconds(path: Path) -> float:
    """Processor seconds to read a particle file and to look at its stacks."""
    start = time.process_time()
    read_particles(path).check_files()
    return round(time.process_time() - start, 2)


def working_box(config: RunConfig, box: int) -> RunConfig:
    """Train at one box alone, from its beginning."""
    return replace(
        config,
        data=replace(config.data, box=box, contrast="white"),
        train=replace(config.train, images=10**9, coarse_share=0.0),
    )


def speed(
    sets: dict[str, Path],
    config: RunConfig,
    folder: Path,
    turns: tuple[int, int],
    device: str,
) -> dict[str, Any]:
    """Images per second of updates on either stack, in turns."""
    trainers: dict[str, Trainer] = {}
    opening: dict[str, float] = {}
    for name, path in sets.items():
        stack, run = read_particles(path), folder / f"{name}_{config.data.box}"
        start = time.perf_counter()
        trainers[name] = Trainer(config, stack, 1, run, shard=Shard(), device=device)
        opening[name] = round(time.perf_counter() - start, 2)
    count, updates = turns
    images = updates * config.train.volumes_per_batch * config.train.poses_per_volume
    wall: dict[str, list[float]] = {name: [] for name in trainers}
    processor: dict[str, list[float]] = {name: [] for name in trainers}
    for turn in range(count):
        push_out(folder)
        for name in sorted(trainers, reverse=turn % 2 == 1):
            start, used = time.perf_counter(), time.process_time()
            for _ in range(updates):
                trainers[name]._update(config.data.box / 2)
            wall[name].append(images / (time.perf_counter() - start))
            processor[name].append(images / (time.process_time() - used))
    return {
        "box": config.data.box,
        "seconds_to_open": opening,
        "images_per_second": middle(wall),
        "ratio": ratio_of(wall),
        "images_per_processor_second": middle(processor),
        "processor_ratio": ratio_of(processor),
    }


def middle(values: dict[str, list[float]]) -> dict[str, float]:
    """Median over the turns."""
    return {name: round(statistics.median(some), 1) for name, some in values.items()}


def ratio_of(values: dict[str, list[float]]) -> dict[str, float]:
    """Large over small, turn by turn: median and quartiles."""
    pairs = zip(values["large"], values["small"], strict=True)
    low, median, high = statistics.quantiles((a / b for a, b in pairs), n=4)
    return {"low": round(low, 3), "median": round(median, 3), "high": round(high, 3)}


def stacks_of(folder: Path) -> list[Path]:
    """Stacks of the large set."""
    return sorted((folder / "stacks").iterdir())


def push_out(folder: Path) -> None:
    """Drop the large set from the page cache."""
    for path in stacks_of(folder):
        with path.open("rb") as file:
            os.fsync(file.fileno())  # what is not written yet cannot be dropped
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    sys.exit(main())
