"""Declares `swell stop`."""

from typing import Annotated

import typer

from cluster.commands.options import SearchName

PLACE = 5


def stop(
    search: SearchName,
    now: Annotated[bool, typer.Option("--now", help="End at once: trials go on from their last checkpoint.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it has stopped.")] = True,
) -> None:
    """Save every running trial of a search and stop it, wherever it runs or waits; `swell resume` goes on."""
    from cluster.commands.stop import stop_search
    from cluster.console import Console
    from cluster.state.paths import find_search

    stop_search(find_search(search), Console(), now=now, wait=wait)
