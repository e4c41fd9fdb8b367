"""`multicryogan simulate`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from multicryogan.cli import options
from multicryogan.config import SimulationConfig


def simulate(
    *,
    output: options.Output,
    config: options.Config = None,
    threads: options.Threads = 0,
    data: Annotated[SimulationConfig, Parameter(name="*")] = SimulationConfig(),
) -> int:
    """Make particle images of a moving molecule, with the truth beside them.

    Writes particles.star (RELION 3.1, no poses), particles.mrcs or a stack for each
    optics group, and the folder truth/ with conformation, pose and optics of every
    particle and the true maps. With --background-patches also background.star.
    """
    options.set_up_torch("cpu", threads)
    simulate_with_progress(data, output)
    print(f"done: {output / 'particles.star'}, truth in {output / 'truth'}")
    return 0


def simulate_with_progress(config: SimulationConfig, output: Path) -> None:
    """Simulate, and show how far it is."""
    from multicryogan import synthetic
    from multicryogan.progress import ProgressLine

    with ProgressLine() as line:
        count = partial(line.count, "simulating images")
        synthetic.simulate(config, output, progress=count)
