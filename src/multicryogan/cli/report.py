"""`multicryogan report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from multicryogan.cli import options


def report(
    folders: Annotated[
        list[Path],
        Parameter(
            help="Folder of refine or train, whose conformations are shown; then any "
            "others of train, refine, assign or landscape on the same particles."
        ),
    ],
    *,
    output: Annotated[
        Path | None,
        Parameter(name=["-o", "--output"], help="File to write; FOLDER/report.html."),
    ] = None,
    threads: options.Threads = 0,
) -> int:
    """Write one page about what was found: shapes, shares, resolution, and doubts.

    The page is a single file that opens in any browser, without a network: the surface
    of every conformation, the landscape of the particles, correlation of half maps,
    real beside simulated images, power of the noise, directions of view, and how it was
    made. train and refine write it as well, of their own folder.
    """
    options.set_up_torch("cpu", threads)
    print(f"done: {write_report(folders, output)}")
    return 0


def write_report(folders: list[Path], output: Path | None = None) -> Path:
    """Write the page of some folders, into the first of them if no file is given."""
    from multicryogan.report.page import PAGE, write_report

    return write_report(folders, output or folders[0] / PAGE)
