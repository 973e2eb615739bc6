"""Declares `swell watch`."""

from cluster.commands.options import SearchName

PLACE = 7


def watch(search: SearchName) -> int:
    """Show the progress of a search that runs elsewhere, live, until it ends; Ctrl-C leaves it alone."""
    from cluster.commands.watch import watch_search
    from cluster.console import Console
    from cluster.state.paths import find_search

    return watch_search(find_search(search), Console())
