"""Prints a table on a terminal."""

import sys
from collections.abc import Sequence

import pandas as pd
from rich.table import Table

from cluster.console import Console
from cluster.wording import on_one_line


def table_console() -> Console:
    """Return a console for tables that does not cut rows if it writes to a file or a pipe."""
    return Console(width=None if sys.stdout.isatty() else 400)


def terminal_table(frame: pd.DataFrame) -> Table:
    """Return a frame as a table to be printed on a terminal."""
    table = Table(box=None, header_style="bold")
    for name, column in frame.items():
        table.add_column(
            on_one_line(str(name)), justify="right" if pd.api.types.is_numeric_dtype(column.dtype) else "left"
        )
    for row in frame.itertuples(index=False):
        table.add_row(*map(_cell, row))
    return table


def _cell(value: object) -> str:
    if value is None or value is pd.NA or value != value:
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
