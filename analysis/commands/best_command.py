"""Declares `swell best`."""

from pathlib import Path
from typing import Annotated

import typer

from cluster.commands.options import SearchName

PLACE = 10


def best(
    search: SearchName,
    trial: Annotated[int | None, typer.Option(min=0, help="Another trial than the best.")] = None,
    step: Annotated[
        str | None, typer.Option(help="The model after so many steps, or `last`, instead of the trial's best one.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder to write to; `best` in the search directory by default."),
    ] = None,
) -> None:
    """Export the best trial's config and model."""
    from analysis.best import export_best
    from analysis.saved_models import step_named
    from analysis.show import show_exported
    from cluster.state.paths import find_search

    paths = find_search(search)
    show_exported(paths, export_best(paths, output or paths.best, trial, step_named(step)))
