"""CSV files of the user's: cells as text under the names of a header, and numbers with the line and column of each."""

import csv
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from trainables._shared.config import ConfigError
from trainables._shared.data_files import Source, regular_file

SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
"""What stands between the columns of files that are called CSV and have no commas."""


class Table(NamedTuple):
    """A CSV file's rows under its header; empty lines are left out."""

    names: tuple[str, ...]
    lines: tuple[int, ...]
    """The line of each row, from 1."""
    rows: tuple[tuple[str, ...], ...]

    def column(self, name: str) -> list[str]:
        """Return the cells of a column, as they are in the file."""
        place = self.names.index(name)
        return [row[place] for row in self.rows]


def read_table(source: Source, allowed: str) -> Table:
    """Return a CSV file's header and rows; raises ConfigError with `allowed` if it cannot be read."""
    try:
        # Spreadsheets begin with a mark.
        with regular_file(source, allowed).open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.reader(lines)
            header = next(reader, [])
            numbered = [(reader.line_num, tuple(row)) for row in reader if row]
    except ConfigError:
        raise
    except OSError as error:
        raise source.error(f"cannot be read: {error.strerror or error}", allowed) from None
    except UnicodeDecodeError as error:
        raise source.error(f"is no text in UTF-8 (byte 0x{error.object[error.start]:02x})", allowed) from None
    except (ValueError, csv.Error) as error:
        raise source.error(f"cannot be read: {error}", allowed) from None
    if not any(header):
        raise source.error("has an empty line 1, where its header belongs" if numbered else "is empty", allowed)
    if len(header) == 1 and (between := next((name for mark, name in SEPARATORS.items() if mark in header[0]), None)):
        raise source.error(f"has {between} between its columns, where commas belong", allowed)
    names = tuple(name.strip() for name in header)
    return Table(names, tuple(line for line, _ in numbered), tuple(row for _, row in numbered))


def require_columns(source: Source, table: Table, wanted: Sequence[str], allowed: str) -> None:
    """Raise ConfigError if a column is missing from a table's header, or is there twice."""
    if twice := [name for name, num in Counter(table.names).items() if num > 1 and name in wanted]:
        raise source.error(f"line 1 names the column {twice[0]} twice", allowed)
    missing = [name for name in wanted if name not in table.names]
    if missing:
        held = ", ".join(table.names[:20]) or "nothing"
        more = f" and {len(table.names) - 20} others" if len(table.names) > 20 else ""
        raise source.error(f"line 1 has no column {', '.join(missing)}; it has {held}{more}", allowed)


def numbers(source: Source, table: Table, places: Sequence[int], allowed: str) -> Float64[np.ndarray, "rows columns"]:
    """Return the columns at these places as numbers; NaN and infinite ones stay.

    Raises ConfigError with line and column if a cell is no number, and with the line of a row that is longer or
    shorter than the header.
    """
    values = np.empty((len(table.rows), len(places)))
    for at, (line, row) in enumerate(zip(table.lines, table.rows, strict=True)):
        if len(row) != len(table.names):
            raise source.error(f"line {line} has {len(row)} values, and the header {len(table.names)}", allowed)
        cells = [row[place] for place in places]
        try:
            values[at] = [_number(cell) for cell in cells]
        except ValueError:
            place = next(place for place in places if not _is_number(row[place]))
            name, cell = table.names[place], row[place]
            raise source.error(f"line {line}, column {name} holds {cell!r}, which is no number", allowed) from None
    return values


def require_finite(
    source: Source, table: Table, places: Sequence[int], values: Float64[np.ndarray, "rows columns"], allowed: str
) -> None:
    """Raise ConfigError with line and column if a number is NaN or infinite."""
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = (int(index) for index in bad[0])
        more = f" ({len(bad)} such cells)" if len(bad) > 1 else ""
        name = table.names[places[column]]
        why = f"line {table.lines[row]}, column {name} holds {values[row, column]:g}, which is not finite{more}"
        raise source.error(why, allowed)


def _number(cell: str) -> float:
    if "_" in cell:  # 1_000 is a number to Python alone
        raise ValueError(cell)
    return float(cell)


def _is_number(cell: str) -> bool:
    try:
        _number(cell)
    except ValueError:
        return False
    return True
