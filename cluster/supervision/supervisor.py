"""The supervisor: runs one wave driver after another and guards them; it imports neither Ray nor JAX."""

import logging
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from filelock import FileLock, Timeout

from cluster.machine.allocation import allocation_left_s
from cluster.machine.capacity import check_fits
from cluster.machine.disks import Reading, read_disks
from cluster.machine.files import read_object, write_json
from cluster.machine.guard import Action, judge
from cluster.machine.processes import end_carrying, identity, usr2_held_back
from cluster.machine.resources import pool_id
from cluster.machine.scratch import Scratch, node_cache, orphans, scratch_root
from cluster.state.guarding import folders_in_use, note_guard_event
from cluster.state.outcomes import is_disk_full
from cluster.state.paths import SearchPaths
from cluster.state.records import load_spec
from cluster.state.snapshot import load_status
from cluster.state.supervisor_record import busy_message, worked_on_elsewhere
from cluster.supervision.driver_end import explain_end
from cluster.supervision.watcher import HEAD, RayServers, Watcher
from cluster.tracking.spool import make_room
from cluster.tracking.tracker_process import Tracking
from cluster.wire.orders import PREDECESSOR_PATIENCE_S, DriverExit, Order
from cluster.worker.environment import TOKEN, driver_environment
from search_spaces.errors import UserError

log = logging.getLogger(__name__)

MOST_IDLE_DRIVERS = 3
"""The search fails after this many drivers in a row that died without starting a trial."""
MOST_FRUITLESS_DRIVERS = 10
"""It also fails after this many in a row that died without ending a trial; a trial that kills drivers ends earlier."""
RIVAL_PATIENCE_S = 2.0
POLL_S = 0.2
HEARTBEAT_EVERY_S = 1.0
LAST_S = 30.0
"""When fewer seconds of the job are left, trials that have not saved are ended: the rest of the work needs them."""
EXIT_PATIENCE_S = 3.0
"""How long a driver that must be ended may take to end by itself."""
DISK_PAUSE_S = 5.0
"""Pause after a write failed although the guard sees space (as with a quota), or because the storage could
not be reached; doubled each time."""
MOST_DISK_PAUSE_S = 60.0


class SearchBusyError(UserError):
    """Another supervisor works on this search."""


@dataclass(frozen=True)
class Ending:
    """How the supervisor's work on a search ended: `finished`, `stopped`, `paused` or `failed`, and why."""

    state: str
    reason: str
    is_time_up: bool = False
    """Whether the search stopped only because the job's time is up."""


class _Log(logging.FileHandler):
    """The supervisor's log; on a full disk, lines are missing, and nothing else happens."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        pass


def _reap() -> None:
    """Reap Ray's ended processes, which this process inherits if it is the first of a container."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def clean_up_after_the_dead(paths: SearchPaths) -> None:
    """End the processes that dead supervisors of this search have left on this node, and delete their scratch."""
    for scratch, token in orphans(scratch_root(), str(paths.root)):
        end_carrying(TOKEN, token)
        freed = scratch.delete()
        log.info("deleted %.1f MB of scratch of a process that has died: %s", freed / 1e6, scratch.path)
        note_guard_event(paths, "cleaned", freed_bytes=freed, peak_bytes=freed)


