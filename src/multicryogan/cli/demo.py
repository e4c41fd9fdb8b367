"""`multicryogan demo`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from multicryogan.cli import options

DATA = {"images": 20_000, "box": 16, "pixel_size": 10.0, "snr_db": 0.0}
RUN = {
    "data": {"box": DATA["box"]},
    "train": {"images": 243_200},  # 1,900 updates
    "output": {"preview_minutes": 1.0},
}


def demo(
    *,
    output: Annotated[
        Path, Parameter(name=["-o", "--output"], help="Folder to write.")
    ] = Path("demo"),
    threads: options.Threads = 0,
) -> int:
    """Simulate a small moving molecule, reconstruct it, and compare with the truth.

    Takes about four minutes on two CPU cores. The same command goes on with a demo that
    was stopped.
    """
    from multicryogan.cli.evaluate import score_run
    from multicryogan.cli.simulate import simulate_with_progress
    from multicryogan.cli.train import run_training
    from multicryogan.cli.volumes import volumes
    from multicryogan.config import SimulationConfig, run_config
    from multicryogan.io import read_particles
    from multicryogan.tables import build

    start = time.monotonic()
    device = options.set_up_torch("cpu", threads)
    data, run = output / "data", output / "run"
    if not data.exists():
        print("1/4 simulating particle images of a molecule that opens and closes")
        options.make_folder(output)
        simulate_with_progress(build(SimulationConfig, DATA), data)
    print("2/4 reconstructing it from the images alone")
    status = run_training(
        run_config(RUN), read_particles(data / "particles.star"), run, device
    )
    if status != 0:
        return status
    print("3/4 writing maps along the motion")
    volumes(run, output=output / "maps")
    print("4/4 comparing with the truth")
    scores = score_run(run, data, output / "evaluation")
    print()
    print("\n".join(scores.table()))
    print(f"\npictures: {output / 'evaluation'}   maps: {output / 'maps'}")
    print(f"{(time.monotonic() - start) / 60:.1f} minutes in all")
    return 0
