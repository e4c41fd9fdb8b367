"""`multicryogan check`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from multicryogan.cli import options
from multicryogan.config import DataConfig, ImagingConfig, RunConfig
from multicryogan.errors import InputError

if TYPE_CHECKING:
    from multicryogan.data import Report
    from multicryogan.io import ParticleStack

LABEL_WIDTH = 18
SPOILED = 1  # exit status
DEFAULTS = DataConfig()
NOTHING_GIVEN = options.ParticleOptions()


def check(
    particles: options.Particles,
    *,
    against_truth: Annotated[
        Path | None,
        Parameter(
            help="Folder made by simulate: can the particles be told from images "
            "simulated with the true maps? Takes minutes."
        ),
    ] = None,
    threads: options.Threads = 0,
    given: options.ParticleOptions = NOTHING_GIVEN,
    data: Annotated[DataConfig, Parameter(name="data")] = DEFAULTS,
) -> int:
    """Say what a particle file holds and what would spoil a run, before training.

    Looks at files, optics and up to 2,000 images. Takes the same options as train.
    Ends with status 0 when the particles can be trained on and 1 when not.
    """
    from multicryogan.data import check_particles
    from multicryogan.training.build import check_config

    run = RunConfig(data=data)
    check_config(replace(run, train=replace(run.train, images=1)), processes=1)
    options.set_up_torch("cpu", threads)
    stack = options.open_particles(particles, given)
    report = check_particles(stack, data)
    if against_truth is not None and not report.problems:
        report = compare_with_truth(report, run, stack, against_truth)
    print_report(report)
    return SPOILED if report.problems else 0


def compare_with_truth(
    report: Report, run: RunConfig, stack: ParticleStack, folder: Path
) -> Report:
    """Print spectra beside those of the true maps; return the report with a verdict."""
    from multicryogan.synthetic import read_truth
    from multicryogan.training.mismatch import measure_mismatch
    from multicryogan.training.schedule import Schedule

    truth = read_truth(folder)
    field = stack.field_angstrom
    true_field = truth.maps.shape[-1] * truth.voxel_size
    if abs(field - true_field) > 0.01 * true_field:
        raise InputError(
            f"images of {stack.path} span {field:.1f} Å, maps of {folder} "
            f"{true_field:.1f} Å; give the truth of these particles"
        )
    run = replace(run, imaging=ImagingConfig(truth.config.shift_sigma_angstrom))
    sign, _ = options.contrast_sign(stack, run.data.contrast)
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
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    page = Table.grid(padding=(0, 2))
    page.add_column(min_width=LABEL_WIDTH)
    page.add_column(overflow="fold")
    for label, text in report.facts:
        page.add_row(Text(label, style="bold"), Text(_printable(text)))
    console.print(page)
    for heading, lines, style in (
        ("Worth knowing", report.notes, "yellow"),
        ("Would spoil a run", report.problems, "red"),
    ):
        if lines:
            console.print(Text(f"\n{heading}", style=f"bold {style}"))
        for line in lines:
            console.print(Text(f"- {_printable(line)}"), soft_wrap=True)
    verdict = "Do not train yet." if report.problems else "Ready to train."
    console.print(Text(f"\n{verdict}", style="bold"))


def _printable(text: str) -> str:
    """Replace control characters, which could steer the terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)
