"""Watches a node's disks, workers, Ray and driver from outside, and sends the driver orders."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from cluster.machine.clocks import AwakeClock
from cluster.machine.disks import Reading, read_disks, used_bytes
from cluster.machine.guard import Action, Verdict, judge
from cluster.machine.liveness import Liveness, touched_at
from cluster.machine.processes import children, start_time
from cluster.machine.scratch import Scratch
from cluster.state.guarding import folders_in_use, note_guard_event
from cluster.state.paths import SearchPaths
from cluster.supervision.workers import WorkerWatch, end_worker
from cluster.wire.orders import Order
from search_spaces.spec import Spec

log = logging.getLogger(__name__)

STOP_PATIENCE_S = 120.0
"""Seconds that trials have to save and end below the stop limit, before they are ended at once."""
DRIVER_PATIENCE_S = 300.0
"""Seconds without a heartbeat after which a driver counts as hung."""
WALK_SHARE = 0.05
"""The share of the time that measuring our own scratch may take."""


HEAD = ("raylet", "gcs_server")
"""Ray's servers on the node of the driver."""
FURTHER = ("raylet",)
"""Ray's servers on every other node."""


class RayServers:
    """Ray's servers on this node, children of the process that started Ray; without them no trial starts."""

    def __init__(self, parent: int, names: tuple[str, ...]) -> None:
        self._parent = parent
        self._names = names
        self._seen: dict[int, tuple[str, str | None]] = {}

    def dead(self) -> str:
        """Return the name of a server that was seen alive and is dead now; empty if there is none."""
        if len(self._seen) < len(self._names):
            for pid, name in children(self._parent, self._names).items():
                self._seen.setdefault(pid, (name, start_time(pid)))
        return next((name for pid, (name, start) in self._seen.items() if start_time(pid) != start), "")


class Watcher:
    """The guard of one driver or further node; call `look` often, and it acts when it is due."""

    def __init__(
        self,
        spec: Spec,
        paths: SearchPaths,
        scratch: Scratch,
        ray: RayServers,
        send: Callable[[Order], None],
        clock: Callable[[], float] = time.monotonic,
        *,
        has_driver: bool = True,
    ) -> None:
        self._ray = ray
        self._has_driver = has_driver
        self._spec = spec
        self._paths = paths
        self._scratch = scratch
        self._send = send
        clock = self._clock = AwakeClock(max(10.0, 2 * spec.guard.check_every_s), clock)
        limit = spec.resources.memory_gb_per_trial
        self._workers = WorkerWatch(
            scratch.heartbeats, 60 * spec.trial_timeout_min, None if limit == "auto" else limit, clock
        )
        self._wanted = Action.GO_ON
        self._stop_by: float | None = None
        self._next_look = self._next_walk = clock()
        self._scratch_bytes = self.peak_scratch_bytes = 0
        self._driver = Liveness(0, clock=clock)

    def look(self) -> str:
        """Check the node's workers, disks and Ray; return why its Ray must be ended at once, empty if it need not."""
        now = self._clock()
        if now < self._next_look:
            return ""
        self._next_look = now + self._spec.guard.check_every_s
        self._look_at_workers()
        self._look_at_disks()
        if self._stop_by is not None and now > self._stop_by:
            return f"its trials did not save within {STOP_PATIENCE_S:g} s, and the disk is filling up"
        if server := self._ray.dead():
            return f"Ray's {server} has died"
        return self._look_at_driver() if self._has_driver else ""

    def _look_at_workers(self) -> None:
        for finding in self._workers.look():
            trial = finding.heartbeat.trial
            log.warning("trial %d, process %d: %s", trial, finding.heartbeat.pid, finding.reason)
            # Send the order before ending the worker: when the driver sees it gone, it must know why.
            self._send(Order("lose_trial", finding.reason, trial, finding.outcome.value, finding.memory_gb))
            end_worker(finding.heartbeat)

    def _look_at_disks(self) -> None:
        verdict = judge(self._spec.guard, self.read())
        if verdict.action > self._wanted:  # the driver may just have cleaned up: measured afresh before it counts
            self._next_walk = self._clock()
            verdict = judge(self._spec.guard, self.read())
        if verdict.action > self._wanted:
            self._act(verdict)
        self._wanted = verdict.action

    def _act(self, verdict: Verdict) -> None:
        if verdict.action is Action.END_WAVE:
            log.warning("ending the wave early: %s", verdict.reason)
            self._send(Order("end_wave", verdict.reason))
        else:
            log.warning("stopping the trials: %s", verdict.reason)
            self._send(Order("stop_trials", verdict.reason))
            self._stop_by = self._clock() + STOP_PATIENCE_S
        note_guard_event(self._paths, verdict.action.name.lower(), reason=verdict.reason)

    def read(self) -> Reading:
        """Return a reading of the disks; our own scratch is measured only as often as that is cheap enough."""
        now = self._clock()
        if now >= self._next_walk:
            self._scratch_bytes = used_bytes(self._scratch.path)
            self.peak_scratch_bytes = max(self.peak_scratch_bytes, self._scratch_bytes)
            self._next_walk = self._clock() + (self._clock() - now) / WALK_SHARE
            self._scratch.keep_fresh()
        return replace(read_disks(folders_in_use(self._paths, self._scratch.path)), scratch_bytes=self._scratch_bytes)

    def _look_at_driver(self) -> str:
        self._driver.see(touched_at(self._scratch.driver_heartbeat))
        silent_s = self._driver.silent_s
        return f"the driver gave no sign of life for {silent_s:.0f} s" if silent_s > DRIVER_PATIENCE_S else ""
