"""A search's folder of W&B runs: which trials were written, which runs were uploaded, and which may be deleted.

Two append-only files record this, each with one writer at a time: the tracker notes the runs that it begins and has
written, the sync those that it has uploaded. A writer that is killed leaves a line too many at most, never one too few.
"""

import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.machine.disks import used_bytes
from cluster.machine.files import repair_last_line
from cluster.state.paths import SearchPaths

SEARCH_DIRECTORY = "search directory"
"""The guard's name for the use of the disk that the spool is on."""


@dataclass(frozen=True)
class Run:
    """One run in the spool."""

    folder: str
    """Name of its folder."""
    trial: int | None = None
    """Its trial; None for a run that a method has made itself."""
    synced: bool = False
    """Whether W&B has it."""
    num_bytes: int = 0
    """Bytes that it takes on the disk; 0 once it is deleted."""


class Spool:
    """The files of one search's spool."""

    def __init__(self, paths: SearchPaths) -> None:
        self.root = paths.spool
        self.runs = self.root / "wandb"
        """W&B's own name for the folder of run folders."""
        self.staging = self.root / "staging"
        """Files that offline runs refer to until they are synced."""
        self.written = self.root / "written.jsonl"
        self.synced = self.root / "synced.jsonl"
        self.tracker_lock = self.root / "tracker.held"
        """The lock of the one process that writes runs, even if processes on several nodes want to."""
        self.sync_lock = self.root / "sync.lock"
        """The lock of the one process that uploads runs."""

    def make(self) -> None:
        """Create the folders, private to the user."""
        self.root.mkdir(exist_ok=True, mode=0o700)
        self.staging.mkdir(exist_ok=True)

    # -- the tracker's word ---------------------------------------------------------------------------------------

    def begin(self, trial: int, run: str) -> None:
        """Note that a trial's run is about to be written: until `wrote`, its folder may hold half a run."""
        _append(self.written, {"trial": trial, "run": run})

    def wrote(self, trial: int, run: str, folder: str, *, synced: bool = False) -> None:
        """Note that a trial's run is whole; `synced` says that it was uploaded while it was written."""
        _append(self.written, {"trial": trial, "run": run, "folder": folder, "synced": synced})

    def trials_written(self) -> dict[int, str]:
        """Return the run's folder for every trial whose run is whole."""
        return {entry["trial"]: entry["folder"] for entry in _entries(self.written) if "folder" in entry}

    def remove_unfinished(self) -> list[int]:
        """Remove the runs that a killed tracker began and did not finish; return their trials."""
        repair_last_line(self.written)
        whole = self.trials_written()
        begun = {entry["trial"]: entry["run"] for entry in _entries(self.written) if entry["trial"] not in whole}
        return [trial for trial, run in begun.items() if self.remove(run)]

    def remove(self, run: str) -> bool:
        """Remove all files of a run by its id; return whether there were any."""
        folders = [folder for folder in self._folders() if folder.name.endswith(f"-{run}")]
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        return bool(folders)

    # -- the sync's word ------------------------------------------------------------------------------------------

    def note_synced(self, folder: str) -> None:
        """Note that W&B has the run in a folder."""
        _append(self.synced, {"folder": folder, "at": round(time.time())})

    def folders_synced(self) -> set[str]:
        """Return the folders of the runs that W&B has."""
        online = {entry["folder"] for entry in _entries(self.written) if entry.get("synced")}
        return online | {entry["folder"] for entry in _entries(self.synced)}

    def transaction_log(self, folder: str) -> Path | None:
        """Return the file that holds a run; None if there is none."""
        return next((self.runs / folder).glob("*.wandb"), None)

    def is_marked(self, folder: str) -> bool:
        """Return whether W&B's sync has marked a run as uploaded completely."""
        return any((self.runs / folder).glob("*.wandb.synced"))

    # -- both -----------------------------------------------------------------------------------------------------

    def all_runs(self, *, of_methods: bool) -> list[Run]:
        """Return every run that was written completely, also those synced and deleted since.

        `of_methods` includes the runs that methods made themselves. Nothing says when these are complete, so only ask
        for them while no trial runs.
        """
        synced = self.folders_synced()
        trials = {folder: trial for trial, folder in self.trials_written().items()}
        begun = tuple(f"-{entry['run']}" for entry in _entries(self.written))
        names = dict.fromkeys(trials)
        if of_methods:
            others = (folder.name for folder in self._folders() if folder.name.startswith("offline-run-"))
            names |= dict.fromkeys(name for name in others if not (begun and name.endswith(begun)))
        return [Run(name, trials.get(name), name in synced, used_bytes(self.runs / name)) for name in names]

    def _folders(self) -> list[Path]:
        try:
            found = sorted(self.runs.iterdir())
        except FileNotFoundError:
            return []
        return [path for path in found if path.is_dir() and not path.is_symlink() and "run-" in path.name]


def delete_synced(paths: SearchPaths) -> int:
    """Delete the runs that W&B has; return the bytes freed.

    W&B's staged files do not say which run they belong to, so they are deleted once every run in the spool is synced.
    Nothing else is touched: a run that is not noted as synced exists only here.
    """
    spool, freed = Spool(paths), 0
    synced = spool.folders_synced()
    for name in synced:
        folder = spool.runs / name
        if Path(name).name == name and folder.is_dir() and not folder.is_symlink():
            freed += _remove(folder)
    if synced and not any(folder.name not in synced for folder in spool._folders()):
        freed += sum(_remove(entry) for entry in _children(spool.staging))
    return freed


def make_room(paths: SearchPaths, roles: Iterable[str]) -> int:
    """Delete the runs that W&B has if the search directory's disk is short of space; return the bytes freed.

    `roles` are what the disk that the guard found short of space is used for.
    """
    return delete_synced(paths) if SEARCH_DIRECTORY in roles else 0


def _remove(path: Path) -> int:
    before = used_bytes(path) if path.is_dir() else path.lstat().st_blocks * 512
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
    return before - (used_bytes(path) if path.exists() else 0)


def _children(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _append(file: Path, entry: dict[str, Any]) -> None:
    with file.open("a") as lines:
        lines.write(json.dumps(entry) + "\n")
        lines.flush()
        os.fsync(lines.fileno())


def _entries(file: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = file.read_text(errors="replace").splitlines(keepends=True)
    except FileNotFoundError:
        return
    for line in lines:
        if line.endswith("\n"):  # else it is unfinished, or torn by a kill
            with suppress(ValueError):
                if isinstance(entry := json.loads(line), dict):
                    yield entry
