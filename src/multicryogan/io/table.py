"""Tables of our own results (.csv)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

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
    missing = [name for name in needed if name not in found.columns]
    if missing:
        raise InputError(f"cannot read {path}: it lacks {', '.join(missing)}; {cure}")
    return found
