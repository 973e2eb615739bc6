"""Declares `swell rerun`."""

from typing import Annotated, Literal

import typer

from cluster.commands.options import SearchName

PLACE = 12


def rerun(
    search: SearchName,
    trial: Annotated[int, typer.Argument(min=0, help="The trial's number.")],
    here: Annotated[
        bool,
        typer.Option("--here", help="In this terminal, without Ray: with its traceback, and a debugger if wanted."),
    ] = False,
    code: Annotated[
        Literal["launched", "current"],
        typer.Option("--code", help="If the method's files have changed: those that it was run with, or as they are."),
    ] = "launched",
) -> int:
    """Run one trial again, as a search of its own or right here, and compare it with its record."""
    from cluster.commands.rerun import rerun_command
    from cluster.console import Console
    from cluster.state.paths import find_search

    return rerun_command(find_search(search), trial, here=here, code=code, console=Console())
