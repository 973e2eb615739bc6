"""A driver's session: one Ray of our own, and the waves that run on it one after the other."""

import contextlib
import json
import logging
import os
import signal
import time
from collections.abc import Callable

from cluster.driver.board import Board
from cluster.driver.deadline import Deadline
from cluster.driver.kept import Kept
from cluster.driver.lost import LostWorkers
from cluster.driver.nodes import Nodes
from cluster.driver.ray_head import LOOPBACK, num_ray_nodes, start_ray
from cluster.driver.wave import Wave
from cluster.jobs.place import INCARNATION, NODES, address_for_others, node_name
from cluster.machine.allocation import allocation_left_s
from cluster.machine.capacity import Capacity
from cluster.machine.disks import read_disks
from cluster.machine.guard import Action, judge
from cluster.machine.liveness import Liveness
from cluster.machine.scratch import Scratch
from cluster.state.guarding import folders_in_use
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from cluster.study.study import SearchStudy
from cluster.wire.heartbeats import wait_for_workers
from cluster.wire.links import Exchange
from cluster.wire.meeting import Meeting
from cluster.wire.orders import PREDECESSOR_PATIENCE_S, DriverExit, Order, Orders
from search_spaces.spec import Spec
from trainables._shared.discovery import load_config_type

log = logging.getLogger(__name__)

RESTART_RAY_TRIALS = 2000
DOUBT_S = 15.0
"""How long a lost worker is not charged to its trial in a job: the whole job may be ending, which shows later."""


def wave_size(spec: Spec, num_slots: int) -> int:
    """Return how many trials a wave has: many per slot by default, so that few slots idle at its end."""
    return spec.waves.trials if isinstance(spec.waves.trials, int) else max(100, 16 * num_slots)


class OrphanedError(RuntimeError):
    """The supervisor has died, and its driver could not end in order."""


