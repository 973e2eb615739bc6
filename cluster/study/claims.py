"""Which of several drivers on one study owns a running trial, and whether that driver lives."""

import contextlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

from optuna.trial import FrozenTrial, Trial

from cluster.machine.files import read_object, write_json
from cluster.machine.liveness import Liveness, touched_at
from cluster.machine.processes import identity, is_alive
from cluster.state.notes import OWNER, Owner
from cluster.state.paths import SearchPaths

log = logging.getLogger(__name__)

PATIENCE_S = 90.0
"""A driver without a heartbeat for this long counts as dead, and others take over its trials."""
HEARTBEAT_EVERY_S = 5.0


class Claims:
    """The trials that this driver has claimed, and the heartbeats by which drivers of one study see each other live.

    A claim is a note on the trial; the last one counts. A driver makes it while it holds the study's lock, after
    reading the study anew. Clocks of different machines are never compared: a driver counts as dead if its heartbeat
    has not changed for PATIENCE_S by the watcher's clock. It counts as dead at once if its process is visible from here
    and gone, or if its job has a later driver.

    A driver that was suspended may lose a trial to another driver. It learns so when the trial reports next, and stops
    it. Until then both workers may save the same checkpoint: two states of the same training, of which the earlier may
    win.
    """

    def __init__(
        self,
        paths: SearchPaths,
        patience_s: float = PATIENCE_S,
        beat_every_s: float = HEARTBEAT_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        assert paths.job is not None
        self._paths = paths
        self._patience_s = patience_s
        self._every_s = min(beat_every_s, patience_s / 4)
        self._clock = clock
        self._run = secrets.token_hex(8)
        self._drivers: dict[int, Liveness] = {}
        """How long the driver of each other job has been silent, by the job's number."""
        self._over = threading.Event()
        paths.make_own()
        self.beat()
        self._thread = threading.Thread(target=self._live, daemon=True, name="heartbeat")
        self._thread.start()

    # -- claims ---------------------------------------------------------------------------------------------------

    def take(self, trial: Trial) -> None:
        """Claim a trial; the caller must hold the study's lock."""
        OWNER.write(trial, {"job": self._paths.job, "run": self._run})

    def release(self, trial: Trial) -> None:
        """Give up the claim to a trial, so that any driver may take it."""
        OWNER.write(trial, None)

    def has(self, trial: FrozenTrial) -> bool:
        """Return whether this driver owns a trial."""
        return not trial.state.is_finished() and self._is_own(OWNER.of(trial))

    def had(self, trial: FrozenTrial) -> bool:
        """Return whether this driver owned a trial when it ended."""
        return self._is_own(OWNER.of(trial))

    def is_free(self, trial: FrozenTrial) -> bool:
        """Return whether this driver may take over an open trial that it does not run.

        It may if the trial has no owner, a dead owner, or is ours from an ask that lost the study's lock.
        """
        owner = OWNER.of(trial)
        return owner is None or self._is_own(owner) or self._is_dead(owner)

    def _is_own(self, owner: Owner | None) -> bool:
        return owner is not None and owner["run"] == self._run

    def _is_dead(self, owner: Owner) -> bool:
        job = owner["job"]
        assert job is not None  # a single job claims nothing
        if job == self._paths.job:
            return True  # a job has one driver at a time: this one, so the owner has died
        driver = _driver_of(self._paths, job)
        if driver.get("run", owner["run"]) != owner["run"]:
            return True
        if "pid" in driver and is_alive(driver) is False:
            return True
        return self._silent_s(job) > self._patience_s

    def _silent_s(self, job: int) -> float:
        touched = touched_at(SearchPaths(self._paths.root, job).driver_heartbeat)
        liveness = self._drivers.get(job)
        if liveness is None:
            # If this process was suspended, it missed the other drivers' heartbeats: that time does not count.
            liveness = self._drivers[job] = Liveness(touched, 2 * self._every_s, self._clock)
        liveness.see(touched)
        return liveness.silent_s

    # -- heartbeats --------------------------------------------------------------------------------------------

    def beat(self) -> None:
        """Show the other drivers that this one lives; works on a full disk."""
        heartbeat = self._paths.driver_heartbeat
        with contextlib.suppress(OSError):
            if (read_object(heartbeat) or {}).get("run") != self._run:
                write_json(heartbeat, {**identity(), "run": self._run})
            os.utime(heartbeat)

    def look(self) -> None:
        """Read the other drivers' heartbeats."""
        for other in self._paths.of_jobs():
            assert other.job is not None
            self._silent_s(other.job)

    def _live(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                self.look()
            if self._over.wait(self._every_s):
                return
            self.beat()

    def close(self) -> None:
        """Stop giving heartbeats."""
        self._over.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            self._paths.driver_heartbeat.unlink(missing_ok=True)


def _driver_of(paths: SearchPaths, job: int) -> dict[str, Any]:
    """Return the identity of a job's driver; empty if the driver has ended or its file cannot be read now."""
    try:
        return read_object(SearchPaths(paths.root, job).driver_heartbeat) or {}
    except OSError:
        return {}
