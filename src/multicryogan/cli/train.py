"""`multicryogan train`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from multicryogan.cli import options
from multicryogan.cli.process import BROKEN_RUN, INTERRUPTED
from multicryogan.config import RunConfig
from multicryogan.tables import checked

if TYPE_CHECKING:
    from multicryogan.io import ParticleStack
    from multicryogan.training import Preview

DEFAULT_MINUTES = 20.0
NOTHING_GIVEN = options.ParticleOptions()


def train(
    particles: options.Particles,
    *,
    output: options.Output,
    config: options.Config = None,
    device: options.Device = "auto",
    threads: options.Threads = 0,
    given: options.ParticleOptions = NOTHING_GIVEN,
    run: Annotated[RunConfig, Parameter(name="*")] = RunConfig(),
) -> int:
    """Reconstruct the conformations of a molecule from particle images.

    The same command goes on with a run that was stopped. Ctrl-C stops it safely. Give
    --time-limit (minutes) or --images; without either it trains for 20 minutes. With
    more of either, a run that has ended goes on. A run with --images alone repeats
    exactly on the same machine with the same threads.
    """
    del config  # its values are in `run` already
    stack = options.open_particles(particles, given)
    if run.train.images <= 0 and run.train.time_limit <= 0:
        run = replace(run, train=replace(run.train, time_limit=DEFAULT_MINUTES))
    where = options.set_up_torch(device, threads)
    return status_of_training(run, stack, output, where)


def status_of_training(
    config: RunConfig, stack: ParticleStack, output: Path, device: str
) -> int:
    """Train; give the exit status: what follows must not take a stop for an end."""
    from multicryogan.training import TrainingError

    try:
        is_done = run_training(config, stack, output, device)
    except TrainingError as error:
        print(f"multicryogan: {error}", file=sys.stderr)
        return BROKEN_RUN
    return 0 if is_done else INTERRUPTED


def run_training(
    config: RunConfig, stack: ParticleStack, output: Path, device: str
) -> bool:
    """Fit the config to the particles, train, and say how it ended.

    Returns:
        Whether it came to its end, and was not stopped.

    Raises:
        InputError: Of the particles, the settings or the folder.
        TrainingError: The game broke down.
    """
    from contextlib import nullcontext

    from multicryogan.cli.report import write_report
    from multicryogan.data import check_background
    from multicryogan.inference import VERDICT, judge_run
    from multicryogan.report.about import recorded
    from multicryogan.training import train
    from multicryogan.training.build import check_config
    from multicryogan.training.distributed import told_shard

    config = options.with_whole_paths(checked(config))
    shard = told_shard()
    check_config(config, shard.world)
    is_first = shard.rank == 0
    stack.check_files()
    if is_first:
        options.warn_of_no_ctf(stack)
    if config.imaging.background:
        check_background(stack, config)
    sign, text = options.contrast_sign(stack, config.data.contrast)
    if is_first:
        grids = ", ".join(f"box {g.box} of {g.pixel_size:.3f} Å" for g in stack.grids)
        print(f"{len(stack):,} particles, {grids}")
        print(text)
    with recorded(output, device) if is_first else nullcontext():
        is_done = train(
            config, stack, sign, output, device=device, on_preview=_draw_preview
        )
    if not is_first:
        return is_done
    (output / VERDICT).unlink(missing_ok=True)  # of an earlier end
    if not is_done:
        print(f"stopped; the same command goes on: {output}")
        return False
    print(judge_run(output, stack, sign))
    print(f"page: {write_report([output])}")
    print(f"done: {output}")
    return True


def _draw_preview(preview: Preview, path: Path) -> None:
    """Draw real and simulated images and central slices."""
    from multicryogan.report.plots import plot_preview

    plot_preview(preview.real, preview.fake, preview.volumes, path)
