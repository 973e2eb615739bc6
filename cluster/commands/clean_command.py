"""Declares `swell clean`."""

from typing import Annotated

import typer

PLACE = 14


def clean(
    foreign: Annotated[
        bool, typer.Option("--foreign", help="Also Ray's and W&B's own leftovers of yours that nothing uses any more.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list, with sizes.")] = False,
    older_than_h: Annotated[
        float, typer.Option(min=0, help="Leave alone foreign leftovers changed within this many hours.")
    ] = 24.0,
) -> int:
    """Delete the scratch of searches that have died."""
    from cluster.commands.clean_output import clean_command
    from cluster.console import Console

    return clean_command(foreign=foreign, dry_run=dry_run, older_than_h=older_than_h, console=Console())
