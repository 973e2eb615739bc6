"""Declares `swell logs`."""

from typing import Annotated

import typer

from cluster.commands.options import SearchName

PLACE = 8


def logs(
    search: SearchName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until it ends.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="Last lines of each log.")] = 40,
    job: Annotated[int | None, typer.Option(min=0, help="Of one of several jobs.")] = None,
    node: Annotated[int | None, typer.Option(min=0, help="Of one of several nodes.")] = None,
    driver: Annotated[bool, typer.Option("--driver", help="The newest wave driver's, with its Ray.")] = False,
) -> None:
    """Print what a search's job and its supervisor have written."""
    from cluster.commands.logs import Wanted, show_logs
    from cluster.console import Console
    from cluster.jobs.standing import load_snapshot, standing_of
    from cluster.state.paths import find_search

    paths = find_search(search)

    def is_over() -> bool:
        return standing_of(paths, load_snapshot(paths)).is_over

    show_logs(paths, Wanted(job, node, driver), Console(), lines=lines, follow=follow, is_over=is_over)
