"""Whose a running trial is, of several drivers on one study, and whether its driver lives."""

import contextlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from optuna.trial import FrozenTrial, Trial

from cluster.machine.files import read_json, write_json
from cluster.machine.processes import identity, is_alive
from cluster.state.paths import SearchPaths

log = logging.getLogger(__name__)

PATIENCE_S = 90.0
"""A driver that has given no sign for so long is taken to be dead, and its trials are taken over."""
SIGN_EVERY_S = 5.0


class Claims:
    """The trials that this driver has claimed, and the signs by which drivers see of each other that they live.

    A claim is a note on the trial; the last one counts. It is made while the study's lock is held, after a look at what
    the study says by then. Nobody's clock is compared with another's: a driver is dead when its sign has not changed
    for so long by the clock of who looks, or at once where its process can be seen from here to be gone, or where
    another driver of the same job has come after it.

    A driver that was only suspended sees at the next report of a trial that it is another's, and stops it. What is left
    then: until that report its worker may save the same checkpoint as the other's, a state of the same training, at
    worst an earlier one.
    """

    def __init__(
        self,
        paths: SearchPaths,
        patience_s: float = PATIENCE_S,
        sign_every_s: float = SIGN_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        assert paths.job is not None
        self._paths = paths
        self._patience_s = patience_s
        self._every_s = min(sign_every_s, patience_s / 4)
        self._clock = clock
        self._run = secrets.token_hex(8)
        self._seen: dict[int, tuple[Any, float]] = {}
        """The sign of each job that is still waited for, and since when it is as it is."""
        self._looked_at = clock()
        self._over = threading.Event()
        paths.make_own()
        self.give_sign()
        self._thread = threading.Thread(target=self._live, daemon=True, name="sign")
        self._thread.start()

    # -- claims ---------------------------------------------------------------------------------------------------

    def take(self, trial: Trial) -> None:
        """Claim a trial; only with the study's lock."""
        trial.set_user_attr("owner", {"job": self._paths.job, "run": self._run})

    def release(self, trial: Trial) -> None:
        """Leave a trial to whoever comes first."""
        trial.set_user_attr("owner", None)

    def has(self, trial: FrozenTrial) -> bool:
        """Whether a trial is this driver's."""
        return not trial.state.is_finished() and self._is_own(trial.user_attrs.get("owner"))

    def had(self, trial: FrozenTrial) -> bool:
        """Whether a trial was this driver's when it ended."""
        return self._is_own(trial.user_attrs.get("owner"))

    def is_free(self, trial: FrozenTrial) -> bool:
        """Whether an open trial that does not run here is to be taken up: nobody's, or a dead driver's.

        One of its own was asked for in vain, when the study's lock was lost over it.
        """
        owner = trial.user_attrs.get("owner")
        return owner is None or self._is_own(owner) or self._is_dead(owner)

    def _is_own(self, owner: Mapping[str, Any] | None) -> bool:
        return owner is not None and owner["run"] == self._run

    def _is_dead(self, owner: Mapping[str, Any]) -> bool:
        job = owner["job"]
        if job == self._paths.job:
            return True  # a job has one driver at a time, and this is it
        sign = _sign(self._paths, job)
        driver = sign[0] or {}
        if driver.get("run", owner["run"]) != owner["run"]:
            return True
        if "pid" in driver and is_alive(driver) is False:
            return True
        now, (before, since) = self._clock(), self._seen.get(job, (None, self._clock()))
        # Where this process was suspended itself, it must look anew before it can say that another is silent.
        return before == sign and now - since > self._patience_s and now - self._looked_at < self._patience_s / 2

    # -- signs of life --------------------------------------------------------------------------------------------

    def give_sign(self) -> None:
        """Show that this driver lives; a full disk does not keep it from that."""
        sign = self._paths.driver_sign
        with contextlib.suppress(OSError):
            if (read_json(sign) or {}).get("run") != self._run:
                write_json(sign, {**identity(), "run": self._run})
            os.utime(sign)

    def look(self) -> None:
        """Look at the others' signs."""
        now = self._clock()
        if now - self._looked_at > self._patience_s / 2:
            self._seen.clear()  # this process was suspended itself, and has missed the others' signs
        self._looked_at = now
        for other in self._paths.of_jobs():
            assert other.job is not None
            sign = _sign(self._paths, other.job)
            if other.job not in self._seen or self._seen[other.job][0] != sign:
                self._seen[other.job] = (sign, now)

    def _live(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                self.look()
            if self._over.wait(self._every_s):
                return
            self.give_sign()

    def close(self) -> None:
        """Give no more signs."""
        self._over.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            self._paths.driver_sign.unlink(missing_ok=True)


def _sign(paths: SearchPaths, job: int) -> tuple[dict[str, Any] | None, int]:
    """Return a job's sign: who its driver is, and when it was touched, by the file server's clock.

    It is opened, not only looked up: that is when NFS asks the server.
    """
    path = SearchPaths(paths.root, job).driver_sign
    try:
        with path.open("rb") as file:
            touched = os.fstat(file.fileno()).st_mtime_ns
        return read_json(path), touched
    except OSError:
        return None, 0
