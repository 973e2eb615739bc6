"""Who works on a search: the one supervisor that holds its lock."""

import os
import time
from collections.abc import Iterable
from typing import Any

from cluster.machine.files import read_json
from cluster.machine.processes import is_alive
from cluster.state.paths import SearchPaths

SILENT_S = 10.0
"""A supervisor on another machine that gives no sign for so long is taken to be dead; it gives one every second, but
may be cleaning up."""
LOOK_EVERY_S = 0.5


def holder_of(paths: SearchPaths) -> dict[str, Any] | None:
    """Return who works on a search, `pid` and `host`; None where nobody does (a dead holder counts as nobody)."""
    holder = read_json(paths.holder)
    if holder is None:
        return None
    return None if is_alive(holder) is False else holder


def busy_message(paths: SearchPaths) -> str:
    """Return what a second supervisor is told."""
    holder = holder_of(paths)
    who = f"process {holder['pid']} on {holder['host']}" if holder else "another process"
    return f"search {paths.name} is being worked on by {who}; a search directory has one supervisor"


def worked_on_elsewhere(several: Iterable[SearchPaths], patience_s: float = 0.0) -> SearchPaths | None:
    """Return which of some searches, or jobs on one, a supervisor on another machine works on; None where none does.

    Its lock may not be seen from here: many file systems keep flock to one node. Its signs are watched by our own
    clock, for `patience_s` longer where it may be about to end. Nobody is waited for who left in good order.
    """
    began = time.monotonic()
    signs = {one: (_sign(one), began) for one in several}
    while signs:
        now = time.monotonic()
        for one, (seen, since) in list(signs.items()):
            sign = _sign(one)
            holder = read_json(one.holder)
            if holder is None or is_alive(holder) is not None or (sign == seen and now - since > SILENT_S):
                del signs[one]
            elif sign != seen:
                if now - began >= patience_s:
                    return one
                signs[one] = (sign, now)
        if signs:
            time.sleep(LOOK_EVERY_S)
    return None


def _sign(paths: SearchPaths) -> int:
    """Return when a supervisor gave its last sign; the file is opened, as NFS asks the server only then."""
    try:
        with paths.sign.open("rb") as file:
            return os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        return 0
