"""Folders and files that commands write to: what is there already is not lost."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from multicryogan.errors import InputError


@contextmanager
def result_folder(folder: Path, mark: str) -> Iterator[None]:
    """Make a folder for results, or take one that holds earlier results of its kind.

    Folders that were made here go again when the work in it does not come to its
    end, unless it can be gone on with.

    Args:
        folder: Where results go.
        mark: Name of what every folder of this kind holds.

    Raises:
        InputError: It holds other things, or cannot be made.
    """
    from multicryogan.report.about import ABOUT
    from multicryogan.training.state import CHECKPOINTS

    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in folder.iterdir()} - {ABOUT}
    except OSError as error:
        raise InputError(
            f"cannot make the folder {folder}: {error.strerror}; choose another with -o"
        ) from None
    if names and mark not in names:
        raise InputError(
            f"{folder} is not empty and holds no {mark} of earlier results; choose "
            "another folder with -o"
        )
    try:
        yield
    except BaseException:
        if missing and not (folder / CHECKPOINTS).exists():
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):  # where others have put something
                for parent in missing[1:]:
                    parent.rmdir()
        raise


def forget(folder: Path, *patterns: str) -> None:
    """Remove files of earlier results, which new ones would not all replace."""
    for pattern in patterns:
        for path in folder.glob(pattern):
            path.unlink()
