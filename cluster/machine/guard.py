"""The disk guard's policy: decides by a reading of the disks what a wave must do; reads nothing itself."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from cluster.machine.disks import Disk, Reading
from search_spaces.sections import Guard

GB = 1e9
MOST_MIN_FREE_GB = 5.0
MOST_MIN_FREE_INODES = 50_000
MOST_MAX_SCRATCH_GB = 100.0
STOP_SHARE = 0.25
"""Trials are stopped when less than this share is left of the space below which a wave ends early."""
STOP_SCRATCH = 1.5
"""Trials are stopped when scratch is this many times what ends a wave early."""


class Action(IntEnum):
    """What the guard wants done; a larger value is more urgent."""

    GO_ON = 0
    END_WAVE = 1
    """Start no trial, let the running ones finish, clean up."""
    STOP_TRIALS = 2
    """Save and stop the running trials, clean up."""


@dataclass(frozen=True)
class Verdict:
    """What the guard wants done, and why in words."""

    action: Action
    reason: str = ""
    roles: tuple[str, ...] = ()
    """The uses of the disk that the verdict is about."""


@dataclass(frozen=True)
class Limits:
    """The guard's limits on one file system."""

    min_free_gb: float
    stop_free_gb: float
    min_free_inodes: float
    stop_free_inodes: float


def limits_on(guard: Guard, disk: Disk) -> Limits:
    """Return a spec's limits on one file system; `auto` depends on its size."""
    min_free = guard.min_free_gb
    if min_free == "auto":
        min_free = min(MOST_MIN_FREE_GB, 0.1 * disk.total_bytes / GB)
    if guard.stop_free_gb == "auto":
        stop_free = STOP_SHARE * min_free
    else:
        stop_free = guard.stop_free_gb
        min_free = max(min_free, stop_free)
    inodes = guard.min_free_inodes
    if inodes == "auto":
        inodes = min(MOST_MIN_FREE_INODES, disk.total_inodes / 20)
    return Limits(min_free, stop_free, inodes, STOP_SHARE * inodes)


def max_scratch_gb(guard: Guard, reading: Reading) -> float:
    """Return the most scratch, in GB, that we may use; `auto` depends on the size of its file system."""
    if guard.max_scratch_gb != "auto":
        return guard.max_scratch_gb
    sizes = [disk.total_bytes / GB for disk in reading.disks if "scratch" in disk.roles and disk.total_bytes]
    return min([MOST_MAX_SCRATCH_GB, *(size / 2 for size in sizes)])


def judge(guard: Guard, reading: Reading) -> Verdict:
    """Return the most urgent action that any file system in a reading, or our own scratch, calls for."""
    return max(_verdicts(guard, reading), key=lambda verdict: verdict.action, default=Verdict(Action.GO_ON))


def _verdicts(guard: Guard, reading: Reading) -> Iterable[Verdict]:
    for disk in reading.disks:
        limits = limits_on(guard, disk)
        free_gb = disk.free_bytes / GB
        action = Action.GO_ON
        if disk.total_bytes:  # some file systems do not say
            action = _action(-free_gb, -limits.min_free_gb, -limits.stop_free_gb)
        needs = limits.min_free_gb if action is Action.END_WAVE else limits.stop_free_gb
        where = f"{' and '.join(disk.roles)} ({disk.path})"
        yield Verdict(action, f"{where}: {free_gb:.3g} GB free, below {needs:.3g}" if action else "", disk.roles)
        if not disk.total_inodes:  # the file system makes inodes as it needs them
            continue
        action = _action(-disk.free_inodes, -limits.min_free_inodes, -limits.stop_free_inodes)
        inodes = limits.min_free_inodes if action is Action.END_WAVE else limits.stop_free_inodes
        yield Verdict(
            action, f"{where}: {disk.free_inodes} inodes free, below {inodes:.0f}" if action else "", tuple(disk.roles)
        )
    used, most = reading.scratch_bytes / GB, max_scratch_gb(guard, reading)
    action = _action(used, most, STOP_SCRATCH * most)
    yield Verdict(action, f"our scratch takes {used:.3g} GB, more than {most:.3g}" if action else "")


def _action(value: float, soft: float, hard: float) -> Action:
    """Return the action for a value that should stay below its limits."""
    return Action.STOP_TRIALS if value > hard else Action.END_WAVE if value > soft else Action.GO_ON
