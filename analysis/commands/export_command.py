"""Declares `swell export`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cluster.commands.options import SearchName

PLACE = 12


def export(
    search: SearchName,
    to: Annotated[Literal["tensorboard", "csv", "parquet"], typer.Option(help="The tool or the format.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write to; `export` in the search directory.")
    ] = None,
    trials: Annotated[str | None, typer.Option(help="Only these trials: 3,15,20-24.")] = None,
) -> None:
    """Hand the histories over: one TensorBoard run for each trial, or a row for each trial and step."""
    from analysis.sources.directory import load_search
    from analysis.tables.export import export_histories
    from analysis.tables.show import show_handed
    from analysis.tables.trial_numbers import numbers_in

    found = load_search(search)
    show_handed(export_histories(found, to, output, numbers_in(trials) if trials else None))
