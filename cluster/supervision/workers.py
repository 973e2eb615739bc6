"""Finds workers of a node that hang or take too much memory, in the supervisor, which Ray cannot take down."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cluster.machine.liveness import Liveness
from cluster.machine.memory import available_memory_gb, resident_gb, total_memory_gb
from cluster.state.outcomes import Outcome
from cluster.wire.heartbeats import IDLE, Heartbeat, read_heartbeats

MEMORY_RESERVE = 0.05
"""Share of the machine's memory, or of its limit, that must stay available; below it the largest worker is ended."""
MOST_RESERVE_GB = 1.0


@dataclass(frozen=True)
class Finding:
    """A worker that must be ended, and what its trial's record will say."""

    heartbeat: Heartbeat
    outcome: Outcome
    reason: str
    memory_gb: float = 0.0


class WorkerWatch:
    """Checks the workers of one wave again and again, by this process's monotonic clock, which nobody can set."""

    def __init__(
        self,
        folder: Path,
        timeout_s: float,
        memory_limit_gb: float | None,
        clock: Callable[[], float] = time.monotonic,
        available_gb: Callable[[], float] = available_memory_gb,
    ) -> None:
        self._folder = folder
        self._timeout_s = timeout_s
        self._limit_gb = memory_limit_gb
        self._clock = clock
        self._available_gb = available_gb
        self._reserve_gb = min(MOST_RESERVE_GB, MEMORY_RESERVE * total_memory_gb())
        self._liveness: dict[int, Liveness] = {}
        """How long each process that runs a trial has been silent, by its id."""

    def look(self) -> list[Finding]:
        """Return the workers that must be ended now."""
        findings = []
        heartbeats = [heartbeat for heartbeat in read_heartbeats(self._folder) if heartbeat.trial != IDLE]
        before, self._liveness = self._liveness, {}
        for heartbeat in heartbeats:
            value = (heartbeat.trial, heartbeat.mtime_ns)
            liveness = before.get(heartbeat.pid) or Liveness(value, clock=self._clock)
            liveness.see(value)
            self._liveness[heartbeat.pid] = liveness
            finding = self._judge(heartbeat, liveness.silent_s)
            if finding is not None:
                findings.append(finding)
        return findings or self._judge_machine(heartbeats)

    def _judge(self, heartbeat: Heartbeat, silent_s: float) -> Finding | None:
        memory_gb = resident_gb(heartbeat.pid)
        if self._limit_gb is not None and memory_gb > self._limit_gb:
            reason = f"it took {memory_gb:.3g} GB of memory, more than its memory_gb_per_trial = {self._limit_gb:g}"
            return Finding(heartbeat, Outcome.OUT_OF_MEMORY, reason, memory_gb)
        if silent_s > self._timeout_s:
            reason = f"it did not report for {silent_s / 60:.3g} min; trial_timeout_min = {self._timeout_s / 60:g}"
            return Finding(heartbeat, Outcome.TIMED_OUT, reason, memory_gb)
        return None

    def _judge_machine(self, heartbeats: list[Heartbeat]) -> list[Finding]:
        """Return the largest worker if the machine's memory is almost used up, before the kernel ends any process."""
        available_gb = self._available_gb()
        if not heartbeats or available_gb >= self._reserve_gb:
            return []
        memory_gb, heartbeat = max(
            ((resident_gb(heartbeat.pid), heartbeat) for heartbeat in heartbeats), key=lambda pair: pair[0]
        )
        if memory_gb < self._reserve_gb:  # others use it: ending ours would not help
            return []
        reason = f"{available_gb:.2g} GB of memory were left on the machine, and it had the most: {memory_gb:.3g} GB"
        return [Finding(heartbeat, Outcome.OUT_OF_MEMORY, reason, memory_gb)]


def end_worker(heartbeat: Heartbeat) -> None:
    """End a worker at once, unless its process id now belongs to another process."""
    if heartbeat.is_alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(heartbeat.pid, signal.SIGKILL)
