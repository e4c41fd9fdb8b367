"""`multicryogan demo`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from multicryogan.cli import options
from multicryogan.cli.folders import result_folder

DATA = {"images": 20_000, "box": 16, "pixel_size": 10.0, "snr_db": 0.0}
RUN = {
    "data": {"box": DATA["box"]},
    "train": {"images": 128_000},  # 1,000 updates
    "output": {"preview_minutes": 1.0},
}
PAGE = "report.html"
ITERATIONS = 4  # of the refinement


def demo(
    *,
    output: Annotated[
        Path, Parameter(name=["-o", "--output"], help="Folder to write.")
    ] = Path("demo"),
    threads: options.Threads = 0,
) -> int:
    """Simulate a small moving molecule, reconstruct it, and compare with the truth.

    Takes about five minutes on two CPU cores. The same command goes on with a demo that
    was stopped.
    """
    from multicryogan.cli.evaluate import score_run
    from multicryogan.cli.refine import refine
    from multicryogan.cli.report import write_report
    from multicryogan.cli.simulate import simulate_with_progress
    from multicryogan.cli.train import status_of_training
    from multicryogan.config import RefineConfig, SimulationConfig, run_config
    from multicryogan.io import read_particles
    from multicryogan.tables import build

    start = time.monotonic()
    device = options.set_up_torch("cpu", threads)
    data, run, refined = (output / name for name in ("data", "run", "refined"))
    particles = data / "particles.star"
    if not data.exists():
        print("1/4 simulating particle images of a molecule that opens and closes")
        with result_folder(output, data.name):
            simulate_with_progress(build(SimulationConfig, DATA), data)
    print("2/4 reconstructing it from the images alone")
    stack = read_particles(particles)
    status = status_of_training(run_config(RUN), stack, run, device)
    if status != 0:
        return status
    print("3/4 refining it by the likelihood of every particle")
    refine(
        run,
        particles,
        output=refined,
        device="cpu",
        threads=threads,
        settings=RefineConfig(iterations=ITERATIONS),
    )
    print("4/4 comparing with the truth")
    scores = score_run(refined, data, refined / "evaluation")
    print()
    print("\n".join(scores.table()))
    page = write_report([refined, run], output / PAGE)
    print(f"\npage: {page}   maps: {refined}")
    print(f"{(time.monotonic() - start) / 60:.1f} minutes in all")
    return 0
