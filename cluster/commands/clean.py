"""Finds and deletes what killed searches, Ray and W&B leave behind, if it is proved to be unused.

What cannot be proved unused is kept, with the reason. Symbolic links are never followed.
"""

import json
import math
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.machine.files import read_json
from cluster.machine.open_files import Uses, began_before, look, shared_file_system
from cluster.machine.processes import is_alive
from cluster.machine.scratch import OWNER_FILE, PREFIX, scratch_root
from cluster.state.paths import SearchPaths, is_search, searches_root

SCRATCH, UNFINISHED, RAY, WANDB = "scratch", "unfinished file", "Ray session", "W&B folder"
WHY_DELETED = {
    SCRATCH: "its owner has ended and nothing uses it",
    UNFINISHED: "its writer was killed",
    RAY: "nothing uses it",
    WANDB: "nothing uses it",
}
NAMES = {
    SCRATCH: re.compile(re.escape(PREFIX) + r"[a-z0-9_]{8}"),
    UNFINISHED: re.compile(r"\.[A-Za-z0-9._-]+\.(\d+)\.tmp"),
    RAY: re.compile(r"session_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_\d{6}_\d+"),
    # Python's TemporaryDirectory("wandb-media"), ("wandb-artifacts"), and wandb-core's folder of its socket, which
    # has the process ids of the run and of wandb-core. Run directories are named otherwise: they are data.
    WANDB: re.compile(r"tmp[a-z0-9_]{8}wandb-(?:media|artifacts)|wandb-(\d+)-(\d+)-\d+"),
}
FINISHED_AFTER_S = 3600.0
"""No write takes this long: a younger unfinished file may be one that another host is writing."""
OWNER_KEYS = {"pid": int, "start": str, "host": str, "boot": str}


@dataclass(frozen=True)
class Places:
    """Where to look."""

    scratch: tuple[Path, ...] = ()
    searches: Path | None = None
    ray: tuple[Path, ...] = ()
    wandb: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Leftover:
    """A file or folder that was left behind, or looks so."""

    path: Path
    kind: str
    num_bytes: int
    """Bytes that deleting it would free: blocks on the disk, not lengths of files."""
    newest_mtime: float
    """When anything in it was last modified, in seconds since the epoch."""
    keep_because: str = ""
    """Why it must stay; empty if it may go."""


@dataclass(frozen=True)
class Deletion:
    """The result of deleting a leftover."""

    leftover: Leftover
    """The leftover as it was just before, when it perhaps had to be kept."""
    freed_bytes: int = 0
    errors: tuple[str, ...] = ()


def own_places(*, foreign: bool) -> Places:
    """Return the places where this user's leftovers may be; Ray's and W&B's only if `foreign`.

    Raises ScratchError if `$SWELL_SCRATCH` cannot be used.
    """
    system = Path(tempfile.gettempdir()).resolve()
    scratch, searches = _distinct(scratch_root(), system), searches_root().resolve()
    if not foreign:
        return Places(scratch, searches)
    ray = [Path("/tmp/ray"), system / "ray"]
    if own := os.environ.get("RAY_TMPDIR"):
        ray += [Path(own), Path(own) / "ray"]
    return Places(scratch, searches, _distinct(*(place.resolve() for place in ray)), (system,))


def _distinct(*paths: Path) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(paths))


def find(places: Places, older_than_h: float) -> list[Leftover]:
    """Return everything left behind, with a reason for each that must stay.

    A folder of Ray's or W&B's must stay if anything in it was modified within `older_than_h` hours.
    """
    candidates = list(_candidates(places))
    uses = look({path.name for _, path in candidates})
    found = (_examine(kind, path, uses, older_than_h) for kind, path in candidates)
    return [leftover for leftover in found if leftover is not None]


def delete(leftover: Leftover, older_than_h: float) -> Deletion:
    """Examine a leftover again, and delete it if it may still go."""
    path = leftover.path
    now = _examine(leftover.kind, path, look({path.name}), older_than_h)
    if now is None:  # someone else has deleted it
        return Deletion(leftover)
    if now.keep_because:
        return Deletion(now)
    errors = _remove(path)
    left = _measure(path).num_bytes if errors and os.path.lexists(path) else 0
    return Deletion(now, now.num_bytes - left, tuple(errors))


def _candidates(places: Places) -> Iterator[tuple[str, Path]]:
    """Yield this user's real files and folders (no links) with the right names in the right places, by kind."""
    for kind, roots in ((SCRATCH, places.scratch), (RAY, places.ray), (WANDB, places.wandb)):
        for root in roots:
            yield from ((kind, path) for path in _entries(root) if _is_ours(path, kind))
    for search in _entries(places.searches) if places.searches else ():
        if is_search(search) and not search.is_symlink():
            for folder, _, files in os.walk(search):
                paths = (Path(folder) / file for file in files)
                yield from ((UNFINISHED, path) for path in paths if _is_ours(path, UNFINISHED))


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # missing, or another user's
        return []


def _is_ours(path: Path, kind: str) -> bool:
    if not NAMES[kind].fullmatch(path.name):
        return False
    try:
        status = path.lstat()
    except OSError:
        return False
    is_file = kind == UNFINISHED
    return status.st_uid == os.getuid() and (status.st_mode & 0o170000) == (0o100000 if is_file else 0o040000)


def _examine(kind: str, path: Path, uses: Uses, older_than_h: float) -> Leftover | None:
    """Return a candidate, with the reason to keep it if there is one; None if it is gone or not ours."""
    if not _is_ours(path, kind):
        return None
    tree = _measure(path)
    if tree.newest_mtime == -math.inf:  # gone by now
        return None
    reason = REASONS[kind](path, tree, uses, older_than_h)
    if not reason and tree.other_user is not None:
        reason = f"files of another user, {tree.other_user}, are in it"
    return Leftover(path, kind, tree.num_bytes, tree.newest_mtime, reason)


