"""`swell run`: prepares a search in the foreground."""

from pathlib import Path

from cluster.commands.check import check
from cluster.commands.search import create_search
from cluster.console import Console
from cluster.machine.capacity import check_fits
from cluster.machine.scratch import node_cache, scratch_root
from cluster.state.paths import SearchPaths
from search_spaces.spec import load_spec


def new_search(spec: Path, name: str | None, errors: Console) -> SearchPaths:
    """Make the directory of a new search, checked against this machine; warnings go to `errors`.

    Raises a UserError, and leaves nothing, if the spec is wrong or too large for this machine.
    """
    report = check(load_spec(spec))
    for warning in report.warnings:
        errors.print(f"warning: {warning}", soft_wrap=True)
    scratch_root()  # fails before a search directory exists
    node_cache()
    check_fits(report.spec.resources)
    return create_search(report.spec, spec, name, searched=report.searched, warnings=report.warnings)
