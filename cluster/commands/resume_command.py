"""Declares `swell resume`."""

from typing import Annotated, Literal

import typer

from cluster.commands.options import Cpus, Hours, Jobs, Nodes, SearchEnded, SearchName, SiteName

PLACE = 4


def resume(
    search: SearchName,
    here: Annotated[bool, typer.Option("--here", help="In the foreground, however it was launched.")] = False,
    on: Annotated[Literal["slurm", "local"] | None, typer.Option("--on", help="Elsewhere than it was.")] = None,
    site: SiteName = None,
    nodes: Nodes = None,
    jobs: Jobs = None,
    cpus: Cpus = None,
    hours: Hours = None,
) -> SearchEnded | None:
    """Go on with a search that was stopped or killed, the way it was launched, under the same trial numbers."""
    from cluster.commands.resume import resume_elsewhere
    from cluster.console import Console
    from cluster.jobs.request import Options
    from cluster.state.paths import find_search
    from cluster.supervision.foreground import run_search
    from search_spaces.errors import UserError

    if here and on:
        raise UserError(f"--here --on {on}: give one of them")
    paths, options = find_search(search), Options(nodes, jobs, cpus, hours)
    if resume_elsewhere(paths, "here" if here else on, site, options, Console()):
        return None
    return SearchEnded(paths, run_search(paths))
