"""What the guard of a search watches on this machine, and the log of what it has found and freed."""

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
    """Return what a search writes to on this machine, by its use."""
    return {"search directory": paths.root, "scratch": scratch, "node cache": default_cache()}


def note_guard_event(paths: SearchPaths, what: str, **facts: Any) -> None:
    """Write a line to the guard's log, unless the disk is too full for that."""
    try:
        with paths.guard_log.open("a") as file:
            file.write(json.dumps({"at": round(time.time(), 1), "what": what, **facts}) + "\n")
    except OSError as error:
        log.warning("the guard's log cannot be written: %s", error)


def load_guard_events(paths: SearchPaths) -> list[dict[str, Any]]:
    """Return what the guard has found and freed, in the order of time; a line torn by a full disk is passed over."""
    events = []
    for file in paths.root.glob("**/logs/guard*.jsonl"):  # of every job and node
        for line in file.read_text(errors="replace").splitlines():
            with suppress(ValueError):
                if isinstance(event := json.loads(line), dict) and "what" in event:
                    events.append(event)
    return sorted(events, key=lambda event: event.get("at", 0.0))
