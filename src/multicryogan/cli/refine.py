"""`multicryogan refine`."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from multicryogan.cli import options
from multicryogan.cli.folders import result_folder
from multicryogan.config import RefineConfig
from multicryogan.errors import InputError
from multicryogan.tables import checked

if TYPE_CHECKING:
    from multicryogan.inference import Refined, State

VIEWS = "views.png"
NOTHING_GIVEN = options.ParticleOptions()
NOTHING_SET = RefineConfig()


def refine(
    run: Annotated[Path, Parameter(help="Run folder made by train.")],
    particles: options.Particles,
    *,
    output: options.Output,
    device: options.Device = "auto",
    threads: options.Threads = 0,
    given: options.ParticleOptions = NOTHING_GIVEN,
    settings: Annotated[RefineConfig, Parameter(name="*")] = NOTHING_SET,
) -> int:
    """Refine the conformations of a run by the likelihood of every particle.

    Two halves of the particles are refined apart from a low-passed start. Writes maps
    of the conformations, unfiltered half maps, their correlation in a mask, corrected
    for it (fsc.csv), the resolution that it tells (refine.json), the mask that the maps
    were kept in (mask.mrc), from where the particles are seen (views.csv, views.png),
    whether they explain images that were held out as well as they claim (verdict.json),
    and manifold.safetensors, which `assign` reads. The same command goes on with a
    refinement that was stopped.
    """
    from multicryogan import inference
    from multicryogan.cli.report import write_report
    from multicryogan.io import one_writer
    from multicryogan.report import plot_views
    from multicryogan.report.about import recorded
    from multicryogan.training import load_snapshot
    from multicryogan.training.state import CHECKPOINTS

    settings = settled(settings)
    generator, config, voxel_size = load_snapshot(run)
    if output.resolve() == run.resolve():
        raise InputError(f"-o {output} is the run itself; give another folder")
    stack = options.open_particles(particles, given)
    stack.check_files()
    inference.check_particles(stack, generator.box, voxel_size)
    inference.check_halves(stack, config.train.seed)
    inference.latent_grid(config, settings.conformations)
    options.warn_of_no_ctf(stack)
    where = options.set_up_torch(device, threads)
    sign, _ = options.contrast_sign(stack, config.data.contrast)
    with (
        result_folder(output, CHECKPOINTS),
        one_writer(output),
        recorded(output, where),
    ):
        found = _watched(generator, config, settings, stack, sign, output, device=where)
    manifold = found.state.manifold.to("cpu")
    plot_views(manifold.views.weights, manifold.latents, output / VIEWS)
    for line in found.warnings:
        print(f"warning: {line}")
    print(inference.judge_refined(output, stack, sign))
    print(f"page: {write_report([output, run])}")
    print(f"done: {output}; from the {found.start} start, {say_resolution(found)}")
    return 0


def _watched(*work: Any, **more: Any) -> Refined:  # noqa: ANN401
    """Refine, and show what is being done."""
    from multicryogan.inference import describe, refine_run
    from multicryogan.progress import ProgressLine

    told = ""

    def show(name: str, done: int, total: int) -> None:
        line.count(name, done, total, told)

    def say(state: State) -> None:
        nonlocal told
        held_out = state.history[-1]["held_out"]
        told = "" if held_out is None else f"held-out {held_out:.2f} nats"
        print(describe(state), flush=True)

    with ProgressLine() as line:
        return refine_run(*work, **more, report=show, say=say)


def say_resolution(found: Refined) -> str:
    """Say in a few words how far the halves of all conformations agree."""
    reached = [value for value in found.resolutions_angstrom if math.isfinite(value)]
    count = len(found.curves)
    if not reached:
        return f"no resolution is known of {count} conformations"
    of = "" if len(reached) == count else f"{len(reached)} of "
    ends = sorted({f"{value:.1f}" for value in (min(reached), max(reached))}, key=float)
    return (
        f"gold-standard resolution {' to '.join(ends)} Å over {of}{count} conformations"
    )


def settled(settings: RefineConfig) -> RefineConfig:
    """Refuse settings that cannot be meant, and name files from the root.

    Raises:
        InputError: A number is too small, or no value is of the kind needed.
    """
    settings = checked(settings)
    least = {
        "iterations": 1,
        "conformations": 0,
        "components": 0,
        "start_shell": 1,
        "restarts": 1,
    }
    for name, smallest in least.items():
        value = getattr(settings, name)
        if value is not None and value < smallest:
            raise InputError(
                f"--{name.replace('_', '-')} is {value}; give {smallest} or more"
            )
    file = settings.mask_file
    return replace(
        settings,
        mask=settings.mask if file is None else options.whole_path(file),
        focus_mask=options.whole_path(settings.focus_mask),
    )
