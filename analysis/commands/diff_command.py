"""Declares `swell diff`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

PLACE = 9


def diff(
    sides: Annotated[
        list[str],
        typer.Argument(metavar="SIDE...", help="Trials (SEARCH/NUMBER), searches, or specs (their files)."),
    ],
    form: Annotated[Literal["terminal", "markdown", "csv"], typer.Option("--format", help="Form of the table.")] = (
        "terminal"
    ),
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Also what is the same, and what each trial used.")] = False,
) -> None:
    """Show what differs between trials, searches or specs: fields, outcomes, metrics, versions."""
    from analysis.differences.show import show_differences

    show_differences(sides, form, output, all_=all_)
