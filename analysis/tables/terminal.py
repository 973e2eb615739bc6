"""Prints a table on a terminal."""

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.table import Table

from cluster.console import Console
from cluster.wording import on_one_line

if TYPE_CHECKING:  # rows without a frame need no pandas
    import pandas as pd


def table_console() -> Console:
    """Return a console for tables that does not cut rows if it writes to a file or a pipe."""
    return Console(width=None if sys.stdout.isatty() else 400)


class RowTable:
    """Rows to be printed on a terminal, as Rich's table without a box prints them, which takes a second for 2000 rows.

    If they are wider than the terminal, Rich's table is printed, which breaks cells into lines.
    """

    def __init__(self, columns: Iterable[tuple[str, bool]], rows: Iterable[Iterable[object]]) -> None:
        """Take the columns, each with its name and whether it is of numbers, and the rows."""
        named = list(columns)
        self._are_numbers = [is_number for _, is_number in named]
        self._head = [on_one_line(name) for name, _ in named]
        self._rows = [list(map(_cell, row)) for row in rows]

    def __rich_console__(self, console: RichConsole, options: ConsoleOptions) -> RenderResult:
        lines = [self._head, *self._rows]
        widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
        if not widths or sum(widths) + 2 * len(widths) > options.max_width:
            yield self._wrapped()
            return
        for place, cells in enumerate(lines):
            line = "".join(map(_padded, cells, widths, self._are_numbers))
            yield Segment(line, None if place else _HEAD)
            yield Segment.line()

    def _wrapped(self) -> Table:
        table = Table(box=None, header_style=_HEAD)
        for name, is_number in zip(self._head, self._are_numbers, strict=True):
            table.add_column(name, justify="right" if is_number else "left")
        for row in self._rows:
            table.add_row(*row)
        return table


_HEAD = Style(bold=True)


def _padded(cell: str, width: int, is_number: bool) -> str:
    if is_number:
        cell = cell.rstrip()
    space = " " * (width - cell_len(cell))
    return f" {space}{cell} " if is_number else f" {cell}{space} "


def terminal_table(frame: "pd.DataFrame") -> RowTable:
    """Return a frame as a table to be printed on a terminal."""
    import pandas as pd

    columns = [(str(name), pd.api.types.is_numeric_dtype(column.dtype)) for name, column in frame.items()]
    rows = frame.itertuples(index=False)
    return RowTable(columns, ([None if value is pd.NA else value for value in row] for row in rows))


def _cell(value: object) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, bool) or not isinstance(value, float):
        return on_one_line(str(value))
    return f"{value:.4g}"


def warn(console: Console, warnings: Sequence[str], notes: Sequence[str] = ()) -> None:
    """Print what a reader must know of a table."""
    for text in warnings:
        console.print(f"warning: {text}", style="yellow", soft_wrap=True)
    for text in notes:
        console.print(f"note: {text}", style="dim", soft_wrap=True)
