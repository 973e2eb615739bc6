"""A worker's sign of life: a small file in the scratch that says which trial it runs, touched at every report."""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster.machine.processes import start_time

BEATS = "SWELL_BEATS"
"""Variable with the folder for the signs of life of one wave's workers on this node."""
IDLE = -1
"""In place of a trial's number: this worker waits for one."""
WIDTH = 128
"""Bytes of the file, always the same: writing it anew needs no space on a full disk."""


class Beat:
    """This process's sign of life; without space even for that, the worker runs on unwatched."""

    def __init__(self, folder: Path) -> None:
        pid = os.getpid()
        self._path = folder / str(pid)
        self._who = {"pid": pid, "start": start_time(pid)}
        self.trial(IDLE)

    def trial(self, number: int) -> None:
        """Say which trial this process runs; IDLE for none."""
        text = json.dumps({**self._who, "trial": number}).ljust(WIDTH - 1) + "\n"
        with contextlib.suppress(OSError), self._path.open("r+" if self._path.exists() else "w") as file:
            file.write(text)

    def beat(self) -> None:
        """Say that the trial has come on."""
        with contextlib.suppress(OSError):
            os.utime(self._path)


@dataclass(frozen=True)
class Sign:
    """What a worker said last."""

    pid: int
    start: str
    """The process's start time: the id alone may belong to another by now."""
    trial: int
    mtime_ns: int

    @property
    def is_alive(self) -> bool:
        """Whether the process that said so still lives."""
        return start_time(self.pid) == self.start


def read_beats(folder: Path) -> list[Sign]:
    """Return the last sign of every living worker on this node."""
    return [sign for sign in _signs(folder) if sign.is_alive]


def trial_pids(folder: Path, trial: int) -> list[int]:
    """Return the processes that said last that they run a trial, the latest first, whether they live or not."""
    signs = [sign for sign in _signs(folder) if sign.trial == trial]
    return [sign.pid for sign in sorted(signs, key=lambda sign: -sign.mtime_ns)]


def _signs(folder: Path) -> Iterator[Sign]:
    for file in folder.glob("[0-9]*"):
        try:
            mtime_ns, entry = file.stat().st_mtime_ns, json.loads(file.read_text())
            yield Sign(entry["pid"], entry["start"], entry["trial"], mtime_ns)
        except (OSError, ValueError, KeyError):  # being written, or its disk was full
            continue
