"""A worker's heartbeat: a small file in the scratch that says which trial it runs, touched at every report."""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster.machine.processes import start_time

HEARTBEATS = "SWELL_HEARTBEATS"
"""Variable with the folder for the heartbeats of one wave's workers on this node."""
IDLE = -1
"""Stands for a trial's number while the worker waits for a trial."""
WIDTH = 128
"""Bytes of the file; always the same, so that rewriting it needs no space on a full disk."""
WORKERS_PATIENCE_S = 10.0
"""How long the workers of a wave may take to end before their files are deleted."""


class WorkerHeartbeat:
    """This process's heartbeat; if the disk is too full even for that, the worker runs on unwatched."""

    def __init__(self, folder: Path) -> None:
        pid = os.getpid()
        self._path = folder / str(pid)
        self._who = {"pid": pid, "start": start_time(pid)}
        self.set_trial(IDLE)

    def set_trial(self, number: int) -> None:
        """Write which trial this process runs; IDLE if none."""
        text = json.dumps({**self._who, "trial": number}).ljust(WIDTH - 1) + "\n"
        with contextlib.suppress(OSError), self._path.open("r+" if self._path.exists() else "w") as file:
            file.write(text)

    def beat(self) -> None:
        """Show that the trial has made progress."""
        with contextlib.suppress(OSError):
            os.utime(self._path)


@dataclass(frozen=True)
class Heartbeat:
    """The content of a worker's file: which process it is, which trial it runs, and when that last reported."""

    pid: int
    start: str
    """The process's start time, since another process may have its id by now."""
    trial: int
    mtime_ns: int

    @property
    def is_alive(self) -> bool:
        """Whether the worker's process is alive."""
        return start_time(self.pid) == self.start


def read_heartbeats(folder: Path) -> list[Heartbeat]:
    """Return the last heartbeat of each living worker whose file is in `folder`."""
    return [worker for worker in _all_heartbeats(folder) if worker.is_alive]


def wait_for_workers(folder: Path, patience_s: float = WORKERS_PATIENCE_S) -> None:
    """Wait until every worker on this node has ended, at most for `patience_s`."""
    deadline = time.monotonic() + patience_s
    while read_heartbeats(folder) and time.monotonic() < deadline:
        time.sleep(0.05)


def trial_pids(folder: Path, trial: int) -> list[int]:
    """Return the ids of the processes, alive or dead, whose last heartbeat names this trial, latest first."""
    heartbeats = [worker for worker in _all_heartbeats(folder) if worker.trial == trial]
    return [worker.pid for worker in sorted(heartbeats, key=lambda worker: -worker.mtime_ns)]


def _all_heartbeats(folder: Path) -> Iterator[Heartbeat]:
    for file in folder.glob("[0-9]*"):
        try:
            mtime_ns, entry = file.stat().st_mtime_ns, json.loads(file.read_text())
            yield Heartbeat(entry["pid"], entry["start"], entry["trial"], mtime_ns)
        except (OSError, ValueError, KeyError):  # being written, or its disk was full
            continue
