"""Where a search's numbers come from: its spec, and the versions, commits and machines that its launch noted."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analysis.report.tables import text_of
from analysis.search import Search
from cluster.machine.files import read_object
from search_spaces.errors import hide_passwords

LONG = 300
"""Characters of a fact that is folded."""


@dataclass(frozen=True)
class Origin:
    """Texts and facts; empty if the search is no directory of ours."""

    spec: str
    """The user's file as it was."""
    resolved: str
    """The spec with every default, as JSON."""
    facts: list[tuple[str, str]]
    long_facts: list[tuple[str, str]]
    """Those that are folded: a diff, for one."""
    versions: list[tuple[str, str]]


def origin(search: Search) -> Origin:
    """Return a search's origin; passwords in addresses are hidden, since a report is handed on."""
    resolved = search.spec.model_dump_json(indent=1) if search.spec else ""
    if search.paths is None:
        return Origin("", hide_passwords(resolved), [], [], [])
    try:
        spec = search.paths.spec_source.read_text("utf-8", "replace")
    except OSError:
        spec = ""
    noted = read_object(search.paths.provenance) or {}
    versions = noted.pop("versions", None)
    facts = [("search directory", str(search.paths.root)), *_facts(noted), *_changes(search)]
    return Origin(
        hide_passwords(spec),
        hide_passwords(resolved),
        [fact for fact in facts if not _is_long(fact[1])],
        [fact for fact in facts if _is_long(fact[1])],
        [(str(name), str(one)) for name, one in versions.items()] if isinstance(versions, dict) else [],
    )


def _facts(noted: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return what was noted as names and texts; what lies within a mapping has both names."""
    facts = []
    for name, value in noted.items():
        title = f"{prefix}{name.replace('_', ' ')}"
        if isinstance(value, dict):
            facts += _facts(value, f"{title}: ")
        elif value not in (None, "", []):
            between = "\n" if name == "warnings" else " "
            text = between.join(map(str, value)) if isinstance(value, list) else text_of(value)
            facts.append((title, hide_passwords(text)))
    return facts


def _is_long(text: str) -> bool:
    return len(text) > LONG or "\n" in text


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
