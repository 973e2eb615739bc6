"""The last snapshot of a search's progress, for displays: everything in it can be had from the study."""

from typing import Any

from cluster.machine.files import read_json
from cluster.state.paths import SearchPaths


def load_status(paths: SearchPaths) -> dict[str, Any]:
    """Return the last snapshot of a search's progress; empty if there is none yet, or it is damaged."""
    snapshot = read_json(paths.status)
    return snapshot if isinstance(snapshot, dict) else {}
