"""The tracker: shows a search's trials as W&B runs, in its own process, so that W&B cannot fail or slow the search.

    python -P -m cluster.tracking.tracker ROOT

Reads the search's records, writes into the spool, and ends when its standard input is closed. Nothing is lost if
it dies: the next tracker, or `swell sync`, goes on where it was.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from cluster.state.paths import SearchPaths
from cluster.state.records import TrialRecord, load_spec
from cluster.state.shared_lock import LockLostError, SharedLock
from cluster.state.storage_errors import why_away
from cluster.tracking.source import Source
from cluster.tracking.spool import Spool
from search_spaces.spec import Spec
from trainables._shared.config import MethodConfig
from trainables._shared.discovery import load_config_type

log = logging.getLogger("cluster.tracking.tracker")

POLL_S = 2.0
OFFLINE_FOR_S = 300.0
"""How long runs are written offline after one could not be uploaded."""
PAUSE_S = 10.0
"""Pause after a run that could not be written, a full disk for instance; doubled each time."""
MOST_PAUSE_S = 300.0


class Tracker:
    """Shows the trials of one search; the process that holds the lock calls `look` again and again."""

    def __init__(self, spec: Spec, paths: SearchPaths, runs: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._spool = Spool(paths)
        for trial in self._spool.remove_unfinished():
            log.info("trial %d: removed half a run, of a tracker that was killed", trial)
        self._source = Source(paths, self._spool.trials_written())
        self._runs = runs
        self._online = spec.tracking.wandb == "online"
        self._live: dict[int, _Live] = {}
        self._clock = clock
        self._offline_until = -1.0
        self._failures = 0
        self._pause_until = -1.0

    @property
    def _is_paused(self) -> bool:
        """Return whether the tracker waits after a failure."""
        return self._clock() < self._pause_until

    def look(self, *, is_last: bool = False) -> bool:
        """Write every trial that has ended since the last look; return whether all could be written.

        With `online`, also upload new reports of running trials. The last look does not wait after a failure.
        """
        if self._is_paused and not is_last:
            return False
        self._pause_until = -1.0
        for record in self._records():
            if self._is_paused:
                return False
            try:
                self._show(record)
                self._failures = 0
            except Exception:  # W&B may raise anything: try the next trial
                log.exception("trial %d could not be written", record.number)
                self._recover(record.number)
        return not self._is_paused

    def _records(self) -> list[TrialRecord]:
        try:
            return self._source.look()
        except Exception as error:
            if not (reason := why_away(error)):
                raise
            log.warning("the storage cannot be reached: %s", reason)
            self._pause_until = self._clock() + PAUSE_S
            return []

    def close(self) -> None:
        """End the runs of stopped trials, which will be taken up again: W&B would count them as crashed."""
        for trial, live in self._live.items():
            with suppress(Exception):
                self._runs.stop(live.run)
            log.info("trial %d goes on when the search does", trial)
        self._live.clear()

    def _show(self, record: TrialRecord) -> None:
        if record.is_open:
            if self._may_upload and self._source.reports(record.number) and record.outcome is None:
                self._follow(record)
            return
        if self._may_upload and self._upload(record):
            return
        run = self._runs.id_of(record.number)
        self._spool.begin(record.number, run)
        folder = self._runs.write(record, self._source.reports(record.number))
        self._spool.wrote(record.number, run, folder.name)
        self._source.forget(record.number)

    def _recover(self, trial: int) -> None:
        """Remove an unfinished run, then wait, longer after each failure."""
        self._failures += 1
        self._pause_until = self._clock() + min(PAUSE_S * 2 ** (self._failures - 1), MOST_PAUSE_S)
        self._drop_live(trial)

    def _drop_live(self, trial: int) -> None:
        """Drop the runs that W&B holds, and the folders of unfinished runs."""
        self._runs.forget_service()
        for number in {trial, *self._live}:
            self._spool.remove(self._runs.id_of(number))
        self._live.clear()

    # -- online ---------------------------------------------------------------------------------------------------

    @property
    def _may_upload(self) -> bool:
        return self._online and self._clock() >= self._offline_until

    def _follow(self, record: TrialRecord) -> bool:
        """Upload a trial's new reports; return whether that succeeded."""
        run = self._runs.id_of(record.number)
        try:
            if record.number not in self._live:
                self._spool.begin(record.number, run)
                self._live[record.number] = _Live(self._runs.begin(record, online=True))
            live = self._live[record.number]
            reports = self._source.reports(record.number)
            self._runs.report(live.run, reports[live.num_reported :])
            live.num_reported = len(reports)
        except Exception as error:  # no network, no login, W&B down: write offline, sync later
            self._go_offline(record.number, error)
            return False
        return True

    def _upload(self, record: TrialRecord) -> bool:
        """Upload the rest of an ended trial; return whether all of it arrived."""
        if not self._follow(record):
            return False
        run = self._runs.id_of(record.number)
        live = self._live.pop(record.number)
        try:
            self._runs.end(live.run, record)
        except Exception as error:
            self._go_offline(record.number, error)
            return False
        self._spool.wrote(record.number, run, live.folder, synced=True)
        self._source.forget(record.number)
        return True

    def _go_offline(self, trial: int, error: Exception) -> None:
        log.warning("trial %d could not be uploaded, runs are written offline for now: %s", trial, error)
        self._offline_until = self._clock() + OFFLINE_FOR_S
        self._drop_live(trial)


