"""Declares `swell check`."""

from typing import Annotated

import typer

from cluster.commands.options import SpecPath

PLACE = 1


def check(
    spec: SpecPath,
    probe: Annotated[
        bool, typer.Option("--probe", help="Run one short trial per distinct program; estimate time and memory.")
    ] = False,
    max_programs: Annotated[int, typer.Option(min=1, help="Probe at most this many programs.")] = 8,
) -> int:
    """Validate everything that can be known before launch, and say how many trials there will be."""
    from cluster.commands.check_output import check_command
    from cluster.console import Console

    return check_command(spec, probe=probe, max_programs=max_programs, console=Console())
