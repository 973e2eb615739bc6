"""Declares `swell sync`."""

from typing import Annotated

import typer

from cluster.commands.options import SearchName

PLACE = 13


def sync(
    search: SearchName,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until the search has ended and all is synced.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many runs are in which state.")] = False,
    delete_synced: Annotated[
        bool, typer.Option("--delete-synced", help="Afterwards delete the runs here that W&B has.")
    ] = False,
) -> int:
    """Upload a search's finished W&B runs, from a machine that reaches the internet; each once, however often."""
    from cluster.commands.sync import sync_command
    from cluster.console import Console
    from cluster.state.paths import find_search

    paths, console, errors = find_search(search), Console(), Console(stderr=True)
    return sync_command(paths, watch=watch, dry_run=dry_run, delete=delete_synced, console=console, errors=errors)
