"""Which supervisor works on a search: the one that holds the search's lock."""

import time
from collections.abc import Iterable
from typing import Any

from cluster.machine.files import read_object
from cluster.machine.liveness import Liveness, touched_at
from cluster.machine.processes import is_alive
from cluster.state.paths import SearchPaths

SILENT_S = 10.0
"""A supervisor on another machine is taken to be dead if it has given no heartbeat for so long. It gives one every
second, but may be cleaning up."""
LOOK_EVERY_S = 0.5
MOST_GAP_S = 5.0
"""A watcher looks at least this often, unless it was suspended."""


def supervisor_of(paths: SearchPaths) -> dict[str, Any] | None:
    """Return the `pid` and `host` of the living supervisor of a search; None if there is none."""
    supervisor = recorded(paths)
    if supervisor is None:
        return None
    return None if is_alive(supervisor) is False else supervisor


def recorded(paths: SearchPaths) -> dict[str, Any] | None:
    """Return the identity of a search's last supervisor, alive or dead; None if the record is damaged."""
    record = read_object(paths.supervisor_record)
    is_whole = record is not None and type(record.get("pid")) is int and {"start", "host", "boot"} <= set(record)
    return record if is_whole else None


def busy_message(paths: SearchPaths) -> str:
    """Return the message for whoever starts a second supervisor of a search."""
    supervisor = supervisor_of(paths)
    who = f"process {supervisor['pid']} on {supervisor['host']}" if supervisor else "another process"
    return f"search {paths.name} is being worked on by {who}; a search directory has one supervisor"


def worked_on_elsewhere(several: Iterable[SearchPaths], patience_s: float = 0.0) -> SearchPaths | None:
    """Return the first of some searches, or of one search's jobs, that a supervisor on another machine works on.

    None if there is none. The other's lock may be invisible here, since many file systems keep flock to one node. So
    its heartbeats are watched by our own clock, for `patience_s` longer if it may be about to end. A supervisor that
    exited cleanly is not waited for.
    """
    began = time.monotonic()
    watched = {one: Liveness(touched_at(one.supervisor_heartbeat), MOST_GAP_S) for one in several}
    while watched:
        for one, liveness in list(watched.items()):
            has_beaten = liveness.see(touched_at(one.supervisor_heartbeat))
            supervisor = recorded(one)
            if supervisor is None or is_alive(supervisor) is not None or liveness.silent_s > SILENT_S:
                del watched[one]
            elif has_beaten and time.monotonic() - began >= patience_s:
                return one
        if watched:
            time.sleep(LOOK_EVERY_S)
    return None
