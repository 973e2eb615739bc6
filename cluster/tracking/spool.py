"""W&B's folder of a search: which trials are written there as runs, which of them are uploaded, and may be deleted.

Two append-only files say so, each with one writer at a time: the tracker's says what it begins and has written, the
sync's what it has uploaded. Whoever is killed leaves a line too many at most, never one too few.
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
"""What the guard calls the disk that the spool lies on."""


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
    """What it takes on the disk; 0 once it is deleted."""


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
        """Held by the one process that writes runs, also where those of several nodes want to."""
        self.sync_lock = self.root / "sync.lock"
        """Held by the one process that uploads them."""

    def make(self) -> None:
        """Create the folders, private to the user."""
        self.root.mkdir(exist_ok=True, mode=0o700)
        self.staging.mkdir(exist_ok=True)

    # -- the tracker's word ---------------------------------------------------------------------------------------

    def begin(self, trial: int, run: str) -> None:
        """Note that the run of a trial is about to be written: from here on its folder may be half a run."""
        _append(self.written, {"trial": trial, "run": run})

    def wrote(self, trial: int, run: str, folder: str, *, synced: bool = False) -> None:
        """Note that a trial's run is whole, and with `synced` that it was uploaded as it was written."""
        _append(self.written, {"trial": trial, "run": run, "folder": folder, "synced": synced})

    def trials_written(self) -> dict[int, str]:
        """Return the folder of every trial that is written whole."""
        return {entry["trial"]: entry["folder"] for entry in _entries(self.written) if "folder" in entry}

    def remove_unfinished(self) -> list[int]:
        """Remove the run folders that a killed tracker has begun and not finished; return their trials."""
        repair_last_line(self.written)
        whole = self.trials_written()
        begun = {entry["trial"]: entry["run"] for entry in _entries(self.written) if entry["trial"] not in whole}
        return [trial for trial, run in begun.items() if self.remove(run)]

    def remove(self, run: str) -> bool:
        """Remove what there is of a run by its id; return whether there was anything."""
        folders = [folder for folder in self._folders() if folder.name.endswith(f"-{run}")]
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        return bool(folders)

    # -- the sync's word ------------------------------------------------------------------------------------------

    def note_synced(self, folder: str) -> None:
        """Note that W&B has a run."""
        _append(self.synced, {"folder": folder, "at": round(time.time())})

    def folders_synced(self) -> set[str]:
        """Return the folders that W&B has."""
        online = {entry["folder"] for entry in _entries(self.written) if entry.get("synced")}
        return online | {entry["folder"] for entry in _entries(self.synced)}

    def transaction_log(self, folder: str) -> Path | None:
        """Return the file that a run consists of; None if there is none."""
        return next((self.runs / folder).glob("*.wandb"), None)

    def is_marked(self, folder: str) -> bool:
        """Whether W&B's own sync has left its mark on a run: it has uploaded all of it."""
        return any((self.runs / folder).glob("*.wandb.synced"))

    # -- both -----------------------------------------------------------------------------------------------------

    def all_runs(self, *, of_methods: bool) -> list[Run]:
        """Return every run that is written whole, also those synced and deleted since.

        With `of_methods` those too that methods have made themselves: of these it is not known when they are whole, so
        only while no trial runs.
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
    """Delete the runs that W&B has, and return the bytes freed.

    Staged files are not told apart by run, so they go when every run in the spool is synced. Nothing else is touched:
    what is not noted as synced exists nowhere but here.
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
    """Delete the runs that W&B has if the guard lacks space on the search directory's disk; return the bytes freed.

    `roles` are the guard's: what the disk is used for that lacks space.
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
        if line.endswith("\n"):  # else it is being written, or was torn by a kill
            with suppress(ValueError):
                if isinstance(entry := json.loads(line), dict):
                    yield entry