class _Live:
    """A run that is being uploaded while its trial runs."""

    def __init__(self, run: Any) -> None:
        self.run = run
        self.num_reported = 0
        self.folder = Path(run.settings.sync_file).parent.name


def _config_type(spec: Spec) -> type[MethodConfig] | None:
    """Return the method's config class, which describes its metrics; None if it cannot be imported here."""
    try:
        return load_config_type(spec.trainable)
    except Exception as error:  # a user's module may raise anything
        log.warning("the metrics of %s have no descriptions: %s", spec.trainable, error)
        return None


def _wait_for_end(ended: threading.Event) -> None:
    sys.stdin.buffer.read()
    ended.set()


def main(root: Path) -> int:
    """Track a search until standard input is closed, then write the rest; return 0 if everything was written."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # the supervisor handles it, and closes our standard input
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    paths = SearchPaths(root)
    spec = load_spec(paths)
    spool = Spool(paths)
    spool.make()
    ended = threading.Event()
    threading.Thread(target=_wait_for_end, args=(ended,), daemon=True, name="end").start()
    lock = SharedLock(spool.tracker_lock)

    def gives_up(_pause_s: float) -> bool:
        """Wait for another job's tracker; return True once the search has ended here, unless that tracker is dead."""
        if ended.wait(POLL_S):
            if lock.saw_heartbeat:
                return True
            time.sleep(POLL_S)
        return False

    while lock.take(gives_up):  # of several jobs' trackers, one writes
        try:
            return _track(spec, paths, lock, ended)
        except LockLostError as error:
            log.warning("%s: this tracker was suspended, or cut off, for long", error)
        finally:
            lock.leave()
    return 0


def _track(spec: Spec, paths: SearchPaths, lock: SharedLock, ended: threading.Event) -> int:
    """Track while holding the lock; raises LockLostError if another tracker has taken over."""
    from cluster.tracking.run import Runs  # brings W&B

    runs = Runs(spec, paths, _config_type(spec))
    tracker = Tracker(spec, paths, runs)
    try:
        while not ended.wait(POLL_S):
            lock.check()
            tracker.look()
        lock.check()
        is_done = tracker.look(is_last=True)
        tracker.close()
    except LockLostError:
        runs.forget_service()
        raise
    return int(not is_done)


if __name__ == "__main__":
    status = main(Path(sys.argv[1]))
    logging.shutdown()
    os._exit(status)  # W&B's own exit may wait for an upload for ever
