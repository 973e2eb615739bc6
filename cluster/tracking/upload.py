"""Uploads a search's finished runs from a machine that reaches W&B, one at a time and each once.

The upload may be killed at any moment: W&B marks a run's file when it has all of it, only then is the run noted as
synced, and only runs noted so may ever be deleted.
"""

import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from cluster.jobs.standing import is_worked_on
from cluster.machine.files import repair_last_line
from cluster.machine.scratch import Scratch
from cluster.state.paths import SearchPaths
from cluster.state.records import load_spec
from cluster.tracking.spool import Run, Spool
from cluster.tracking.tracker_process import wandb_process
from cluster.tracking.upload_worker import NOT_LOGGED_IN, NOT_REACHED
from search_spaces.errors import UserError

log = logging.getLogger(__name__)

RUNS_A_PROCESS = 50
"""How many runs one process uploads: W&B takes 2 s to start, and a run that hangs holds up only these."""
SECONDS_A_RUN = 300.0
"""How long a run may take on average before its process is given up."""
LOOK_EVERY_S = 0.5


class SyncError(UserError):
    """The runs cannot be uploaded; the message says what the user can do. Nothing is lost."""


@dataclass
class Synced:
    """What one pass of uploads has achieved."""

    uploaded: list[str] = field(default_factory=list)
    """Folders of the runs that W&B has now."""
    failed: dict[str, str] = field(default_factory=dict)
    """The folders of the runs that W&B has not, with W&B's words."""


@contextmanager
def sync_lock(paths: SearchPaths) -> Iterator[None]:
    """Hold the lock of a search's sync; raises SyncError if another sync holds it."""
    spool = Spool(paths)
    spool.make()
    lock = FileLock(spool.sync_lock)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise SyncError(f"search {paths.name} is being synced by another process; one at a time") from None
    try:
        repair_last_line(spool.synced)
        yield
    finally:
        lock.release()


def check_can_sync(paths: SearchPaths) -> None:
    """Raise SyncError if a search has no runs because its spec asked for none."""
    if load_spec(paths).tracking.wandb == "disabled" and not Spool(paths).runs.is_dir():
        raise SyncError(f"search {paths.name} has no W&B runs: its spec has tracking.wandb: disabled")


def all_runs(paths: SearchPaths) -> list[Run]:
    """Return a search's complete runs; those that methods made themselves only once nobody works on the search."""
    return Spool(paths).all_runs(of_methods=not is_worked_on(paths))


def write_unwritten(paths: SearchPaths) -> None:
    """Write the missing runs of ended trials, whose tracker was killed or had no time left.

    Does nothing while a supervisor works on the search: its own tracker writes them. Raises SyncError if a run cannot
    be written.
    """
    if load_spec(paths).tracking.wandb == "disabled" or is_worked_on(paths):
        return
    with wandb_process(paths) as (environment, scratch):
        command = [sys.executable, "-P", "-m", "cluster.tracking.tracker", str(paths.root)]
        done = subprocess.run(
            command, env=environment, cwd=scratch.tmp, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
    if done.returncode:
        last = done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or ["it said nothing"]
        raise SyncError(f"not all runs of search {paths.name} could be written: {last[-1]}")


def upload(paths: SearchPaths, runs: Sequence[Run], say: Callable[[str], None] = lambda line: None) -> Synced:
    """Upload runs and note each that W&B has received; call `say` with a line about each.

    Raises SyncError if nobody is logged in, or if W&B cannot be reached.
    """
    spool, result = Spool(paths), Synced()
    waiting = []
    for run in runs:  # uploaded by a sync that was killed before noting it
        if spool.is_marked(run.folder):
            _note(spool, run.folder, result, say)
        else:
            waiting.append(run.folder)
    for batch in _batches(waiting):
        _upload_batch(paths, batch, result, say)
    return result


def _batches(folders: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(folders), RUNS_A_PROCESS):
        yield list(folders[start : start + RUNS_A_PROCESS])


def _upload_batch(paths: SearchPaths, batch: list[str], result: Synced, say: Callable[[str], None]) -> None:
    spool = Spool(paths)
    files = {folder: file for folder in batch if (file := spool.transaction_log(folder)) is not None}
    result.failed |= {folder: "its file is missing" for folder in batch if folder not in files}
    if not files:
        return
    with wandb_process(paths) as (environment, scratch):
        for folder in files:  # W&B puts a summary and the configuration there
            (spool.runs / folder / "files").mkdir(exist_ok=True)
        status, said = _run(environment, scratch, files, lambda folder: _note(spool, folder, result, say), spool)
    if status == NOT_LOGGED_IN:
        raise SyncError(f"not logged in to W&B: run `wandb login`, or set WANDB_API_KEY ({_reason(said)})")
    if status == NOT_REACHED:
        raise SyncError(f"W&B cannot be reached, or refuses the login: {_reason(said)}")
    for folder in files:
        if folder not in result.uploaded:
            result.failed[folder] = _reason(said)
            say(f"failed    {folder}: {_reason(said)}")


def _run(
    environment: dict[str, str], scratch: Scratch, files: dict[str, Path], note: Callable[[str], None], spool: Spool
) -> tuple[int, str]:
    """Upload files in a process of their own; note each when W&B marks it; return the exit status and the output."""
    left, log_file = set(files), scratch.tmp / "upload.log"
    command = [sys.executable, "-P", "-m", "cluster.tracking.upload_worker", *map(str, files.values())]
    with log_file.open("wb") as output:
        process = subprocess.Popen(
            command,
            # Nobody reads its logs; it reads only the spool's staged files from there.
            env=environment | {"WANDB_DIR": str(scratch.wandb)},
            cwd=scratch.tmp,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    assert process.stdin is not None
    give_up = time.monotonic() + SECONDS_A_RUN * max(len(files), 2)
    with process.stdin:
        while True:
            has_ended = process.poll() is not None
            for folder in sorted(left):
                if spool.is_marked(folder):
                    note(folder)
                    left.remove(folder)
            if has_ended or time.monotonic() > give_up:
                break
            time.sleep(LOOK_EVERY_S)
    if process.poll() is None:
        process.kill()
    return process.wait(), log_file.read_text(errors="replace")


def _note(spool: Spool, folder: str, result: Synced, say: Callable[[str], None]) -> None:
    spool.note_synced(folder)
    result.uploaded.append(folder)
    say(f"uploaded  {folder}")


def _reason(said: str) -> str:
    """Return the last error in W&B's output, else its last line."""
    lines = [line.removeprefix("wandb:").strip() for line in said.splitlines()]
    errors = [line.removeprefix("ERROR").strip() for line in lines if line.startswith(("ERROR", "Error"))]
    found = [line for line in (errors if any(errors) else lines) if line]
    return (found or ["W&B said nothing"])[-1][:300]
