"""Declares `swell report`."""

from pathlib import Path
from typing import Annotated

import typer

PLACE = 10


def report(
    searches: Annotated[
        list[str], typer.Argument(metavar="SEARCH...", help="Searches, each by its name or by its path.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The file; by default report.html in the search, or here if there are several."
        ),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> int:
    """Write what searches asked and found as one HTML file, which needs nothing but a browser."""
    from analysis.report.command import report_command

    return report_command(searches, output, open_)