@dataclass
class _Tree:
    """What was found by walking through a file or folder."""

    num_bytes: int = 0
    newest_mtime: float = -math.inf
    other_user: int | None = None
    whole: bool = True


def _measure(path: Path) -> _Tree:
    tree, links, todo = _Tree(), dict[tuple[int, int], int](), [path]
    while todo:
        at = todo.pop()
        try:
            status = at.lstat()
            tree.newest_mtime = max(tree.newest_mtime, status.st_mtime)
            if status.st_uid != os.getuid():
                tree.other_user = status.st_uid
            if (status.st_mode & 0o170000) == 0o040000:
                todo += at.iterdir()
            elif status.st_nlink > 1:  # blocks are freed with a file's last name
                links[status.st_dev, status.st_ino] = links.get((status.st_dev, status.st_ino), 0) + 1
                if links[status.st_dev, status.st_ino] < status.st_nlink:
                    continue
            tree.num_bytes += status.st_blocks * 512
        except FileNotFoundError:  # gone meanwhile
            continue
        except OSError:
            tree.whole = False
    return tree


def _why_keep_scratch(path: Path, tree: _Tree, uses: Uses, older_than_h: float) -> str:
    """Return why to keep a scratch folder: its owner lives, or may live; identified by kernel ticks, not by a clock."""
    if not os.path.lexists(path / OWNER_FILE):
        return "it carries no owner file"
    owner = _owner(path / OWNER_FILE)
    if owner is None:
        return "its owner file is damaged"
    alive = is_alive(owner)
    if alive is None:
        return f"its owner ran on {owner['host']}, which cannot be seen from here"
    return f"its owner, process {owner['pid']}, lives" if alive else uses.by_name.get(path.name, "")


def _owner(file: Path) -> Mapping[str, Any] | None:
    """Return the identity of a scratch folder's owner; None if its owner file does not say."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor) as source:
            owner = json.load(source) if os.fstat(descriptor).st_uid == os.getuid() else None
    except (OSError, ValueError):
        return None
    whole = isinstance(owner, dict) and all(type(owner.get(key)) is kind for key, kind in OWNER_KEYS.items())
    return owner if whole else None


def _why_keep_unfinished(path: Path, tree: _Tree, uses: Uses, older_than_h: float) -> str:
    """Return why to keep an unfinished file: its writer may live.

    Only the writer's process id is known, and it may have run on another host; so everything must speak for its death.
    """
    try:
        search = SearchPaths(next(folder for folder in path.parents if is_search(folder)))
        supervisor = read_json(search.supervisor_record)
        if supervisor is not None and is_alive(supervisor) is not False:
            return f"process {supervisor['pid']} on {supervisor['host']} works on this search"
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return "it cannot be read who works on this search"
    if not time.time() - tree.newest_mtime >= FINISHED_AFTER_S:
        return "it may still be being written: it is less than an hour old"
    writer = int(path.name.split(".")[-2])
    if began_before(writer, tree.newest_mtime):
        return f"process {writer}, which may be writing it, lives"
    return uses.by_name.get(path.name, "")


def _why_keep_ray(path: Path, tree: _Tree, uses: Uses, older_than_h: float) -> str:
    if use := uses.by_name.get(path.name):
        return use
    if uses.unreadable:
        return f"process {uses.unreadable[0]} of this user cannot be looked into and may use it"
    if not tree.whole:
        return "not everything in it can be read"
    if shared := shared_file_system(path):
        return f"other machines may use it: it lies on {shared}"
    age_h = (time.time() - tree.newest_mtime) / 3600
    if not age_h >= older_than_h:  # also if either is NaN
        return f"it was modified in the last {older_than_h:g} h"
    return ""


def _why_keep_wandb(path: Path, tree: _Tree, uses: Uses, older_than_h: float) -> str:
    """Return why to keep a folder of W&B's.

    The rules are Ray's; but as a run does not keep these folders open, any Python process that is old enough may own
    it.
    """
    if reason := _why_keep_ray(path, tree, uses, older_than_h):
        return reason
    named = NAMES[WANDB].fullmatch(path.name)
    pids = [int(pid) for pid in named.groups() if pid] if named else []
    for pid in pids or uses.python:
        if began_before(pid, tree.newest_mtime):
            return f"process {pid}, which may own it, lives"
    return ""


REASONS: Mapping[str, Callable[[Path, _Tree, Uses, float], str]] = {
    SCRATCH: _why_keep_scratch,
    UNFINISHED: _why_keep_unfinished,
    RAY: _why_keep_ray,
    WANDB: _why_keep_wandb,
}


def _remove(path: Path) -> list[str]:
    """Remove a file or a folder with everything in it; return what could not be removed.

    The owner file goes last, so that a folder that is only half deleted is still known as ours.
    """
    errors: list[str] = []

    def note(_function: object, at: str, raised: tuple[Any, BaseException, Any]) -> None:
        error = raised[1]
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            errors.append(f"{at}: {error.strerror}")

    def remove(at: Path) -> None:
        if at.is_dir() and not at.is_symlink():
            shutil.rmtree(at, onerror=note)  # never follows a link
            return
        try:
            at.unlink(missing_ok=True)
        except OSError as error:
            errors.append(f"{at}: {error.strerror}")

    for entry in [] if path.is_file() else _entries(path):
        if entry.name != OWNER_FILE:
            remove(entry)
    if not errors:
        remove(path)
    return errors
