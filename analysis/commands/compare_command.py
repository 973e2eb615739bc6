"""Declares `swell compare`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cluster.commands.options import SearchName

PLACE = 10


def compare(
    search: SearchName,
    factor: Annotated[str | None, typer.Option(help="Only this searched parameter.")] = None,
    form: Annotated[
        Literal["terminal", "markdown", "csv", "json"],
        typer.Option("--format", help="Form of the comparison; csv has the levels of all factors alone."),
    ] = "terminal",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
) -> None:
    """Say which choice mattered: levels beside each other, importance, interactions, seeds, early stopping."""
    from analysis import compare as compare_search
    from analysis.mattered.show import show_comparison

    show_comparison(compare_search(search, factor), form, output)
