"""Folders that a data set grows in until it is whole, and what killed work leaves."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

MOST_PID = 2**22  # of Linux; a date, such as 20260131, is no process
CONTENT = ("clean", "particles", "background", "truth")


def unfinished_folder(output: Path) -> Path:
    """Name the hidden folder beside `output` that this process writes to."""
    whole = output.absolute()
    return whole.with_name(f".{whole.name}.{os.getpid()}")


def remove_abandoned(output: Path) -> None:
    """Remove the hidden folders of `output` whose process was killed."""
    whole = output.absolute()
    if not whole.parent.is_dir():
        return
    for folder in whole.parent.iterdir():
        number = folder.name.removeprefix(f".{whole.name}.")
        is_named = folder.name != number and number.isascii() and number.isdigit()
        if is_named and _is_abandoned(folder, int(number)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_abandoned(folder: Path, process: int) -> bool:
    """Whether a folder is one of ours, of a process that lives no more."""
    if process > MOST_PID or folder.is_symlink() or not folder.is_dir():
        return False
    if process != os.getpid() and _is_alive(process):
        return False
    return all(path.name.startswith(CONTENT) for path in folder.iterdir())


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)  # asks, and sends nothing
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
