"""Who works on a search: the one supervisor that holds its lock."""

import os
import time
from collections.abc import Iterable
from typing import Any

from cluster.machine.files import read_json
from cluster.machine.processes import is_alive
from cluster.state.paths import SearchPaths

SILENT_S = 10.0
"""A supervisor on another machine is taken to be dead if it has given no heartbeat for so long. It gives one every
second, but may be cleaning up."""
LOOK_EVERY_S = 0.5


def supervisor_of(paths: SearchPaths) -> dict[str, Any] | None:
    """Return who works on a search, `pid` and `host`; None where nobody does (a dead supervisor counts as nobody)."""
    supervisor = read_json(paths.supervisor_record)
    if supervisor is None:
        return None
    return None if is_alive(supervisor) is False else supervisor


def busy_message(paths: SearchPaths) -> str:
    """Return what a second supervisor is told."""
    supervisor = supervisor_of(paths)
    who = f"process {supervisor['pid']} on {supervisor['host']}" if supervisor else "another process"
    return f"search {paths.name} is being worked on by {who}; a search directory has one supervisor"


def worked_on_elsewhere(several: Iterable[SearchPaths], patience_s: float = 0.0) -> SearchPaths | None:
    """Return which of some searches, or jobs on one, a supervisor on another machine works on; None where none does.

    Its lock may not be seen from here: many file systems keep flock to one node. Its heartbeats are watched by our own
    clock, for `patience_s` longer if it may be about to end. A supervisor that exited cleanly is not waited for.
    """
    began = time.monotonic()
    heartbeats = {one: (_heartbeat(one), began) for one in several}
    while heartbeats:
        now = time.monotonic()
        for one, (seen, since) in list(heartbeats.items()):
            heartbeat = _heartbeat(one)
            supervisor = read_json(one.supervisor_record)
            if supervisor is None or is_alive(supervisor) is not None or (heartbeat == seen and now - since > SILENT_S):
                del heartbeats[one]
            elif heartbeat != seen:
                if now - began >= patience_s:
                    return one
                heartbeats[one] = (heartbeat, now)
        if heartbeats:
            time.sleep(LOOK_EVERY_S)
    return None


def _heartbeat(paths: SearchPaths) -> int:
    """Return when a supervisor gave its last heartbeat; the file is opened, as NFS asks the server only then."""
    try:
        with paths.supervisor_heartbeat.open("rb") as file:
            return os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        return 0
