"""`swell run`: what comes before a search in the foreground."""

from pathlib import Path

from cluster.commands.check import check
from cluster.commands.search import create_search
from cluster.console import Console
from cluster.machine.capacity import check_fits
from cluster.machine.scratch import node_cache, scratch_root
from cluster.state.paths import SearchPaths
from search_spaces.spec import load_spec


def new_search(spec: Path, name: str | None, errors: Console) -> SearchPaths:
    """Make the directory of a new search that this machine can carry; warnings go to `errors`.

    Raises a UserError if the spec is wrong, or is too large for this machine; nothing is left then.
    """
    report = check(load_spec(spec))
    for warning in report.warnings:
        errors.print(f"warning: {warning}", soft_wrap=True)
    scratch_root()  # before there is a search directory
    node_cache()
    check_fits(report.spec.resources)
    return create_search(report.spec, spec, name)
