"""Reads how much space and how many inodes are free on the file systems in use, and how much our scratch takes."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Disk:
    """One file system in use."""

    path: Path
    """A folder on it."""
    roles: tuple[str, ...]
    """What it is used for: `search directory`, `scratch`, `node cache`."""
    free_bytes: int
    """Space that this user may still fill."""
    total_bytes: int
    free_inodes: int
    total_inodes: int
    """0 on a file system that has no fixed number of them."""


@dataclass(frozen=True)
class Reading:
    """The file systems in use at one moment, and the bytes of our own scratch."""

    disks: tuple[Disk, ...]
    scratch_bytes: int = 0


def read_disks(folders: Mapping[str, Path], scratch: Path | None = None) -> Reading:
    """Return the file systems of some folders, given by what each is used for, and the bytes that our scratch takes.

    Each file system comes once, with all its uses. For a folder that does not exist yet, its nearest parent counts; a
    folder that cannot be read now (a network's hiccup) is left out.
    """
    found: dict[int, tuple[Path, list[str]]] = {}
    for role, folder in folders.items():
        with suppress(OSError):
            place = nearest(folder)
            _, roles = found.setdefault(place.stat().st_dev, (place, []))
            roles.append(role)
    disks = []
    for path, roles in found.values():
        with suppress(OSError):
            disks.append(_disk(path, tuple(roles)))
    return Reading(tuple(disks), used_bytes(scratch) if scratch is not None else 0)


def nearest(folder: Path) -> Path:
    """Return the folder, or its nearest parent that exists."""
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())


def _disk(path: Path, roles: tuple[str, ...]) -> Disk:
    figures = os.statvfs(path)
    return Disk(
        path,
        roles,
        free_bytes=figures.f_bavail * figures.f_frsize,
        total_bytes=figures.f_blocks * figures.f_frsize,
        free_inodes=figures.f_favail,
        total_inodes=figures.f_files,
    )


def used_bytes(folder: Path) -> int:
    """Return the bytes that a folder takes on the disk."""
    total = 0
    for place, _, files in os.walk(folder):
        for file in files:
            try:
                total += os.lstat(os.path.join(place, file)).st_blocks * 512  # noqa: PTH118  # 3x faster
            except OSError:  # gone meanwhile
                continue
    return total
