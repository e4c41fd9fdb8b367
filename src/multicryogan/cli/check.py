"""`multicryogan check`."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from multicryogan.cli import options
from multicryogan.cli.train import DEFAULT_MINUTES
from multicryogan.config import ImagingConfig, RunConfig
from multicryogan.errors import InputError
from multicryogan.tables import checked

if TYPE_CHECKING:
    from rich.console import Console

    from multicryogan.data import Report
    from multicryogan.io import ParticleStack
    from multicryogan.training import Forecast

LABEL_WIDTH = 18
SPOILED = 1  # exit status
TRIED = 2_000  # particles that training is tried on
NOTHING_GIVEN = options.ParticleOptions()


def check(
    particles: options.Particles,
    *,
    picture: Annotated[
        Path | None,
        Parameter(help="PNG file to draw power, CTF, contrast and some images to."),
    ] = None,
    trial_seconds: Annotated[
        float, Parameter(help="Time training for so long; 0: do not.")
    ] = 6.0,
    against_truth: Annotated[
        Path | None,
        Parameter(
            help="Folder made by simulate: can the particles be told from images "
            "simulated with the true maps? Takes minutes."
        ),
    ] = None,
    config: options.Config = None,
    device: options.Device = "auto",
    threads: options.Threads = 0,
    given: options.ParticleOptions = NOTHING_GIVEN,
    run: Annotated[RunConfig, Parameter(name="*")] = RunConfig(),
) -> int:
    """Say what a particle file holds and what would spoil a run, before training.

    Looks at files, optics and up to 2,000 images, and tries how fast training is here.
    Takes the same options as train. Ends with status 0 when the particles can be
    trained on and 1 when not.
    """
    del config  # its values are in `run` already
    if not 0 <= trial_seconds < inf:
        raise InputError(
            f"--trial-seconds is {trial_seconds:g}; give 0 (do not try) or more"
        )
    where = options.set_up_torch(device, threads)
    stack = options.open_particles(particles, given)
    if picture is not None and picture.suffix.lower() != ".png":
        raise InputError(f"--picture {picture} is no picture; let its name end in .png")
    report = look_through(stack, run)
    if not report.problems:
        sign, _ = options.contrast_sign(stack, run.data.contrast)
        if picture is not None:
            draw_picture(stack, sign, run, picture)
        if trial_seconds > 0:
            report = try_training(report, run, stack, sign, where, trial_seconds)
        if against_truth is not None:
            report = compare_with_truth(report, run, stack, sign, against_truth)
    elif picture is not None:
        note = "no picture was drawn: first put right what would spoil a run"
        report = replace(report, notes=(*report.notes, note))
    print_report(report)
    return SPOILED if report.problems else 0


def look_through(stack: ParticleStack, run: RunConfig) -> Report:
    """Look at files, optics, images, and measured background if there is any.

    Raises:
        InputError: Of the settings, or of files that cannot be read.
    """
    from multicryogan.data import check_particles, inspect_background
    from multicryogan.training.build import check_config

    run = checked(run)
    check_config(replace(run, train=replace(run.train, images=1)), processes=1)
    report = check_particles(stack, run.data, run.generator.symmetry)
    if not report.problems and run.imaging.background:
        report = inspect_background(report, stack, run)
    return report


def draw_picture(stack: ParticleStack, sign: int, run: RunConfig, path: Path) -> None:
    """Draw what was measured."""
    from multicryogan.data import portray
    from multicryogan.report.portrait import plot_portrait

    plot_portrait(portray(stack, run.data, sign), path)


def try_training(
    report: Report,
    run: RunConfig,
    stack: ParticleStack,
    sign: int,
    device: str,
    seconds: float,
) -> Report:
    """Add how fast a run would be, or that it breaks down at once."""
    import numpy as np

    from multicryogan.training import TrainingError, forecast

    few = np.unique(np.linspace(0, len(stack) - 1, TRIED).round().astype(np.int64))
    try:
        found = forecast(run, stack.select(few), sign, device, seconds)
    except TrainingError as error:
        problem = f"training broke down when it was tried: {error}"
        return replace(report, problems=(*report.problems, problem))
    return replace(report, facts=(*report.facts, *forecast_lines(found, run)))


def forecast_lines(found: Forecast, run: RunConfig) -> list[tuple[str, str]]:
    """Say how fast this machine is, and what a run of the length asked for gives."""
    import torch

    rates = ", ".join(
        f"{1 / stage.seconds_per_update:.2g} at box {stage.box}"
        for stage in found.stages
    )
    threads = torch.get_num_threads()
    where = f"{threads} thread{'s' * (threads > 1)}"
    if found.device != "cpu":
        where = found.device
    train, a_minute = run.train, found.images(1.0)
    if train.images > 0 and train.time_limit <= 0:
        images, minutes = float(train.images), train.images / a_minute
    else:
        minutes = train.time_limit or DEFAULT_MINUTES
        images = minutes * a_minute
    gives = f"{_rounded(images)} simulated images, {_rounded(a_minute)} a minute"
    memory = f"{found.peak_bytes / 1e9:.2g} GB of memory so far"
    return [
        ("this machine", f"updates a second: {rates} ({where})"),
        ("a run", f"of {minutes:.3g} minutes: {gives}; {memory}"),
    ]


def _rounded(number: float) -> str:
    """Two digits."""
    return f"{float(f'{number:.2g}'):,.0f}"


def compare_with_truth(
    report: Report, run: RunConfig, stack: ParticleStack, sign: int, folder: Path
) -> Report:
    """Print spectra beside those of the true maps; return the report with a verdict."""
    from multicryogan.synthetic import read_truth
    from multicryogan.training.mismatch import measure_mismatch
    from multicryogan.training.schedule import Schedule
    from multicryogan.units import is_same_length

    truth = read_truth(folder)
    field = stack.field_angstrom
    true_field = truth.maps.shape[-1] * truth.voxel_size
    if not is_same_length(field, true_field):
        raise InputError(
            f"images of {stack.path} span {field:.1f} Å, maps of {folder} "
            f"{true_field:.1f} Å; give the truth of these particles"
        )
    made, patches = truth.config, run.imaging.background
    spread = 0.0 if made.contrast_in_star else made.contrast_spread
    imaging = ImagingConfig(made.shift_sigma_angstrom, spread, background=patches)
    run = replace(run, imaging=imaging)
    for box in Schedule(run).boxes:
        found = measure_mismatch(run, stack, sign, truth.maps, truth.map_weights, box)
        print("\n".join(found.table()), end="\n\n")
        verdict = "can be told apart" if found.problem else "cannot be told apart"
        fact = (f"truth at box {box}", f"{verdict} ({found.areas})")
        problems = (found.problem,) if found.problem else ()
        report = replace(
            report,
            facts=(*report.facts, fact),
            problems=(*report.problems, *problems),
        )
    return report


def print_report(report: Report) -> None:
    """Print a page; what comes from files is shown as it is, never as markup."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    if console.is_terminal:
        _print_facts(report, console)
    else:  # whoever reads a file needs paths that are whole
        for label, text in report.facts:
            print(f"{label:{LABEL_WIDTH}}  {options.printable(text)}")
    for heading, lines, style in (
        ("Worth knowing", report.notes, "yellow"),
        ("Would spoil a run", report.problems, "red"),
    ):
        if lines:
            console.print(Text(f"\n{heading}", style=f"bold {style}"))
        for line in lines:
            console.print(Text(f"- {options.printable(line)}"), soft_wrap=True)
    verdict = "Do not train yet." if report.problems else "Ready to train."
    console.print(Text(f"\n{verdict}", style="bold"))


def _print_facts(report: Report, console: Console) -> None:
    """Print facts in two columns that fit the terminal."""
    from rich.table import Table
    from rich.text import Text

    page = Table.grid(padding=(0, 2))
    page.add_column(min_width=LABEL_WIDTH)
    page.add_column(overflow="fold")
    for label, text in report.facts:
        page.add_row(Text(label, style="bold"), Text(options.printable(text)))
    console.print(page)
