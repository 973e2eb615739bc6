"""Declares `swell plot`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cluster.commands.options import SearchName

PLACE = 11


def plot(
    search: SearchName,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[FIGURE]...", help="Figures to draw; all that fit if left out.")
    ] = None,
    form: Annotated[Literal["png", "pdf", "svg"], typer.Option("--format", help="Format of the files.")] = "png",
    trials: Annotated[str | None, typer.Option(help="Only these trials: 3,15,20-24.")] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="OPTION=VALUE", help="An option of the figure."),
    ] = None,
    places: Annotated[
        list[str] | None, typer.Option("--from", help="A file, folder or package with figures of your own.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write to; `figures` in the search directory.")
    ] = None,
    list_them: Annotated[bool, typer.Option("--list", help="List the figures, draw nothing.")] = False,
) -> None:
    """Draw figures of a search to files."""
    from analysis.drawing.plot import list_figures, plot_figures
    from analysis.sources.directory import load_search

    found = load_search(search)
    if list_them:
        list_figures(found, places or [])
    else:
        plot_figures(found, names or [], form, trials, options or [], places or [], output)
