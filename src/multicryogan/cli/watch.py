"""`multicryogan watch`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from multicryogan.cli import options
from multicryogan.errors import InputError


def watch(
    folders: Annotated[
        list[Path],
        Parameter(help="As of report: folders of train or refine, assign after them."),
    ],
    *,
    port: Annotated[int, Parameter(help="To listen on; 0: any that is free.")] = 0,
    threads: options.Threads = 1,
) -> int:
    """Serve the report page of work that goes on, to this machine alone.

    Prints an address with a random token; reload the page to see it grow. Ctrl-C ends
    it. From afar, forward the port: ssh -L PORT:127.0.0.1:PORT.
    """
    from multicryogan.report.server import PageServer

    options.set_up_torch("cpu", threads)
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder; give that of a run")
    with PageServer(folders, port) as server:
        print(f"open {server.address} (Ctrl-C ends it)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
    return 0
