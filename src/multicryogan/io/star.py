"""STAR files as text: blocks of tables in, a RELION 3.1 file out.

Two rules of RELION's own reader matter: a row ends after as many values as there are
labels (what follows is dropped), and "#" opens a comment only at the start of a line.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import StringIO
from itertools import chain, groupby, islice
from pathlib import Path

import numpy as np
import pandas as pd

from multicryogan.errors import InputError
from multicryogan.io.atomic import whole_file

_BLOCK = re.compile(r"\s*data_(\S*)\s*(?:#.*)?$")
_TOKEN = re.compile(r"\"[^\"]*\"|'[^']*'(?=\s|$)|\S+")
_OPENING = re.compile(r"(?:^|\s)[\"']")
_BETWEEN = "\x1f"  # values of a row as they are parsed; no text holds it
_NUMBER = re.compile(
    r"[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?$|[+-]?nan$", re.I
)
_NOT_A_NUMBER = ["nan", "NaN", "NAN", "-nan", "+nan", "<NA>"]
_ROWS_AT_ONCE = 50_000  # as text they take much more memory than as a table
_MUST_QUOTE = re.compile(r"\s|^$|^[#_\"']|^data_|^loop_")

Line = tuple[int, str]  # its number in the file, counted from 1, and its text


@dataclass(frozen=True, slots=True)
class StarFile:
    """The tables of a STAR file, in file order."""

    path: Path
    blocks: tuple[tuple[str, pd.DataFrame], ...]  # name after "data_", table
    notes: tuple[str, ...]  # oddities met while reading, one line each

    def find(self, name: str) -> pd.DataFrame | None:
        """Return the first block with this name, or None."""
        return next((table for n, table in self.blocks if n == name), None)


def read_star(path: str | Path) -> StarFile:
    """Read every block of a STAR file.

    A loop becomes a table, a simple block a table of one row. Columns of numbers are
    numeric; names and whatever would change by conversion (`0012`) stay text.

    Args:
        path: A .star file.

    Returns:
        The tables with their columns and rows in file order.

    Raises:
        InputError: Unreadable, not text, or a row with too few values.
    """
    path = Path(path)
    notes: list[str] = []
    try:
        with path.open(encoding="utf-8-sig") as file:
            blocks = tuple(_read_blocks(path, file, notes))
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror}; check the path"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not a STAR file: it is not text; give another"
        ) from error
    return StarFile(path, blocks, tuple(notes))


def write_star(
    path: str | Path, particles: pd.DataFrame, optics: pd.DataFrame | None = None
) -> None:
    """Write a particle table, in RELION 3.1 layout when there is an optics table.

    Without optics the file has one table, as in RELION 3.0. Numbers keep their full
    precision; text with spaces is quoted.

    Args:
        path: The .star file to write.
        particles: One row per particle, columns named as in RELION, without "_".
        optics: One row per optics group.
    """
    if optics is None:
        blocks = [("data_", particles)]
    else:
        _check_groups(path, particles, optics)
        blocks = [("data_optics", optics), ("data_particles", particles)]
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for name, table in blocks:
            if optics is not None:
                file.write("\n# version 30001\n")
            file.write(f"\n{name}\n\nloop_\n")
            for number, label in enumerate(table.columns, start=1):
                file.write(f"_{label} #{number}\n")
            for start in range(0, len(table), _ROWS_AT_ONCE):
                some = table.iloc[start : start + _ROWS_AT_ONCE]
                columns = [_as_text(path, some[label]) for label in some.columns]
                rows = zip(*columns, strict=True)
                file.writelines("\t".join(row) + "\n" for row in rows)
            file.write("\n")


def _read_blocks(
    path: Path, file: Iterable[str], notes: list[str]
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield name and table of each data block."""
    names: list[str] = []

    def block_of(numbered: Line) -> int:
        line = numbered[1]
        found = _BLOCK.match(line) if "data_" in line else None  # cheap, first
        if found:
            names.append(found[1])
        return len(names)

    for block, lines in groupby(enumerate(file, start=1), block_of):
        if block > 0:
            yield names[-1], _parse_block(path, lines, notes)


def _parse_block(path: Path, lines: Iterator[Line], notes: list[str]) -> pd.DataFrame:
    """Read one loop or simple block from its lines; the first names it."""
    start, _ = next(lines)
    content = (
        (number, text)
        for number, line in lines
        if (text := line.strip()) and not text.startswith("#")
    )
    header: list[str] = []
    rows: Iterator[Line] = iter(())
    is_loop = False
    for number, text in content:
        if not header and not is_loop and text.startswith("loop_"):
            is_loop = True
        elif text.startswith("_"):
            header.append(text)
        else:
            rows = chain([(number, text)], content)
            break
    labels = [text.split()[0][1:] for text in header]
    repeated = {label for label in labels if labels.count(label) > 1}
    if repeated:
        raise InputError(
            f"{path} has the column _{min(repeated)} twice in one table; remove one"
        )
    if not is_loop:
        values = [_TOKEN.findall(text)[1:2] or [""] for text in header]
        row = " ".join(value or '""' for (value,) in values)
        rows = iter([(start + 1, row)])
    return _parse_rows(path, labels, rows, notes)


