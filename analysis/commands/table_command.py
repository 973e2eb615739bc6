"""Declares `swell table`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cluster.commands.options import SearchName

PLACE = 9


def table(
    search: SearchName,
    form: Annotated[
        Literal["terminal", "csv", "parquet", "markdown", "latex"], typer.Option("--format", help="Form of the table.")
    ] = "terminal",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
    top: Annotated[int | None, typer.Option(min=1, help="Only this many rows, best first.")] = None,
    columns: Annotated[
        str | None, typer.Option(help="Only these columns, separated by commas; `all` for every one.")
    ] = None,
    by_configuration: Annotated[
        bool, typer.Option("--by-configuration", help="One row per configuration: mean and spread over its seeds.")
    ] = False,
) -> None:
    """Print the trials, best first; csv and parquet have every column unless told otherwise."""
    from analysis.show import show_table
    from cluster.state.paths import find_search

    show_table(find_search(search), form, output, top, columns, by_configuration)
