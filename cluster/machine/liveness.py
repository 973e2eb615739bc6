"""Tells whether another process lives by a value that it keeps changing, such as when it last touched a file."""

import math
import os
import threading
import time
from collections.abc import Callable, Hashable
from pathlib import Path

from cluster.machine.clocks import AwakeClock


class Liveness:
    """How long another process has shown no sign of life, by the clock of the process that watches it.

    Clocks of two machines are never compared: what counts is when this process first saw a new value. Time in which the
    watching process did not run, because its machine was suspended, does not count: a gap between two looks counts as
    `most_gap_s` at most. Several threads may look.
    """

    def __init__(
        self, value: Hashable, most_gap_s: float = math.inf, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin with the value that is seen now, from which the first change is told."""
        self.value = value
        """The value that was seen last."""
        self._clock = AwakeClock(most_gap_s, clock)
        self._lock = threading.Lock()
        self._alive_at = self._clock()

    def see(self, value: Hashable) -> bool:
        """Take in the value that is seen now; return whether it has changed, which shows that the process is alive."""
        with self._lock:
            now, changed = self._clock(), value != self.value
            if changed:
                self.value, self._alive_at = value, now
        return changed

    def note_alive(self) -> None:
        """Take in that the process is known to live at this moment."""
        with self._lock:
            self._alive_at = self._clock()

    @property
    def silent_s(self) -> float:
        """Seconds since the process was last known to live."""
        with self._lock:
            return self._clock() - self._alive_at


def touched_at(file: Path) -> int:
    """Return when a file was last touched, in nanoseconds of its file system's clock; 0 if it cannot be read.

    The file is opened, not only looked up, since NFS asks the server only when a file is opened.
    """
    try:
        with file.open("rb") as opened:
            return os.fstat(opened.fileno()).st_mtime_ns
    except OSError:
        return 0


def was_touched_within(file: Path, seconds: float) -> bool:
    """Return whether a file was touched in the last `seconds`; for callers that look once and cannot wait for a change.

    It compares the file server's clock with this machine's, so `seconds` must allow for their difference.
    """
    return abs(time.time() - touched_at(file) / 1e9) < seconds
