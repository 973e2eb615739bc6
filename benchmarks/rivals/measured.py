"""Runs a command and measures it from outside: wall time, the CPU of all that it starts, memory, files that stay.

Daemons count too: this process adopts whatever loses its parent (`PR_SET_CHILD_SUBREAPER`), so that all stay below it.
"""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

POLL_S = 0.2
MEMORY_POLL_S = 1.0
DAEMONS_END_S = 20.0
"""How long what a command leaves running may take to end by itself."""
_TICKS = os.sysconf("SC_CLK_TCK")
_SUBREAPER = 36


class Told(NamedTuple):
    """What a trial reported: its number, its steps so far, and its validation error."""

    trial: int
    step: int
    error: float


class Seen(NamedTuple):
    """A report, and when it was seen: in seconds and in core-seconds of all processes since the command's start."""

    told: Told
    seconds: float
    core_s: float


@dataclass
class Measured:
    """What a command took."""

    seconds: float = 0.0
    core_s: float = 0.0
    peak_mb: float = 0.0
    """The most memory at once, of all its processes; pages that several share count once."""
    files: int = 0
    status: int = 0
    output: str = ""
    seen: list[Seen] = field(default_factory=list)

    @property
    def trials(self) -> int:
        """How many trials reported anything."""
        return len({seen.told.trial for seen in self.seen})

    @property
    def steps(self) -> int:
        """The steps of all trials together."""
        last: dict[int, int] = {}
        for seen in self.seen:
            last[seen.told.trial] = max(last.get(seen.told.trial, 0), seen.told.step)
        return sum(last.values())

    @property
    def best(self) -> float:
        """The smallest validation error of any report."""
        return min((seen.told.error for seen in self.seen), default=float("nan"))

    def core_s_to(self, error: float) -> float | None:
        """Return the core-seconds until a trial reported at most this error; None if none did."""
        return next((seen.core_s for seen in self.seen if seen.told.error <= error), None)


class Process(NamedTuple):
    """A line of the table of processes."""

    parent: int
    core_s: float
    began: str


def _processes() -> dict[int, Process]:
    found = {}
    for name in os.listdir("/proc"):  # noqa: PTH208  five times a second: names are enough
        if name.isdigit():
            with suppress(OSError):  # it has ended
                parts = Path(f"/proc/{name}/stat").read_text().rsplit(")", 1)[1].split()
                found[int(name)] = Process(int(parts[1]), (int(parts[11]) + int(parts[12])) / _TICKS, parts[19])
    return found


def _below(processes: Mapping[int, Process]) -> dict[int, Process]:
    """Return this process's descendants."""
    children: dict[int, list[int]] = {}
    for pid, process in processes.items():
        children.setdefault(process.parent, []).append(pid)
    found, todo = {}, list(children.get(os.getpid(), []))
    while todo:
        pid = todo.pop()
        found[pid] = processes[pid]
        todo += children.get(pid, [])
    return found


def _memory_mb(pids: Iterable[int]) -> float:
    total = 0
    for pid in pids:
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


class _Watch:
    """Sums up what the descendants of this process have used, those that have ended included."""

    def __init__(self) -> None:
        self._core_s: dict[tuple[int, str], float] = {}
        self._memory_at = 0.0
        self.peak_mb = 0.0

    def look(self) -> dict[int, Process]:
        alive = _below(_processes())
        for pid, process in alive.items():
            self._core_s[pid, process.began] = process.core_s
        if time.monotonic() - self._memory_at >= MEMORY_POLL_S:
            self.peak_mb = max(self.peak_mb, _memory_mb(alive))
            self._memory_at = time.monotonic()
        return alive

    @property
    def core_s(self) -> float:
        return sum(self._core_s.values())


def _reap(command: "subprocess.Popen[bytes]") -> None:
    """Take leave of the orphans that have ended; the command itself is left to `command`."""
    for pid, process in _below(_processes()).items():
        if process.parent == os.getpid() and pid != command.pid:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _waited_core_s() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _kill(alive: Iterable[int]) -> None:
    """End processes, all descendants of this one."""
    for pid in alive:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _follow(
    process: "subprocess.Popen[bytes]",
    watch: _Watch,
    found: Measured,
    reports: Callable[[], Iterable[Told]],
    patience_s: float,
    poll_s: float,
) -> None:
    """Look at a command again and again until it and all that it started has ended."""
    began, ended_at = time.monotonic(), None
    while True:
        alive = watch.look()
        now = time.monotonic()
        found.seen += [Seen(told, now - began, watch.core_s) for told in reports()]
        if process.poll() is not None and ended_at is None:
            ended_at = now
            found.seconds = now - began
        if ended_at is not None and not alive.keys() - {process.pid}:
            return
        if now - began > patience_s or (ended_at is not None and now - ended_at > DAEMONS_END_S):
            _kill(alive)
        _reap(process)
        time.sleep(poll_s)


def run(
    command: Sequence[str],
    left: Path,
    environment: Mapping[str, str],
    reports: Callable[[], Iterable[Told]],
    patience_s: float = 3600.0,
    poll_s: float = POLL_S,
) -> Measured:
    """Run a command in the folder `left`, in which it leaves its files, until it and all that it started has ended.

    `reports` returns what trials have reported since it was last asked. All children of this process count as the
    command's, and end with it.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0)
    log, watch, found = left.parent / "output.log", _Watch(), Measured()
    before = _waited_core_s()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=left, env=dict(environment), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            _follow(process, watch, found, reports, patience_s, poll_s)
        finally:  # interrupted: what has been started does not go on alone
            _kill(_below(_processes()))
            process.wait()
    found.core_s = max(watch.core_s, _waited_core_s() - before)
    found.peak_mb, found.status = watch.peak_mb, process.returncode
    found.files = sum(len(names) for _, _, names in os.walk(left))
    found.output = log.read_text(errors="replace")
    return found
