"""Declares `swell launch`."""

from typing import Annotated, Literal

import typer

from cluster.commands.options import Cpus, Hours, Jobs, NewName, Nodes, SiteName, SpecPath

PLACE = 3


def launch(
    spec: SpecPath,
    on: Annotated[
        Literal["slurm", "local"], typer.Option("--on", help="A SLURM cluster, or detached on this machine.")
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
    """Start a search that goes on when you log out: on a SLURM cluster, or detached on this machine."""
    from cluster.commands.launch import Target, launch_command
    from cluster.console import Console
    from cluster.jobs.request import Options

    target = Target(on, site, Options(nodes, jobs, cpus, hours))
    launch_command(spec, target, name=name, dry_run=dry_run, console=Console(), errors=Console(stderr=True))
