"""Declares `swell status`."""

from typing import Annotated

import typer

PLACE = 6


def status(search: Annotated[str | None, typer.Argument(help="A search; all of them when left out.")] = None) -> None:
    """Show how far a search is, or list all searches."""
    if search is None:
        from cluster.commands.status_all import show_all

        show_all()
    else:
        from cluster.commands.status_one import show_one
        from cluster.state.paths import find_search

        show_one(find_search(search))
