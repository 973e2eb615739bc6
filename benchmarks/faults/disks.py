"""Filling a small disk up, with data or with empty files, and freeing it again."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.faults.misbehave import MB

BALLAST = "ballast"


@contextmanager
def fill_space(disk: Path, leave_mb: int) -> Iterator[Callable[[], None]]:
    """Fill a disk but for some MB; yields what fills it again, since others may have freed some. Freed at the end."""
    ballast = disk / BALLAST
    with ballast.open("wb") as file:

        def fill() -> None:
            while (free := os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - leave_mb * MB) > 0:
                try:
                    size = os.fstat(file.fileno()).st_size
                    os.posix_fallocate(file.fileno(), size, max(free // 2, min(free, 4096)))
                except OSError:  # others were faster
                    return

        try:
            fill()
            yield fill
        finally:
            ballast.unlink()


@contextmanager
def fill_inodes(disk: Path) -> Iterator[Callable[[], None]]:
    """Use every inode of a disk up; yields what uses up again those that others have freed. Freed at the end."""
    ballast = disk / BALLAST
    ballast.mkdir()
    count = 0

    def fill() -> None:
        nonlocal count
        with contextlib.suppress(OSError):
            while True:
                (ballast / f"{count:06d}").touch()
                count += 1

    try:
        fill()
        yield fill
    finally:
        shutil.rmtree(ballast)
