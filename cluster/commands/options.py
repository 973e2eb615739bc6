"""Arguments and options that several commands share, and what a command returns that ends a search.

Nothing heavy is imported here, nor by any `*_command.py`: `swell --help` imports all of them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.jobs.environment import queue_names
from search_spaces.errors import Problem, UserError

if TYPE_CHECKING:
    from cluster.state.paths import SearchPaths

TARGETS = (*queue_names(), "local")
"""Where a search goes on when its user logs out: a cluster's queue, or a process of its own on this machine."""


def target(name: str) -> str:
    """Return `name` if it is a value of `--on`, one of TARGETS; raises UserError if not."""
    if name not in TARGETS:
        problem = Problem(("--on",), "there is no such place to run", name, choices=TARGETS)
        raise UserError(str(problem))
    return name


SpecPath = Annotated[Path, typer.Argument(help="The search's YAML file.")]
SearchName = Annotated[str, typer.Argument(help="A search, by its name or by its path.")]
NewName = Annotated[str | None, typer.Option("--name", help="Name of the search; the spec's by default.")]
SiteName = Annotated[
    str | None, typer.Option("--site", help="The cluster: a site of ours by name, or a YAML file; generic by default.")
]
Nodes = Annotated[int | None, typer.Option(min=1, help="Nodes of one job, which work on the search together.")]
Jobs = Annotated[int | None, typer.Option(min=1, help="Instead: as many jobs of one node, which share the search.")]
Cpus = Annotated[int | None, typer.Option(min=1, help="CPUs of each node; the spec's, else the site's by default.")]
Hours = Annotated[float | None, typer.Option(min=0.01, help="Time limit of a job; the site's by default.")]


@dataclass(frozen=True)
class SearchEnded:
    """What a command returns that has worked on a search until it ended: `swell` then shows the trials."""

    paths: "SearchPaths"
    status: int
    """The exit status of `swell`."""