class Supervisor:
    """Works on one search until it is finished, stopped or failed; a search directory has at most one."""

    def __init__(self, paths: SearchPaths, lock_patience_s: float = 0.0) -> None:
        self._paths = paths
        self._lock_patience_s = lock_patience_s
        """How long to wait for the lock if its supervisor may have died on another machine."""
        self._spec = load_spec(paths)
        self._signals: list[int] = []
        self._asked = 0
        self._heartbeat_at = 0.0
        self._why_ended = ""
        """Why the last driver ended."""
        left_s = allocation_left_s()
        self._job_ends = None if left_s is None else time.monotonic() + left_s

    def _left_s(self) -> float | None:
        return None if self._job_ends is None else self._job_ends - time.monotonic()

    @property
    def _stop_requests(self) -> int:
        return max(len(self._signals), self._asked)

    @property
    def stop_requests(self) -> int:
        """How often the supervisor was asked to stop."""
        return self._stop_requests

    @property
    def was_signalled(self) -> bool:
        """Whether a signal asked it to stop; a queue sends one when a job's time is up or its nodes are wanted."""
        return bool(self._signals)

    @property
    def _why_stop(self) -> str:
        return f"stopped by {signal.Signals(self._signals[0]).name}" if self._signals else "stopped on request"

    def request_stop(self, signum: int = signal.SIGTERM) -> None:
        """Drain at the first call, end at once at the second; safe to call from a signal handler."""
        self._signals.append(signum)

    def _attend(self) -> None:
        """Give a heartbeat, and check whether another machine asks for a stop; must be called again and again."""
        if time.monotonic() - self._heartbeat_at < HEARTBEAT_EVERY_S:
            return
        self._heartbeat_at = time.monotonic()
        with suppress(OSError):
            self._paths.supervisor_heartbeat.touch()
        if self._signals and (left_s := self._left_s()) is not None and left_s < LAST_S:
            self._asked = 2  # trials not saved by now will go on from their last checkpoints
        elif self._paths.stop_request.exists():
            self._asked = 2 if (read_object(self._paths.stop_request) or {}).get("now") else 1

    def run(self) -> Ending:
        """Run wave drivers until the search ends; return how it ended.

        Raises SearchBusyError if another supervisor works on this search, and OversubscribedError if this machine is
        too small for it.
        """
        self._paths.make_own()
        lock = FileLock(self._paths.lock)
        try:
            lock.acquire(timeout=self._lock_patience_s)
        except Timeout:
            raise SearchBusyError(busy_message(self._paths)) from None
        try:
            if worked_on_elsewhere([self._paths], self._lock_patience_s):
                raise SearchBusyError(busy_message(self._paths))
            self._check_rivals()
            self._scratch_root = scratch_root()
            node_cache()  # raise here, not in every driver
            self._cpus = check_fits(self._spec.resources)
            return self._logged()
        finally:
            lock.release()

    def _check_rivals(self) -> None:
        """Raise SearchBusyError if this supervisor works alone and others share the search among jobs, or the reverse.

        A supervisor that works alone writes without asking for the lock.
        """
        alone = SearchPaths(self._paths.root)
        rivals = alone.of_jobs() if self._paths.job is None else [alone]
        for rival in rivals:
            try:
                # Try for a while: other jobs may hold the same lock for a moment.
                FileLock(rival.lock).acquire(timeout=RIVAL_PATIENCE_S).lock.release()
            except Timeout:
                raise SearchBusyError(busy_message(rival)) from None
        if rival := worked_on_elsewhere(rivals):
            raise SearchBusyError(busy_message(rival))

    def _logged(self) -> Ending:
        handler = _Log(self._paths.supervisor_log)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        root = logging.getLogger("cluster")
        before = root.level, root.propagate
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        root.propagate = False
        try:
            self._take_hold()
            self._clean_up_after_the_dead()
            with Tracking(self._spec, self._paths, self._attend, lambda: self._stop_requests):
                ending = self._drivers()
            log.info("search %s: %s", ending.state, ending.reason)
            if ending.state != "finished":
                of_before = dict.fromkeys(("failed", "paused", "stopped"), "")
                self._say(**{**of_before, "doing": ending.state, "running": [], ending.state: ending.reason})
            return ending
        finally:
            for file in (self._paths.supervisor_record, self._paths.supervisor_heartbeat):
                file.unlink(missing_ok=True)
            root.removeHandler(handler)
            handler.close()
            root.level, root.propagate = before

    def _take_hold(self) -> None:
        with suppress(OSError):
            self._paths.supervisor_heartbeat.touch()
        dead = read_object(self._paths.supervisor_record)
        if dead is not None:
            log.warning("taking over from process %s on %s, which has died", dead.get("pid"), dead.get("host"))
        with suppress(OSError):  # on a full disk: the lock counts, this only names its holder
            write_json(self._paths.supervisor_record, identity())

    def _clean_up_after_the_dead(self) -> None:
        """End what killed supervisors of this search have left, and delete their scratch.

        A driver of theirs may still be saving its trials, so this waits for its lock.
        """
        if not orphans(scratch_root(), str(self._paths.root)):
            return
        until = time.monotonic() + PREDECESSOR_PATIENCE_S
        lock = FileLock(self._paths.driver_lock)
        while time.monotonic() < until and not self._stop_requests:
            with suppress(Timeout), lock.acquire(timeout=0):
                break
            self._pause(POLL_S)
        clean_up_after_the_dead(self._paths)

    def _say(self, **snapshot: Any) -> None:
        """Update values in the snapshot that displays read; on a full disk the snapshot stays as it was."""
        with suppress(OSError):
            write_json(self._paths.status, {**load_status(self._paths), "updated_at": time.time(), **snapshot})

    def _drivers(self) -> Ending:
        idle, dead, waits, ended_before = 0, 0, 0, -1
        while True:
            self._attend()
            if not self._wait_for_space():
                return Ending("stopped", "stopped on request while it waited for disk space")
            number, status = self._guarded_driver()
            if status != DriverExit.STORAGE_AWAY:
                with suppress(OSError):
                    self._paths.storage_away.unlink(missing_ok=True)
            snapshot = load_status(self._paths)
            if ending := self._ending(status, snapshot):
                return ending
            if status in (DriverExit.GO_ON, DriverExit.DISK_FULL, DriverExit.STORAGE_AWAY):
                idle, dead = 0, 0
                waits = waits + 1 if status != DriverExit.GO_ON else 0
                if waits:
                    doing = self._wait_a_while(status, waits)
                    if self._stop_requests:
                        return Ending("stopped", f"stopped on request while {doing}")
                continue
            ended_how = self._why_ended or f"ended with status {status}"
            why = f"driver {number}: {ended_how}; its log is {self._paths.driver_log(number)}"
            log.error("%s", why)
            if judge(self._spec.guard, self._reading()).action is not Action.GO_ON:
                continue  # perhaps the disk was full; the guard waits for space
            ended = sum(snapshot.get("outcomes", {}).values())
            idle = 0 if snapshot.get("driver") == number and snapshot.get("started") else idle + 1
            dead = 0 if ended > ended_before >= 0 else dead + 1
            ended_before = ended
            if idle >= MOST_IDLE_DRIVERS or dead >= MOST_FRUITLESS_DRIVERS:
                times = idle if idle >= MOST_IDLE_DRIVERS else dead
                return Ending("failed", f"{why}; the {times} last of them came to nothing")

    def _ending(self, status: int, snapshot: Mapping[str, Any]) -> Ending | None:
        """Return how the search ended, judged by a driver's exit status; None if another driver shall start."""
        if self._stop_requests > 1:
            return Ending("stopped", "ended at once, at the second request")
        if status == DriverExit.FINISHED:
            return Ending("finished", snapshot.get("finished") or "all trials have ended")
        if status == DriverExit.PAUSED:
            return Ending("paused", snapshot.get("paused") or "trials fail for a cause outside of them")
        if status in (DriverExit.STOPPED, DriverExit.TIME_IS_UP) or self._stop_requests:
            is_time_up = status == DriverExit.TIME_IS_UP
            return Ending("stopped", snapshot.get("stopped") or "stopped on request", is_time_up)
        return None

    def _wait_a_while(self, status: int, times: int) -> str:
        """Wait after a driver that could not write, longer each time in a row; return what was waited for."""
        doing = "waiting for disk space: a write failed"
        if status == DriverExit.STORAGE_AWAY:
            away = read_object(self._paths.storage_away) or {}
            doing = f"waiting for its storage: {away.get('reason', 'it cannot be reached')}"
        log.warning("%s", doing)
        self._say(doing=doing, running=[])
        self._pause(min(DISK_PAUSE_S * 2 ** min(times - 1, 9), MOST_DISK_PAUSE_S))
        return doing

    # -- space ----------------------------------------------------------------------------------------------------

    def _reading(self) -> Reading:
        return read_disks(folders_in_use(self._paths, self._scratch_root))

    def _wait_for_space(self) -> bool:
        """Wait until the disks satisfy the guard; return False if a stop is asked for meanwhile."""
        said, began = "", time.monotonic()
        while (verdict := judge(self._spec.guard, self._reading())).action is not Action.GO_ON:
            if verdict.reason != said:
                log.warning("waiting for disk space: %s", verdict.reason)
                self._say(doing=f"waiting for disk space: {verdict.reason}", running=[])
                if not said:
                    note_guard_event(self._paths, "waiting", reason=verdict.reason)
                    if freed := make_room(self._paths, verdict.roles):
                        log.info("deleted %.1f MB of W&B runs that are synced", freed / 1e6)
                        note_guard_event(self._paths, "cleaned", freed_bytes=freed, peak_bytes=freed)
                said = verdict.reason
            if self._stop_requests:
                return False
            self._attend()
            self._pause(POLL_S)
        if said:
            waited_s = time.monotonic() - began
            log.info("there is space again, after %.0f s", waited_s)
            note_guard_event(self._paths, "going_on", waited_s=round(waited_s, 1))
        return True

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._stop_requests:
            self._attend()
            time.sleep(min(POLL_S, seconds))

    # -- one driver -----------------------------------------------------------------------------------------------

    def _guarded_driver(self) -> tuple[int, int]:
        """Run one driver; return its number and exit status. A disk too full to start it is no failure."""
        number = self._paths.next_driver()
        try:
            return number, self._driver(number)
        except OSError as error:
            if not is_disk_full(error):
                raise
            log.warning("driver %d could not be started: %s", number, error)
            return number, DriverExit.DISK_FULL

    def _driver(self, number: int) -> int:
        """Run one driver to its end and clean up after it; return its exit status."""
        token = secrets.token_hex(16)
        facts = {"search": str(self._paths.root), "cpus": self._cpus, "pool": pool_id(), "token": token}
        scratch = Scratch.create(facts)
        log.info("driver %d: scratch %s", number, scratch.path)
        # -P: `-m` would put the working directory, which is the user's, before our own packages.
        command = [sys.executable, "-P", "-m", "cluster.driver.main"]
        job = "-" if self._paths.job is None else str(self._paths.job)
        command += [str(self._paths.root), job, str(number), str(scratch.path), str(os.getpid())]
        watcher = None
        try:
            self._paths.spool.mkdir(exist_ok=True)
            with self._paths.driver_log(number).open("ab") as output, usr2_held_back():
                driver = subprocess.Popen(
                    command,
                    env=driver_environment(self._spec, self._paths, scratch, token, self._cpus),
                    stdin=subprocess.PIPE,
                    bufsize=0,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            orders: IO[bytes] | None = driver.stdin
            assert orders is not None
            ray = RayServers(driver.pid, HEAD)
            watcher = Watcher(self._spec, self._paths, scratch, ray, lambda order: order.send(orders))
            with orders:
                status, seen = self._watch(driver, watcher, orders)
            self._why_ended = explain_end(status, seen, self._paths.driver_log(number), scratch.ray)
            return status
        finally:
            end_carrying(TOKEN, token)
            _reap()
            peak = watcher.peak_scratch_bytes if watcher else 0
            freed = scratch.delete()
            log.info("driver %d: %.1f MB of scratch freed", number, freed / 1e6)
            note_guard_event(self._paths, "cleaned", driver=number, freed_bytes=freed, peak_bytes=max(peak, freed))

    def _watch(self, driver: subprocess.Popen[bytes], watcher: Watcher, orders: IO[bytes]) -> tuple[int, str]:
        """Watch a driver until it ends; return its exit status, and why we ended it (empty if it ended by itself)."""
        heeded = 0
        while True:
            self._attend()
            if self._stop_requests > heeded:
                heeded = self._stop_requests
                if heeded > 1:
                    return -signal.SIGKILL, "ended on request"  # `_driver` ends what is left
                Order("stop", self._why_stop).send(orders)
            why = watcher.look()
            try:
                return driver.wait(EXIT_PATIENCE_S if why else POLL_S), ""  # Ray's servers end just before the driver
            except subprocess.TimeoutExpired:
                if why:
                    log.error("ending the driver at once: %s", why)
                    return -signal.SIGKILL, why
