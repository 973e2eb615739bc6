"""`swell sync`: uploads a search's finished W&B runs, prints the results, and deletes synced runs if asked."""

import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from cluster.console import Console
from cluster.jobs.standing import is_worked_on, load_snapshot, standing_of
from cluster.state.paths import SearchPaths
from cluster.tracking.spool import Run, delete_synced
from cluster.tracking.upload import Synced, SyncError, all_runs, check_can_sync, sync_lock, upload, write_unwritten

FAILED, INTERRUPTED = 1, 130
WATCH_EVERY_S = 30.0
MOST_FRUITLESS = 5
"""Watching ends after this many passes in a row that upload nothing of an ended search."""
MOST_FAILURES_SHOWN = 10


def sync_command(
    paths: SearchPaths,
    *,
    watch: bool = False,
    dry_run: bool = False,
    delete: bool = False,
    console: Console,
    errors: Console,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Upload finished runs, with `watch` until the search has ended and all are synced; return the exit status.

    0: all finished runs are synced; 1: some runs failed; 130: interrupted. Raises SyncError if no run could be
    uploaded.
    """
    with suppress(ValueError):  # raised outside the main thread
        signal.signal(signal.SIGINT, signal.default_int_handler)  # so that we can clean up and report
    try:
        check_can_sync(paths)
        if dry_run:
            _show(console, paths, Synced())
            return 0
        with sync_lock(paths):
            result = _sync(paths, console, errors, watch=watch, sleep=sleep)
            if delete:
                console.print(f"{decimal(delete_synced(paths))} of synced runs deleted")
    except KeyboardInterrupt:
        _print(errors, f"Interrupted; what is uploaded is noted. Go on with: swell sync {paths.name}")
        return INTERRUPTED
    _show(console, paths, result)
    return FAILED if result.failed else 0


def _sync(
    paths: SearchPaths, console: Console, errors: Console, *, watch: bool, sleep: Callable[[float], None]
) -> Synced:
    """Upload once, or with `watch` again and again, also after a network was away for a while."""
    total, fruitless = Synced(), 0
    while True:
        # Before the look: what ends later is seen at the next. A supervisor whose search is finished still waits for
        # its tracker.
        is_active = is_worked_on(paths) or standing_of(paths, load_snapshot(paths)).is_active
        try:
            write_unwritten(paths)
            waiting = [run for run in all_runs(paths) if not run.synced]
            result = upload(paths, waiting, lambda line: _print(console, line))
            total.uploaded += result.uploaded
            total.failed = result.failed
            fruitless = fruitless + 1 if result.failed and not result.uploaded else 0
        except SyncError as error:
            if not watch:
                raise
            _print(errors, f"{error}; trying again in {WATCH_EVERY_S:.0f} s")
            is_active = True
        if not watch or not (is_active or (total.failed and fruitless < MOST_FRUITLESS)):
            return total
        sleep(WATCH_EVERY_S)


def _show(console: Console, paths: SearchPaths, result: Synced) -> None:
    for line in failures(result):
        _print(console, line)
    console.print(table(all_runs(paths), result))


def failures(result: Synced) -> list[str]:
    """Return a line for each reason that runs failed for, with the number of runs."""
    reasons = Counter(result.failed.values()).most_common(MOST_FAILURES_SHOWN)
    return [f"{number} not uploaded: {reason}" for reason, number in reasons]


def table(runs: Sequence[Run], result: Synced) -> Table:
    """Return a table of how many runs are in which state, and of their size on the disk."""
    states: dict[str, list[Run]] = {"uploaded now": [], "synced before": [], "deleted": [], "failed": [], "waiting": []}
    for run in runs:
        states[_state(run, result)].append(run)
    found = Table("runs", "number", "on disk", box=None, pad_edge=False)
    for state, ones in states.items():
        if ones:
            found.add_row(state, str(len(ones)), decimal(sum(run.num_bytes for run in ones)))
    found.add_row("all", str(len(runs)), decimal(sum(run.num_bytes for run in runs)))
    return found


def _state(run: Run, result: Synced) -> str:
    if run.synced and not run.num_bytes:
        return "deleted"
    if run.synced:
        return "uploaded now" if run.folder in result.uploaded else "synced before"
    return "failed" if run.folder in result.failed else "waiting"


def _print(console: Console, line: str) -> None:
    console.print(Text(line), soft_wrap=True)
