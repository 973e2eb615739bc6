"""Node-local scratch: one short, owned folder for everything disposable of a wave, deleted when the wave is over."""

import contextlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cluster.machine.disks import used_bytes
from cluster.machine.processes import identity, is_alive
from search_spaces.errors import UserError
from trainables._shared.node_cache import default_cache

OWNER_FILE = "owner.json"
PREFIX = "swell-"

LONGEST_ROOT = 43 - len("/swell-12345678/r")
"""Characters of a root below which Ray's socket paths, 64 more, stay within a socket's 107 bytes."""


class ScratchError(UserError):
    """The folder for scratch or for the node's cache cannot be used; the message says why."""


def scratch_folder() -> Path:
    """Return the folder in which scratch folders belong: `$SWELL_SCRATCH`, else the system's temporary folder."""
    return Path(os.environ.get("SWELL_SCRATCH") or tempfile.gettempdir())


def scratch_root() -> Path:
    """Return the folder in which scratch folders are made; creates it if it is missing.

    Raises ScratchError if it cannot be used.
    """
    root = scratch_folder().resolve()
    if len(str(root)) > LONGEST_ROOT:
        raise ScratchError(
            f"scratch folder {root} has {len(str(root))} characters, at most {LONGEST_ROOT} are allowed: Ray's sockets "
            "lie below it. Set SWELL_SCRATCH to a shorter path"
        )
    return private_folder(scratch_folder(), "scratch folder", "SWELL_SCRATCH")


def node_cache() -> Path:
    """Return this node's folder of data sets and compiled programs; creates it if it is missing.

    Raises ScratchError if it cannot be used, or if others can write there: programs in it are executed.
    """
    return private_folder(default_cache(), "node cache", "SWELL_CACHE")


def private_folder(path: Path, what: str, variable: str) -> Path:
    """Return a folder with its links resolved; creates it for this user alone if it is missing.

    `what` names the folder and `variable` the setting for it in messages. Raises ScratchError if the folder cannot be
    used, or if other users can change it: a name such as /tmp/swell-$USER is known to everybody on a node, and someone
    else may have made it first.
    """
    root = path.resolve()
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        trouble = others_can_change(path)
    except OSError as error:
        raise ScratchError(f"{what} {root} cannot be made: {error.strerror}. Set {variable}") from error
    if trouble:
        raise ScratchError(f"{what} {path} {trouble}, or set {variable} to a folder of your own")
    if not os.access(root, os.W_OK | os.X_OK):
        raise ScratchError(f"{what} {root} is not writable. Set {variable} to one that is")
    return root


def others_can_change(path: Path) -> str:
    """Return why other users can replace files in a folder, and what to do about it; empty if they cannot.

    In a sticky folder such as /tmp everybody can add files, but nobody can replace another user's.
    """
    for found in (path.lstat(), path.stat()):  # if it is a link: the link, then its target
        if found.st_uid not in (os.geteuid(), 0):
            return f"belongs to another user (id {found.st_uid}): have it deleted"
    mode = path.stat().st_mode
    if mode & (stat.S_IWGRP | stat.S_IWOTH) and not mode & stat.S_ISVTX:
        return f"can be written to by others: chmod go-w {path}"
    return ""


def living_owners(root: Path) -> list[dict[str, Any]]:
    """Return the owner files below a root whose processes, other than this one, are alive on this machine."""
    return [owner for _, owner in _owners(root) if owner["pid"] != os.getpid() and is_alive(owner)]


def orphans(root: Path, search: str) -> "list[tuple[Scratch, str]]":
    """Return the scratch folders of a search below a root whose owners have died on this machine, with their tokens."""
    return [
        (Scratch(folder), str(owner.get("token")))
        for folder, owner in _owners(root)
        if owner.get("search") == search and is_alive(owner) is False
    ]


def _owners(root: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for file in root.glob(f"{PREFIX}*/{OWNER_FILE}"):
        try:
            owner = json.loads(file.read_text())
            is_alive(owner)
            yield file.parent, owner
        except (OSError, ValueError, KeyError, TypeError):  # another user's, being written, or damaged
            continue


class Scratch:
    """One wave's scratch folder: Ray's sessions, Tune's directory and TMPDIR."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, facts: Mapping[str, Any]) -> "Scratch":
        """Make a new folder, owned by this process and private to its user; `facts` go into its owner file too."""
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=scratch_root()))
        try:
            return cls._furnish(path, facts)
        except OSError:  # a full disk: leave nothing half made
            shutil.rmtree(path, ignore_errors=True)
            raise

    @classmethod
    def _furnish(cls, path: Path, facts: Mapping[str, Any]) -> "Scratch":
        (path / OWNER_FILE).write_text(json.dumps({**identity(), **facts}))
        scratch = cls(path)
        for folder in (scratch.ray, scratch.tune, scratch.tmp, scratch.heartbeats, scratch.wandb):
            folder.mkdir()
        return scratch

    @property
    def ray(self) -> Path:
        """Ray's temporary directory."""
        return self.path / "r"

    @property
    def tune(self) -> Path:
        """Ray Tune's own directory; we never read anything in it."""
        return self.path / "tune"

    @property
    def tmp(self) -> Path:
        """TMPDIR of the driver and its workers."""
        return self.path / "tmp"

    @property
    def heartbeats(self) -> Path:
        """Folder of the heartbeats of the driver and its workers."""
        return self.path / "heartbeats"

    @property
    def driver_heartbeat(self) -> Path:
        """The driver's heartbeat, which it touches at every turn of its loop."""
        return self.heartbeats / "driver"

    @property
    def wandb(self) -> Path:
        """W&B's caches; its runs, and what a later sync needs, are never here."""
        return self.path / "wandb"

    def keep_fresh(self) -> None:
        """Touch files that do not change by themselves, since some machines delete old files from temporary folders."""
        for path in (self.path / OWNER_FILE, self.ray, self.tune, self.tmp, self.heartbeats, self.wandb):
            with contextlib.suppress(OSError):
                os.utime(path)

    def empty(self) -> int:
        """Delete what the workers of one wave have left, while Ray goes on; return the bytes freed."""
        freed = 0
        for folder in (self.tune, self.tmp, self.heartbeats, self.wandb):
            folder.mkdir(exist_ok=True)
            freed += used_bytes(folder)
            for entry in folder.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    with contextlib.suppress(OSError):
                        entry.unlink()
            freed -= used_bytes(folder)
        return freed

    def delete(self) -> int:
        """Delete the folder if it carries our owner file; return the bytes freed."""
        if not (self.path / OWNER_FILE).is_file():
            return 0
        freed = used_bytes(self.path)
        for entry in self.path.iterdir():  # the owner file last: until then the folder is known as ours
            if entry.name != OWNER_FILE:
                shutil.rmtree(entry, ignore_errors=True)
        shutil.rmtree(self.path, ignore_errors=True)
        return freed
