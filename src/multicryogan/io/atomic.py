"""Write a file whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from multicryogan.errors import InputError


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary name in the folder of `path`, renamed to `path` at the end.

    After an error, a full disk included, nothing is left behind and a file that was
    there before is untouched.

    Args:
        path: The file that shall exist afterwards.

    Yields:
        The name to write to.

    Raises:
        InputError: The folder cannot be written or the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"cannot write {path}: {reason}; choose an existing folder that you may "
            "write to, with free space"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
