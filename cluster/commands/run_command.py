"""Declares `swell run`."""

from cluster.commands.options import NewName, SearchEnded, SpecPath

PLACE = 2


def run(spec: SpecPath, name: NewName = None) -> SearchEnded:
    """Run a search in the foreground, with live progress; Ctrl-C saves every trial and stops."""
    from cluster.commands.run import new_search
    from cluster.console import Console
    from cluster.supervision.foreground import run_search

    paths = new_search(spec, name, Console(stderr=True))
    return SearchEnded(paths, run_search(paths))
