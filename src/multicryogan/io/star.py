"""STAR files as text: blocks of tables in, a RELION 3.1 file out.

Two rules of RELION's own reader matter: a row ends after as many values as there are
labels (what follows is dropped), and "#" opens a comment only at the start of a line.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd

from multicryogan.errors import InputError
from multicryogan.io.atomic import whole_file

_BLOCK = re.compile(r"\s*data_(\S*)\s*(?:#.*)?$")
_TOKEN = re.compile(r"\"[^\"]*\"|'[^']*'(?=\s|$)|\S+")
_NUMBER = re.compile(
    r"[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?$|[+-]?nan$", re.I
)
_NOT_A_NUMBER = ["nan", "NaN", "NAN", "-nan", "+nan", "<NA>"]
_MUST_QUOTE = re.compile(r"\s|^$|^[#_\"']|^data_|^loop_")


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
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a STAR file: it is not text") from error
    notes: list[str] = []
    blocks = [
        (name, _parse_block(path, lines, start, stop, notes))
        for name, start, stop in _find_blocks(lines)
    ]
    return StarFile(path, tuple(blocks), tuple(notes))


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
            columns = [_as_text(path, table[label]) for label in table.columns]
            file.writelines("\t".join(row) + "\n" for row in zip(*columns, strict=True))
            file.write("\n")


def _find_blocks(lines: list[str]) -> Iterator[tuple[str, int, int]]:
    """Yield name, first line and end line of each data block."""
    matches = (
        (number, _BLOCK.match(line))
        for number, line in enumerate(lines)
        if "data_" in line  # cheap, before the pattern
    )
    found = [(number, match[1]) for number, match in matches if match]
    ends = [number for number, _ in found[1:]] + [len(lines)]
    for (start, name), stop in zip(found, ends, strict=True):
        yield name, start + 1, stop


def _parse_block(
    path: Path, lines: list[str], start: int, stop: int, notes: list[str]
) -> pd.DataFrame:
    """Read one loop or simple block from lines start to stop."""
    content = [
        (number, line.strip())
        for number, line in enumerate(lines[start:stop], start=start + 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    is_loop = bool(content) and content[0][1].startswith("loop_")
    content = content[1:] if is_loop else content
    header = next(
        (i for i, (_, line) in enumerate(content) if not line.startswith("_")),
        len(content),
    )
    labels = [line.split()[0][1:] for _, line in content[:header]]
    repeated = {label for label in labels if labels.count(label) > 1}
    if repeated:
        raise InputError(
            f"{path} has the column _{min(repeated)} twice in one table; remove one"
        )
    if is_loop:
        return _parse_rows(path, labels, content[header:], notes)
    values = [_TOKEN.findall(line)[1:2] or [""] for _, line in content[:header]]
    row = (start + 1, " ".join(value or '""' for (value,) in values))
    return _parse_rows(path, labels, [row] if labels else [], notes)


def _parse_rows(
    path: Path, labels: list[str], rows: list[tuple[int, str]], notes: list[str]
) -> pd.DataFrame:
    """Turn the rows of a loop, (line number, text), into a table."""
    if not rows or not labels:
        return pd.DataFrame({label: pd.Series(dtype=float) for label in labels})
    texts = [text for _, text in rows]
    quote = _quote_character(texts)
    split: Callable[[str], list[str]] = _TOKEN.findall if quote else str.split
    counts = np.array([len(split(text)) for text in texts])
    if (counts < len(labels)).any():
        first = int(np.argmax(counts < len(labels)))
        raise InputError(
            f"{path}, line {rows[first][0]}: {counts[first]} values found, the table "
            f"has {len(labels)} columns; the row is incomplete, write the file again"
        )
    if (counts > len(labels)).any():
        number = int((counts > len(labels)).sum())
        notes.append(
            f"{path}: {number} rows have more values than the table has columns; "
            "the values without a label are dropped"
        )
        texts = [" ".join(split(text)[: len(labels)]) for text in texts]
    first_row = [token.strip("\"'") for token in split(texts[0])]
    try:
        table = _read_table(labels, texts, first_row, quote)
    except pd.errors.ParserError as error:
        raise InputError(
            f"{path} has a damaged table ({error}); write it again"
        ) from error
    if len(table) != len(texts):
        raise InputError(
            f"{path}, table from line {rows[0][0]}: {len(texts)} rows became "
            f"{len(table)}; a quotation mark is not closed"
        )
    return table


def _quote_character(texts: list[str]) -> str:
    """The character that quotes values in these rows; empty when there is none."""
    for quote in ('"', "'"):
        opening = re.compile(rf"(?:^|\s){quote}")
        if any(quote in text and opening.search(text) for text in texts):
            return quote
    return ""


def _read_table(
    labels: list[str], texts: list[str], first_row: list[str], quote: str
) -> pd.DataFrame:
    """Parse complete rows; numbers only where the first row has one."""
    numeric = {
        label
        for label, value in zip(labels, first_row, strict=True)
        if label.startswith("rln") and "Name" not in label and _NUMBER.match(value)
    }
    table = pd.read_csv(
        StringIO("\n".join(texts)),
        sep=r"\s+",
        header=None,
        names=labels,
        index_col=False,
        dtype={label: str for label in labels if label not in numeric},
        quotechar=quote or '"',
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        keep_default_na=False,
        na_values=dict.fromkeys(numeric, _NOT_A_NUMBER),
        low_memory=False,
    )
    for label in labels:
        if label not in numeric and "Name" not in label:
            table[label] = _as_exact_number(table[label])
    return table


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
