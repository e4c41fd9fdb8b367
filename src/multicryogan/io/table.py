"""Tables (.csv) and facts by name (.json) of our own results."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from multicryogan.errors import InputError


def read_table(path: Path, needed: Iterable[str], cure: str) -> pd.DataFrame:
    """Read a table.

    Args:
        path: A .csv file.
        needed: Columns that it must have.
        cure: What the user can do when the file cannot be used.

    Raises:
        InputError: It cannot be read, is no table, or lacks a column.
    """
    try:
        found = pd.read_csv(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; {cure}") from None
    except ValueError:
        raise InputError(
            f"cannot read {path}: it is damaged or no table; {cure}"
        ) from None
    _refuse_lack(path, needed, found.columns, cure)
    return found


def read_facts(path: Path, needed: Iterable[str], cure: str) -> dict[str, Any]:
    """Read facts; arguments as of `read_table`. Empty where there is no such file.

    Raises:
        InputError: It cannot be read, holds no facts by name, or lacks one.
    """
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}; {cure}") from None
    if not isinstance(found, dict):
        raise InputError(f"cannot read {path}: it holds no facts by name; {cure}")
    _refuse_lack(path, needed, found, cure)
    return found


def _refuse_lack(
    path: Path, needed: Iterable[str], found: Container[str], cure: str
) -> None:
    """Refuse a file that lacks names."""
    missing = [name for name in needed if name not in found]
    if missing:
        raise InputError(f"cannot read {path}: it lacks {', '.join(missing)}; {cure}")
