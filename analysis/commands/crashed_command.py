"""Declares `swell crashed`."""

from cluster.commands.options import SearchName

PLACE = 11


def crashed(search: SearchName) -> int:
    """Show why trials failed: grouped by how they ended and where, with their numbers."""
    from analysis.crashed import show_crashed
    from cluster.console import Console
    from cluster.state.paths import find_search

    return show_crashed(find_search(search), Console())
