"""Write a file whole or not at all, and a folder by one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
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


@contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """Keep other processes that ask for the same from a folder meanwhile.

    Where the file system knows no locks, nothing is kept.

    Raises:
        InputError: Another process works in it.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"another process is working in {folder}; wait for it, or choose "
                "another folder with -o"
            ) from None
        except OSError:
            pass
        yield
    finally:
        os.close(handle)