def _parse_rows(
    path: Path, labels: list[str], rows: Iterator[Line], notes: list[str]
) -> pd.DataFrame:
    """Turn the rows of a loop into a table."""
    first = next(rows, None)
    if first is None or not labels:
        return pd.DataFrame({label: pd.Series(dtype=float) for label in labels})
    rows = chain([first], rows)
    numeric = _numeric_labels(labels, _split(path, first))
    tables, longer = [], 0
    while some := list(islice(rows, _ROWS_AT_ONCE)):
        table, too_long = _parse_some(path, labels, some, numeric)
        tables.append(table)
        longer += too_long
    if longer:
        notes.append(
            f"{path}: {longer} rows have more values than the table has columns; "
            "the values without a label are dropped"
        )
    whole = tables[0] if len(tables) == 1 else pd.concat(tables, ignore_index=True)
    for label in labels:
        if label not in numeric and "Name" not in label:
            whole[label] = _as_exact_number(whole[label])
        elif label in numeric and not pd.api.types.is_numeric_dtype(whole[label]):
            whole[label] = whole[label].astype(str)  # text from some row on
    return whole


def _parse_some(
    path: Path, labels: list[str], rows: list[Line], numeric: set[str]
) -> tuple[pd.DataFrame, int]:
    """Turn some rows into a table; count those with values beyond its columns."""
    texts, longer = [], 0
    for row in rows:
        values = _split(path, row)
        if len(values) < len(labels):
            raise InputError(
                f"{path}, line {row[0]}: {len(values)} values found, the table has "
                f"{len(labels)} columns; the row is incomplete, write the file again"
            )
        longer += len(values) > len(labels)
        texts.append(_BETWEEN.join(values[: len(labels)]))
    try:
        table = _read_table(labels, texts, numeric)
    except pd.errors.ParserError as error:
        raise InputError(
            f"{path} has a damaged table ({error}); write it again"
        ) from error
    return table, longer


def _split(path: Path, row: Line) -> list[str]:
    """Split a row into values and take the quotes off them."""
    number, text = row
    if not (('"' in text or "'" in text) and _OPENING.search(text)):  # cheap, first
        return text.split()
    values = _TOKEN.findall(text)
    for i, value in enumerate(values):
        quote = value[0]
        if quote in "\"'" and len(value) > 1 and value[-1] == quote:
            values[i] = value[1:-1]
        elif quote == '"':
            raise InputError(
                f"{path}, line {number}: a quotation mark is not closed; write the "
                "file again"
            )
    return values


def _numeric_labels(labels: list[str], values: list[str]) -> set[str]:
    """Labels of numbers: those of RELION where the first row has one."""
    return {
        label
        for label, value in zip(labels, values, strict=False)
        if label.startswith("rln") and "Name" not in label and _NUMBER.match(value)
    }


def _read_table(labels: list[str], texts: list[str], numeric: set[str]) -> pd.DataFrame:
    """Parse complete rows; what is not numeric stays text."""
    return pd.read_csv(
        StringIO("\n".join(texts) + "\n"),
        sep=_BETWEEN,
        header=None,
        names=labels,
        index_col=False,
        dtype={label: str for label in labels if label not in numeric},
        quoting=csv.QUOTE_NONE,
        keep_default_na=False,
        na_values=dict.fromkeys(numeric, _NOT_A_NUMBER),
        low_memory=False,
        skip_blank_lines=False,
    )


def _as_exact_number(column: pd.Series) -> pd.Series:
    """Numbers, when every value of a text column is one that survives conversion."""
    values = column.tolist()
    if all(_NUMBER.match(value) for value in values):
        return pd.to_numeric(column)
    return column


def _check_groups(
    path: str | Path, particles: pd.DataFrame, optics: pd.DataFrame
) -> None:
    """Refuse particles whose optics group is not described: RELION would."""
    for name, table in (("particle", particles), ("optics", optics)):
        if "rlnOpticsGroup" not in table.columns:
            raise InputError(
                f"cannot write {path}: the {name} table has no rlnOpticsGroup column"
            )
    missing = set(particles["rlnOpticsGroup"]) - set(optics["rlnOpticsGroup"])
    if missing:
        raise InputError(
            f"cannot write {path}: optics group {min(missing)} of the particles is not "
            "in the optics table"
        )


def _as_text(path: str | Path, column: pd.Series) -> list[str]:
    """Format one column: shortest text that reads back the same number, or quoted."""
    if pd.api.types.is_bool_dtype(column):
        return [str(int(value)) for value in column.tolist()]
    if column.dtype == np.float32:
        return [str(value) for value in column.to_numpy()]
    if pd.api.types.is_numeric_dtype(column):
        return [str(value) for value in column.tolist()]
    texts = [str(value) for value in column.tolist()]
    if any('"' in text or "\n" in text for text in texts):
        raise InputError(
            f'cannot write {path}: a value of {column.name} holds " or a line break'
        )
    return [f'"{text}"' if _MUST_QUOTE.search(text) else text for text in texts]
