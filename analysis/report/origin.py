"""Where a search's numbers come from: its spec, and the versions, commits and machines that its launch noted."""

import json
from dataclasses import dataclass
from typing import Any

from analysis.search import Search
from cluster.machine.files import read_object
from search_spaces.errors import hide_passwords


@dataclass(frozen=True)
class Origin:
    """Texts and facts; empty if the search is no directory of ours."""

    spec: str
    """The user's file as it was."""
    resolved: str
    """The spec with every default, as JSON."""
    facts: list[tuple[str, str]]
    versions: list[tuple[str, str]]


def origin(search: Search) -> Origin:
    """Return a search's origin; passwords in addresses are hidden, since a report is handed on."""
    resolved = search.spec.model_dump_json(indent=1) if search.spec else ""
    if search.paths is None:
        return Origin("", hide_passwords(resolved), [], [])
    try:
        spec = search.paths.spec_source.read_text("utf-8", "replace")
    except OSError:
        spec = ""
    noted = read_object(search.paths.provenance) or {}
    versions = noted.pop("versions", None)
    facts = [(name.replace("_", " "), _fact(value)) for name, value in noted.items() if value not in (None, "", {}, [])]
    changes = _changes(search)
    return Origin(
        hide_passwords(spec),
        hide_passwords(resolved),
        [("search directory", str(search.paths.root)), *facts, *changes],
        [(str(name), str(one)) for name, one in versions.items()] if isinstance(versions, dict) else [],
    )


def _fact(value: Any) -> str:
    if isinstance(value, list):
        return hide_passwords(" ".join(map(str, value)))
    return hide_passwords(json.dumps(value) if isinstance(value, dict) else str(value))


def _changes(search: Search) -> list[tuple[str, str]]:
    """Return the changes of the budget by `swell resume`."""
    assert search.paths is not None
    try:
        changes = json.loads(search.paths.budget_changes.read_text())
    except (OSError, ValueError):
        return []
    if not isinstance(changes, list):
        return []
    return [("budget changed", json.dumps(change)) for change in changes]
