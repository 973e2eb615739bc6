"""Declares `swell table`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

PLACE = 9


def table(
    searches: Annotated[
        list[str], typer.Argument(metavar="SEARCH...", help="Searches, each by its name or by its path.")
    ],
    form: Annotated[
        Literal["terminal", "csv", "parquet", "markdown", "latex"], typer.Option("--format", help="Form of the table.")
    ] = "terminal",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
    where: Annotated[
        str | None, typer.Option(help="Only rows of which this holds: \"depth == 2 and head != 'signed'\".")
    ] = None,
    sort: Annotated[
        str | None, typer.Option(metavar="COLUMNS", help="Sort by these columns; -name has the largest first.")
    ] = None,
    by: Annotated[
        str | None, typer.Option(metavar="COLUMNS", help="One row per group of trials that are equal in these.")
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, help="Only this many rows, best first.")] = None,
    columns: Annotated[
        str | None, typer.Option(help="Only these columns, separated by commas; `all` for every one.")
    ] = None,
    by_configuration: Annotated[
        bool, typer.Option("--by-configuration", help="One row per configuration: mean and spread over its seeds.")
    ] = False,
) -> None:
    """Print the trials, best first, of one search or several; csv and parquet have every column."""
    from analysis.tables.request import Request

    request = Request(where, sort, columns, by, by_configuration, top)
    if len(searches) == 1 and form == "terminal" and output is None and request == Request(top=top):
        from analysis.tables.plain import show_plain
        from cluster.state.paths import find_search

        if show_plain(find_search(searches[0]), top):
            return
    from analysis.sources.directory import load_searches
    from analysis.tables.show import show_table

    show_table(load_searches(searches), request, form, output)
