"""A lock for processes on several machines: a file on the file system that they share."""

import contextlib
import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from cluster.machine.liveness import Liveness
from cluster.machine.processes import identity, is_alive

log = logging.getLogger(__name__)

PATIENCE_S = 75.0
"""A lock is broken if its holder cannot be seen from here and has not touched it for so long. NFS clients may believe
for 60 s what they have read of a file."""
TOUCH_EVERY_S = 5.0
MOST_GAP_S = 5.0
"""While it waits, a process looks at the lock at least this often, unless it was suspended."""
LONGEST_POLL_S = 0.05


class LockLostError(RuntimeError):
    """Other processes broke the lock while this one was suspended, or cut off from the file system."""


class SharedLock:
    """A lock that one process holds at a time, and may enter again at no cost. Not for several threads.

    The lock is a symbolic link whose target says who holds it: made at once or not at all, on NFS too, and where a
    repeated request of NFS finds it made already, it can see that it is its own. A holder that died on this machine is
    known at once; any other when it stops touching the lock, by the waiting process's clock. Optuna's lock files lack
    the holder's name: a holder that was suspended and comes back writes on, and then removes the lock of another.
    """

    def __init__(self, path: Path, patience_s: float = PATIENCE_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._patience_s = patience_s
        self._clock = clock
        self._who = {**identity(), "id": uuid.uuid4().hex}
        self._count = 0
        self._token = ""
        self.depth = 0
        """How often this process has entered it without leaving; 0 if it does not hold it."""
        self.saw_heartbeat = False
        """Whether another holder has touched it while this process waited for it."""
        self._held = threading.Event()
        self._toucher: threading.Thread | None = None

    def __enter__(self) -> "SharedLock":
        if not self.depth:
            self._acquire(_sleep)
        self.depth += 1
        return self

    def take(self, wait: Callable[[float], bool]) -> bool:
        """Take the lock; return whether it is held.

        `wait` is called with the seconds of each pause; if it returns True, this gives up.
        """
        assert not self.depth, "it is held already"
        self.depth = int(self._acquire(wait))
        return self.depth > 0

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Leave the lock; others may have it once it was left as often as it was entered."""
        self.depth -= 1
        if not self.depth:
            self._release()

    def check(self) -> None:
        """Raise LockLostError if others have broken the lock: what this process read with it may be outdated."""
        if self._holder() != self._token:
            raise LockLostError(f"others have broken the lock {self._path.name}")

    def _acquire(self, wait: Callable[[float], bool]) -> bool:
        self._count += 1
        token = json.dumps({**self._who, "count": self._count})
        pause, holder, liveness = 0.001, "", Liveness(("", 0), MOST_GAP_S, self._clock)
        while not self._make(token):
            before, (holder, touched) = holder, self._look()
            if liveness.see((holder, touched)):
                self.saw_heartbeat |= holder == before != ""
            if holder and (liveness.silent_s > self._patience_s or _is_dead(holder)):
                self._break(holder)
                continue
            if wait(pause):
                return False
            pause = min(2 * pause, LONGEST_POLL_S)
        self._token = token
        self._touch_while_held()
        return True

    def _make(self, token: str) -> bool:
        try:
            os.symlink(token, self._path)  # noqa: PTH211 - what it says is no path
        except FileExistsError:
            return self._holder() == token  # ours, if NFS has sent our request twice
        return True

    def _holder(self) -> str:
        try:
            return os.readlink(self._path)  # noqa: PTH115
        except OSError:
            return ""

    def _look(self) -> tuple[str, int]:
        try:
            return self._holder(), self._path.lstat().st_mtime_ns
        except OSError:
            return "", 0

    def _break(self, token: str) -> None:
        """Remove a dead holder's lock, but not that of a process that has taken its place meanwhile."""
        aside = self._path.with_name(f"{self._path.name}.{uuid.uuid4().hex}")
        try:
            self._path.rename(aside)
        except OSError:
            return  # another process was faster
        if os.readlink(aside) == token:  # noqa: PTH115
            log.warning("broke the lock %s of a process that has died: %s", self._path.name, token)
        else:
            with contextlib.suppress(OSError):
                os.link(aside, self._path, follow_symlinks=False)
        aside.unlink(missing_ok=True)

    def _release(self) -> None:
        self._held.clear()
        if self._holder() == self._token:
            self._path.unlink(missing_ok=True)

    def _touch_while_held(self) -> None:
        """Give heartbeats from a thread of its own, since a sampler may take long while the lock is held."""
        self._held.set()
        if self._toucher is None:
            self._toucher = threading.Thread(target=self._touch, daemon=True, name="lock")
            self._toucher.start()

    def _touch(self) -> None:
        while True:
            self._held.wait()
            time.sleep(min(TOUCH_EVERY_S, self._patience_s / 4))
            if self._held.is_set() and self._holder() == self._token:
                with contextlib.suppress(OSError):
                    os.utime(self._path, follow_symlinks=False)


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _is_dead(token: str) -> bool:
    try:
        return is_alive(json.loads(token)) is False
    except (ValueError, KeyError, TypeError):
        return False