class Session:
    """Runs waves one after the other on one Ray of our own."""

    def __init__(self, paths: SearchPaths, spec: Spec, scratch: Scratch, driver: int, supervisor: int) -> None:
        self._supervisor = supervisor
        self._supervision = Liveness(supervisor)
        self._paths = paths
        self._spec = spec
        self._scratch = scratch
        self._driver = driver
        # Not `sys.stdin`: the thread that reads would hold its lock, which Python wants when it ends.
        self._stop = ""
        """Why this driver was asked to end; empty if it was not."""
        self._can_drain = False
        """Whether Ray has started: until then a stop ends this process at once, and costs no trial anything."""
        self._orders = Orders(open(0, "rb", buffering=0, closefd=False), self._drain)  # noqa: SIM115 - as long as we run
        self._started = time.monotonic()
        self._ray_start_s: float | None = None
        self._study = SearchStudy(paths, spec, load_config_type(spec.trainable))
        if self._study.repaired_bytes:
            log.warning("cut a torn last line of %d bytes off the journal", self._study.repaired_bytes)
        self._capacity = Capacity.here(spec.resources)
        for record in self._study.records():
            if record.outcome is not Outcome.OUT_OF_MEMORY:
                self._capacity.learn(record.peak_memory_mb / 1e3)
        allocation_s = allocation_left_s()
        self._allocation_ends = None if allocation_s is None else time.monotonic() + allocation_s
        self._deadline = Deadline(self._left_s)
        self._board = Board(self._study, paths, driver)
        self._lost = LostWorkers(scratch)
        self._num_nodes = int(os.environ.get(NODES, "1"))
        self._nodes: Nodes | None = None

    @property
    def _allocation_left_s(self) -> float | None:
        return None if self._allocation_ends is None else self._allocation_ends - time.monotonic()

    def _left_s(self) -> float | None:
        """Return the seconds until the budget's hours or the job's time are used up, whichever is first."""
        ends = (self._study.tally.hours_left_s, self._allocation_left_s)
        return min((left for left in ends if left is not None), default=None)

    def run(self) -> DriverExit:
        """Run wave after wave until the search ends, is stopped, or needs a new Ray; return which."""
        self._tick()
        if reason := self._study.finished():
            Kept(self._study, self._paths)  # what the last driver had not yet deleted when it was killed
            return self._conclude(finished=reason)
        self._board.write(doing="starting Ray")
        address = address_for_others() if self._num_nodes > 1 else LOOPBACK
        most = self._capacity.most
        left = most if self._study.num_left is None else self._study.num_left
        head = start_ray(self._spec, self._scratch, most, min(most, self._capacity.slots, left), address)
        if self._num_nodes > 1:
            self._meet(head, address)
        self._ray_start_s = time.monotonic() - self._started
        signal.signal(signal.SIGTERM, self._on_signal)  # after ray.init, which sets a handler of its own
        self._can_drain = True
        try:
            return self._waves()
        finally:
            if self._nodes is not None:
                self._paths.session.unlink(missing_ok=True)
                self._nodes.close()

    def _meet(self, head: str, address: str) -> None:
        """Let the supervisors of further nodes join, and wait for them for a while."""
        exchange = Exchange(address)
        self._nodes = Nodes(exchange, self._orders, self._capacity)
        token = os.environ["RAY_AUTH_TOKEN"]
        here = os.environ[INCARNATION]
        Meeting(here, self._driver, head, token, exchange.address, exchange.key.hex()).publish(self._paths)
        self._board.write(doing="waiting for the other nodes")
        self._nodes.wait(self._num_nodes - 1, num_ray_nodes, self._tick)

    def _waves(self) -> DriverExit:
        most = self._spec.waves.restart_ray_trials
        while True:
            wave = self._wave()
            if reason := self._study.finished():
                return self._conclude(finished=reason)
            if wave.is_out_of_time:
                return self._out_of_time()
            if wave.is_paused:
                return self._conclude(paused=wave.draining)
            if wave.draining and wave.stop_outcome is not Outcome.DISK_FULL:
                return self._conclude(stopped=wave.draining)
            restart = self._board.num_started >= (RESTART_RAY_TRIALS if most == "auto" else most)
            if wave.found_disk_full:
                return DriverExit.DISK_FULL
            if wave.draining or restart or not wave.num_started or (wave.ending and not self._has_space()):
                return DriverExit.GO_ON

    def close(self) -> None:
        """Leave the trials that still run to other drivers of the search."""
        self._study.close()

    def _wave(self) -> Wave:
        """Run one wave, and clean up what its workers have left."""
        number = self._paths.next_wave()
        size = wave_size(self._spec, self._capacity.total)
        explain, take = self._explain_loss, self._take_orders
        in_job = self._num_nodes > 1 or self._allocation_ends is not None
        wave = Wave(
            self._study, self._paths, number, size, self._capacity, self._deadline, explain, take,
            doubt_s=DOUBT_S if in_job else 0.0,
        )  # fmt: skip
        self._board.wave = wave
        self._paths.run_permit.touch()
        if self._stop:  # the stop came between two waves
            wave.drain(self._stop)
        try:
            most = max(self._capacity.total, self._capacity.most * self._num_nodes)  # nodes may join meanwhile
            from cluster.driver.tune_bridge import (
                run_trials,  # imports Ray Tune: only once the search goes on
            )

            run_trials(wave, self._spec, self._scratch, most, self._tick)
        finally:
            wave.close()
        self._study.save_active()
        self._board.num_started += wave.num_started
        self._board.write(doing="between two waves")
        freed = self._clean()
        figures = {**wave.figures(), "driver": self._driver, "freed_mb": round(freed / 1e6, 3)}
        if self._ray_start_s is not None:
            figures["ray_start_s"] = round(self._ray_start_s, 2)
            self._ray_start_s = None
        self._study.add_wave(figures)
        log.info("wave %d: %s", number, json.dumps(figures))
        return wave

    def _clean(self) -> int:
        wait_for_workers(self._scratch.heartbeats)
        freed = self._scratch.empty()
        self._capacity.measure()  # no trial runs: measure what they may use
        self._tick()
        return freed + (self._nodes.clean(self._tick) if self._nodes is not None else 0)

    def _take_orders(self, obey: Callable[[Order], None]) -> None:
        """Call `obey` with each order of the supervisors of all nodes."""
        if self._nodes is not None:
            self._nodes.tick()
        self._orders.take(obey)

    def _explain_loss(self, trial: int) -> tuple[Outcome, str]:
        """Return why a trial's worker died if its node's supervisor has given no reason."""
        wave = self._board.wave
        last = wave.running.get(trial, {}) if wave is not None else {}
        node = last.get("host", "")
        elsewhere = self._nodes if node != node_name() else None
        if elsewhere is not None and (why := elsewhere.explain_loss(node, last.get("began", 0.0))):
            return why
        if node not in ("", node_name()):
            return Outcome.WORKER_LOST, f"its worker process on {node} died"
        return self._lost.explain(trial)

    def _has_space(self) -> bool:
        """Return whether there is space after cleaning up; if not, Ray's own files must go too."""
        scratch = self._scratch.path
        verdict = judge(self._spec.guard, read_disks(folders_in_use(self._paths, scratch), scratch))
        log.info("after cleaning up: %s", verdict.reason or "there is space")
        return verdict.action is Action.GO_ON

    def _out_of_time(self) -> DriverExit:
        hours_s, allocation_s = self._study.tally.hours_left_s, self._allocation_left_s
        if hours_s is not None and (allocation_s is None or hours_s <= allocation_s):
            self._study.use_up_hours()
            return self._conclude(finished=self._study.finished())
        self._conclude(stopped="the job's time is up")
        return DriverExit.TIME_IS_UP

    def _conclude(self, finished: str = "", stopped: str = "", paused: str = "") -> DriverExit:
        self._board.write(finished=finished, stopped=stopped, paused=paused)
        return DriverExit.FINISHED if finished else DriverExit.PAUSED if paused else DriverExit.STOPPED

    def _on_signal(self, signum: int, _frame: object) -> None:
        self._drain(f"stopped by {signal.Signals(signum).name}")

    def _drain(self, reason: str) -> None:
        """Stop the search and make the trials save; may be called by any thread, whatever the driver is doing."""
        self._stop = reason
        if not self._can_drain:
            os.kill(os.getpid(), signal.SIGTERM)
            return
        wave = self._board.wave
        if wave is not None:
            wave.drain(reason)

    def _is_orphan_too_long(self) -> bool:
        """Return whether the supervisor has been dead so long that a worker must be hanging."""
        if os.getppid() == self._supervisor:
            self._supervision.note_alive()
        return self._supervision.silent_s > PREDECESSOR_PATIENCE_S

    def _tick(self) -> None:
        """Check the clock and the supervisor's orders, and give a heartbeat."""
        with contextlib.suppress(OSError):
            self._scratch.driver_heartbeat.touch()
        if self._is_orphan_too_long():
            raise OrphanedError("the supervisor has died, and not every trial has saved since")
        if self._nodes is not None:
            self._nodes.tick()
        wave = self._board.wave
        if wave is not None:
            self._orders.take(wave.obey)
            wave.watch_budget()
            self._board.tick()
