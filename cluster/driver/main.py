"""The wave driver: one process that starts Ray, runs waves of trials on it, and ends.

Run as `python -P -m cluster.driver.main SEARCH JOB DRIVER SCRATCH SUPERVISOR`, `-` for the only job and the last a
process id, with its thread caps in the environment already, and the supervisor's orders on its standard input.
"""

import contextlib
import gc
import logging
import os
import signal
import sys
import time
from pathlib import Path

from filelock import FileLock

from cluster.machine.files import remove_unfinished, write_json
from cluster.machine.processes import end_carrying, follow
from cluster.machine.scratch import Scratch
from cluster.state.outcomes import is_disk_full
from cluster.state.paths import SearchPaths
from cluster.state.records import load_spec
from cluster.state.snapshot import load_status
from cluster.state.storage_errors import note_away
from cluster.wire.orders import PREDECESSOR_PATIENCE_S, DriverExit
from cluster.worker.directory import enter_working_directory
from cluster.worker.environment import TOKEN
from trainables._shared.discovery import load_config_type

log = logging.getLogger(__name__)


def follow_supervisor(supervisor: int) -> None:
    """Stop this process when its supervisor dies, so that nobody trains on unsupervised.

    Until the driver can drain, the stop is an exception, so that what the driver has started is cleaned up. USR2, by
    which a queue warns every process of a job, is ignored here: only the supervisor handles it. Ray's processes inherit
    that it is ignored, and would die of it otherwise.
    """
    signal.signal(signal.SIGTERM, lambda signum, _: sys.exit(128 + signum))
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})  # as the supervisor has passed it on
    follow(supervisor)


def clean_up_orphan(supervisor: int, scratch: Scratch) -> None:
    """End Ray's processes and delete the scratch in the supervisor's place, if it has died."""
    if os.getppid() != supervisor:
        end_carrying(TOKEN, os.environ[TOKEN])
        scratch.delete()


def _import_trouble(trainable: str) -> str:
    """Return why a method cannot be imported, which another driver could not change; empty if it can."""
    try:
        load_config_type(trainable)
    except (Exception, SystemExit) as error:  # a user's own module may raise anything
        log.exception("%s cannot be imported", trainable)
        return f"{trainable} cannot be imported: {type(error).__name__}: {error}"
    return ""


def main(argv: list[str]) -> int:
    """Run one session; the exit status says how it ended, and the study has its results."""
    # What modules make stays: looking for cycles in it each time that 700 objects have come is a sixth of importing it.
    gc.set_threshold(50_000, 20, 20)
    search, job, number, scratch_path, supervisor = argv
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    follow_supervisor(int(supervisor))
    enter_working_directory()
    paths, scratch = SearchPaths(Path(search), None if job == "-" else int(job)), Scratch(Path(scratch_path))
    try:
        lock = FileLock(paths.driver_lock)
        lock.acquire(timeout=PREDECESSOR_PATIENCE_S)  # until this process ends
        for folder in (paths.root, paths.checkpoints) if paths.job is None else ():  # not if other jobs write there too
            remove_unfinished(folder)
        spec = load_spec(paths)
        if why := _import_trouble(spec.trainable):
            said = {"doing": "paused", "paused": why, "running": [], "driver": int(number)}
            write_json(paths.status, {**load_status(paths), "updated_at": time.time(), **said})
            return DriverExit.PAUSED
        from cluster.driver.session import Session  # imports Optuna

        with contextlib.closing(Session(paths, spec, scratch, int(number), int(supervisor))) as session:
            return session.run()
    except Exception as error:
        if note_away(paths.storage_away, error):
            log.exception("the storage cannot be reached")
            return DriverExit.STORAGE_AWAY
        if not is_disk_full(error):
            raise
        log.exception("a disk is full")
        return DriverExit.DISK_FULL


if __name__ == "__main__":
    try:
        status = main(sys.argv[1:])
    finally:
        sys.stdout.flush()
        clean_up_orphan(int(sys.argv[5]), Scratch(Path(sys.argv[4])))
    # Ray's own shutdown at exit takes 1.4 s; the supervisor ends what is left of this process's group and scratch.
    os._exit(status)
