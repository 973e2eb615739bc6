"""Declares `swell status`."""

from typing import Annotated

import typer

PLACE = 6


def status(search: Annotated[str | None, typer.Argument(help="A search; all of them when left out.")] = None) -> None:
    """Show how far a search is, or list all searches."""
    from cluster.commands.status import show_all, show_one
    from cluster.state.paths import find_search

    if search is None:
        show_all()
    else:
        show_one(find_search(search))
