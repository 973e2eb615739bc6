"""Declares `swell launch`."""

from typing import Annotated

import typer

from cluster.commands.options import TARGETS, Cpus, Hours, Jobs, NewName, Nodes, SiteName, SpecPath, target

PLACE = 3


def launch(
    spec: SpecPath,
    on: Annotated[
        str,
        typer.Option(
            "--on", help="A cluster's queue, or detached on this machine.", parser=target, metavar="|".join(TARGETS)
        ),
    ],
    site: SiteName = None,
    nodes: Nodes = None,
    jobs: Jobs = None,
    cpus: Cpus = None,
    hours: Hours = None,
    name: NewName = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print the job script, exactly as it would go.")
    ] = False,
) -> None:
    """Start a search that goes on when you log out: on a cluster, or detached on this machine."""
    from cluster.commands.launch import Target, launch_command
    from cluster.console import Console
    from cluster.jobs.request import Options

    target = Target(on, site, Options(nodes, jobs, cpus, hours))
    launch_command(spec, target, name=name, dry_run=dry_run, console=Console(), errors=Console(stderr=True))
