"""Declares `swell doctor`."""

from pathlib import Path
from typing import Annotated

import typer

PLACE = 15


def doctor(
    spec: Annotated[Path | None, typer.Argument(help="A search's YAML file, to be held against this machine.")] = None,
    site: Annotated[
        str | None, typer.Option("--site", help="Instead: a cluster, by the name of a site of ours or by a YAML file.")
    ] = None,
    submit: Annotated[bool, typer.Option("--submit", help="With --site: send a tiny job, and wait for it.")] = False,
) -> int:
    """Show what this machine gives a search (CPUs, threads, memory, disks), or whether a cluster is as described."""
    from cluster.commands.doctor import doctor_command, site_command
    from cluster.console import Console
    from search_spaces.errors import UserError

    if spec is not None and site is not None:
        raise UserError("SPEC --site: give one of them")
    if submit and site is None:
        raise UserError("--submit: only with --site")
    if site is not None:
        return site_command(site, submit=submit, console=Console())
    return doctor_command(spec, console=Console())
