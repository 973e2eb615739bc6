"""Who works on a search: the one supervisor that holds its lock."""

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
"""Two looks lie no further apart, unless this process was suspended."""


def supervisor_of(paths: SearchPaths) -> dict[str, Any] | None:
    """Return who works on a search, `pid` and `host`; None if nobody does (a dead supervisor counts as nobody)."""
    supervisor = recorded(paths)
    if supervisor is None:
        return None
    return None if is_alive(supervisor) is False else supervisor


def recorded(paths: SearchPaths) -> dict[str, Any] | None:
    """Return who the supervisor of a search was last, be it alive or dead; None if the record is damaged."""
    record = read_object(paths.supervisor_record)
    is_whole = record is not None and type(record.get("pid")) is int and {"start", "host", "boot"} <= set(record)
    return record if is_whole else None


def busy_message(paths: SearchPaths) -> str:
    """Return what a second supervisor is told."""
    supervisor = supervisor_of(paths)
    who = f"process {supervisor['pid']} on {supervisor['host']}" if supervisor else "another process"
    return f"search {paths.name} is being worked on by {who}; a search directory has one supervisor"


def worked_on_elsewhere(several: Iterable[SearchPaths], patience_s: float = 0.0) -> SearchPaths | None:
    """Return which of some searches, or jobs on one, a supervisor on another machine works on; None if none does.

    Its lock may not be seen from here: many file systems keep flock to one node. Its heartbeats are watched by our own
    clock, for `patience_s` longer if it may be about to end. A supervisor that exited cleanly is not waited for.
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
