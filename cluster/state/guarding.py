"""The folders that a search's guard watches on this machine, and the log of what the guard finds and frees."""

import json
import logging
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from cluster.state.paths import SearchPaths
from trainables._shared.node_cache import default_cache

log = logging.getLogger(__name__)


def folders_in_use(paths: SearchPaths, scratch: Path) -> dict[str, Path]:
    """Return the folders that a search writes to on this machine, by what each is used for."""
    return {"search directory": paths.root, "scratch": scratch, "node cache": default_cache()}


def note_guard_event(paths: SearchPaths, what: str, **facts: Any) -> None:
    """Append a line to the guard's log; does nothing if the disk is too full for it."""
    try:
        with paths.guard_log.open("a") as file:
            file.write(json.dumps({"at": round(time.time(), 1), "what": what, **facts}) + "\n")
    except OSError as error:
        log.warning("the guard's log cannot be written: %s", error)


def load_guard_events(paths: SearchPaths) -> list[dict[str, Any]]:
    """Return what the guard has found and freed, oldest first; skips a line that a full disk has torn."""
    events = []
    for file in paths.root.glob("**/logs/guard*.jsonl"):  # of every job and node
        for line in file.read_text(errors="replace").splitlines():
            with suppress(ValueError):
                if isinstance(event := json.loads(line), dict) and "what" in event:
                    events.append(event)
    return sorted(events, key=lambda event: event.get("at", 0.0))
