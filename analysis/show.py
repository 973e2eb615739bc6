"""Prints the results of `swell table` and `swell best`, and the ending of a search."""

import sys
from pathlib import Path

import pandas as pd
from rich.table import Table

from analysis.best import Exported
from analysis.formats import Format, render, write
from analysis.table import TrialTable, by_configuration, load_table
from cluster.console import Console
from cluster.state.paths import SearchPaths
from cluster.state.records import is_feasible, load_spec
from cluster.wording import on_one_line
from search_spaces.errors import UserError, nearest

ROWS_AT_THE_END = 10


class TableError(UserError):
    """The table that the user asked for cannot be made."""


def show_table(
    paths: SearchPaths,
    form: Format | str,
    output: Path | None,
    top: int | None,
    columns: str | None,
    configurations: bool,
) -> None:
    """Print a search's trials, or write them to the file `output`; raises TableError if the table cannot be made.

    `top` is the most rows, `columns` the names of the columns separated by commas, and `configurations` asks for one
    row per configuration.
    """
    table = load_table(paths)
    if table.frame.empty:
        raise TableError(f"{paths.name} has no trials yet")
    whole = by_configuration(table) if configurations else table.frame
    frame = _choose(whole, table, form, columns, configurations)
    frame = frame.head(top) if top else frame
    if form == "terminal":
        if output is not None:
            raise TableError("--output needs a --format: csv, parquet, markdown or latex")
        console = _console()
        console.print(terminal_table(frame))
        _warn(table, console)
        return
    if output is not None:
        write(frame, form, output)  # pyright: ignore[reportArgumentType]  # Typer has checked the form
        return
    content = render(frame, form)  # pyright: ignore[reportArgumentType]
    if isinstance(content, bytes):
        if sys.stdout.isatty():
            raise TableError("parquet is binary: give a file with --output FILE")
        sys.stdout.buffer.write(content)
    else:
        sys.stdout.write(content)


def _warn(table: TrialTable, console: Console) -> None:
    if table.mixture:
        console.print(f"warning: {table.mixture}", style="yellow", soft_wrap=True)


def _console() -> Console:
    """Return a console for tables that does not cut rows if it writes to a file or a pipe."""
    return Console(width=None if sys.stdout.isatty() else 400)


def _choose(
    whole: pd.DataFrame, table: TrialTable, form: Format | str, columns: str | None, configurations: bool
) -> pd.DataFrame:
    if columns == "all" or (columns is None and (configurations or form in ("csv", "parquet"))):
        return whole
    if columns is None:
        return table.short()
    names = [name.strip() for name in columns.split(",")]
    for name in names:
        if name not in whole.columns:
            near = nearest(name, list(whole.columns))
            hint = f" Did you mean {near!r}?" if near else ""
            raise TableError(f"no column {name!r}.{hint} Columns: {', '.join(map(str, whole.columns))}")
    return whole.filter(items=names)


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


def show_ending(paths: SearchPaths) -> None:
    """Print the best trials of a search that has ended, and where its files are."""
    console, table = _console(), load_table(paths)
    if not table.frame.empty:
        frame = by_configuration(table) if table.spec.repeats else table.short()
        num_ranked = len(frame.dropna(subset="rank"))
        console.print(terminal_table(frame.head(min(num_ranked or ROWS_AT_THE_END, ROWS_AT_THE_END))))
        _warn(table, console)
    console.print(f"all trials: swell table {paths.name}    best model: swell best {paths.name}")
    console.print(f"everything: {paths.root}", soft_wrap=True)
    if _has_report(paths):
        console.print(f"report: {paths.report} (open it in a browser, or hand it on)", soft_wrap=True)


def _has_report(paths: SearchPaths) -> bool:
    """Return whether the search has a report of its end, and not only one from before it went on."""
    try:
        return paths.report.stat().st_mtime >= paths.status.stat().st_mtime
    except OSError:
        return False


def show_exported(paths: SearchPaths, exported: Exported) -> None:
    """Print what `swell best` has written."""
    console, record = Console(), exported.record
    console.print(f"trial {record.number} of {paths.name}: {', '.join(exported.files)} in", soft_wrap=True)
    console.print(str(exported.folder), soft_wrap=True)
    if "model.npz" not in exported.files:
        console.print("its checkpoint was not kept (keep: in the spec), so there is no model", style="yellow")
    if not is_feasible(load_spec(paths), record.metrics):
        console.print("it breaks a constraint of the spec (none keeps them all, or you chose it)", style="yellow")
