"""Prints a table on a terminal."""

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from cluster.console import Console
from cluster.wording import on_one_line

if TYPE_CHECKING:  # rows without a frame need no pandas
    import pandas as pd


def table_console() -> Console:
    """Return a console for tables that does not cut rows if it writes to a file or a pipe."""
    return Console(width=None if sys.stdout.isatty() else 400)


def terminal_table(frame: "pd.DataFrame") -> Table:
    """Return a frame as a table to be printed on a terminal."""
    import pandas as pd

    columns = [(str(name), pd.api.types.is_numeric_dtype(column.dtype)) for name, column in frame.items()]
    rows = frame.itertuples(index=False)
    return table_of(columns, ([None if value is pd.NA else value for value in row] for row in rows))


def table_of(columns: Iterable[tuple[str, bool]], rows: Iterable[Iterable[object]]) -> Table:
    """Return rows as a table to be printed on a terminal; each column has its name, and whether it is of numbers."""
    table = Table(box=None, header_style="bold")
    for name, is_number in columns:
        table.add_column(on_one_line(name), justify="right" if is_number else "left")
    for row in rows:
        table.add_row(*map(_cell, row))
    return table


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
