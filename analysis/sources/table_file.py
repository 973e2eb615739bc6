"""Reads a table from a text file: separators, byte order marks, decimal commas, and the line of every row."""

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pandas as pd

from analysis.sources.errors import SourceError

SEPARATORS = (",", ";", "\t", "|")
MISSING = frozenset({"", "nan", "na", "n/a", "null", "<na>", "nat"})
"""Cells, in small letters, that say that a value is not there; also "none" and "-" in a column of numbers."""
_NONE_IN_NUMBERS = MISSING | {"none", "-"}
_NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf(?:inity)?)", re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?\d{1,18}")
_COMMA = re.compile(r"[+-]?(?:\d{1,3}(?:\.\d{3})+|\d+),\d+(?:[eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")


@dataclass(frozen=True)
class RawTable:
    """A table as it was read, and where each of its rows stands."""

    name: str
    """What messages call it: the file's name."""
    frame: pd.DataFrame
    """Columns of numbers, of truth values, or of texts, in which None is what is missing."""
    places: Sequence[str]
    """Where each row stands, as messages say it: "runs.csv:7"."""
    remarks: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """The names of its columns."""
        return [str(name) for name in self.frame.columns]

    def cells(self, name: str) -> pd.Series:
        """Return one of its columns."""
        return cast("pd.Series", self.frame[name])  # for the type checker, indexing may also give a frame


def read_table(source: str | Path | pd.DataFrame) -> RawTable:
    """Return the table in a file, or in a data frame.

    Raises SourceError if there is no such file, if it has no rows, or if it is not a table of named columns.
    """
    table = _of_frame(source) if isinstance(source, pd.DataFrame) else _of_file(Path(source))
    twice = [name for name, times in Counter(table.columns).items() if times > 1]
    if twice:
        raise SourceError(
            f"{table.name}: several columns are called {', '.join(map(repr, twice))}: each needs a name of its own"
        )
    if table.frame.empty:
        raise SourceError(f"{table.name} has no rows: a search has a row per trial below the columns' names")
    return table


def _of_frame(frame: pd.DataFrame) -> RawTable:
    if frame.columns.nlevels > 1:
        raise SourceError("the table has several levels of column names: give one name to each column")
    columns = [str(name) for name in frame.columns]
    plain = pd.DataFrame(index=pd.RangeIndex(len(frame)))
    series = [_plain(frame.iloc[:, place].reset_index(drop=True)) for place in range(len(columns))]
    plain = pd.concat(series, axis=1) if series else plain
    plain.columns = pd.Index(columns)
    return RawTable("the table", plain, [f"row {label!r}" for label in frame.index])


def _plain(column: pd.Series) -> pd.Series:
    """Return a column of a data frame as one of a file would be."""
    if pd.api.types.is_bool_dtype(column.dtype) or pd.api.types.is_datetime64_any_dtype(column.dtype):
        return column
    if pd.api.types.is_numeric_dtype(column.dtype):
        is_nullable = column.dtype.kind in "iuf" and column.hasnans
        return column.astype("float64") if is_nullable else column
    if pd.api.types.is_timedelta64_dtype(column.dtype):
        return column.dt.total_seconds()
    cells = ["" if is_missing(cell) else str(cell) for cell in column]
    return _converted(cells, has_commas=False)


def is_missing(cell: object) -> bool:
    """Return whether a cell says that a value is not there."""
    return cell is None or cell is pd.NA or cell is pd.NaT or cell != cell  # NaN alone is not itself


def _of_file(path: Path) -> RawTable:
    text, remarks = _text(path)
    separator = _separator(text)
    header, rows, places = _rows(path.name, text, separator)
    if not header[0] and all(row[0] == str(place) for place, row in enumerate(rows)):  # pandas' own index
        header, rows = header[1:], [row[1:] for row in rows]
    has_commas = separator != ","
    columns = {}
    names = [name or f"unnamed {place}" for place, name in enumerate(header, start=1)]
    for place in range(len(names)):
        columns[place] = _converted([row[place] for row in rows], has_commas)
    frame = pd.DataFrame(columns)
    frame.columns = pd.Index(names)
    return RawTable(path.name, frame, places, remarks)


def _text(path: Path) -> tuple[str, tuple[str, ...]]:
    """Return a file's text without its byte order mark, and what is to be said of it."""
    if path.is_dir():
        raise SourceError(f"{path} is a folder: a table is a file (a search's directory is read by analysis.load)")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise SourceError(f"there is no file {path}") from None
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from None
    if content.startswith((b"PAR1", b"PK\x03\x04", b"\x1f\x8b")):
        raise SourceError(f"{path} is no text file: give a csv file, or the data frame that pandas reads from it")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace"), ()
    try:
        return content.decode("utf-8-sig"), ()
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace"), (f"{path.name} is not UTF-8: it was read as Windows-1252",)


def _separator(text: str) -> str:
    """Return what separates the names in the first line: the separator that stands there most often."""
    lines = io.StringIO(text)
    first = next((line for line in lines if line.strip()), "")
    unquoted = re.sub(r'"[^"]*"', "", first)
    return max(SEPARATORS, key=unquoted.count)


def _rows(name: str, text: str, separator: str) -> tuple[list[str], list[list[str]], list[str]]:
    """Return the names of the columns, the rows, and where they stand; skips lines that are empty."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    header: list[str] | None = None
    rows: list[list[str]] = []
    places: list[str] = []
    line = 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise SourceError(f"{name}:{line}: the row cannot be read ({error})") from None
        if cells is None:
            break
        place, line = f"{name}:{line}", reader.line_num + 1
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = [cell.strip() for cell in cells]
            continue
        if len(cells) != len(header):
            raise SourceError(
                f"{place}: the row has {len(cells)} cells, but there are {len(header)} columns; "
                f"a cell that contains {separator!r} needs quotes around it"
            )
        rows.append([cell.strip() for cell in cells])
        places.append(place)
    if header is None:
        raise SourceError(f"{name} is empty: it should have a row per trial below the columns' names")
    return header, rows, places


def _converted(cells: Sequence[str], has_commas: bool) -> pd.Series:
    """Return a column's texts as numbers or truth values if all are some; None is what is missing."""
    lower = [cell.lower() for cell in cells]
    is_there = [cell not in _NONE_IN_NUMBERS for cell in lower]
    there = [cell for cell, known in zip(cells, is_there, strict=True) if known]
    if there and all(map(_WHOLE.fullmatch, there)) and all(is_there):
        return pd.Series([int(cell) for cell in cells], dtype="int64")
    numbers = _as_numbers(there, has_commas)
    if numbers is not None:
        left = iter(numbers)
        return pd.Series([next(left) if known else float("nan") for known in is_there], dtype="float64")
    if there and all(cell in ("true", "false") for cell in lower):
        return pd.Series([cell == "true" for cell in lower], dtype="bool")
    return pd.Series([None if cell in MISSING else text for text, cell in zip(cells, lower, strict=True)], dtype="str")


def _as_numbers(there: Sequence[str], has_commas: bool) -> list[float] | None:
    """Return texts as numbers, also with decimal commas; None if some are no numbers."""
    if all(map(_NUMBER.fullmatch, there)):
        return [float(cell) for cell in there]
    if not has_commas and all(_THOUSANDS.fullmatch(cell) or _NUMBER.fullmatch(cell) for cell in there):
        return [float(cell.replace(",", "")) for cell in there]
    if all(_COMMA.fullmatch(cell) or _WHOLE.fullmatch(cell) for cell in there):
        return [float(cell.replace(".", "").replace(",", ".")) for cell in there]
    return None
