"""Reads how much memory this machine and its control groups allow, and how much of it is free."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster.machine.resources import CGROUPS, MEMBERSHIP, control_groups

FILES = (("memory.max", "memory.current", ""), ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"))
"""Of control groups version 2 and 1: the limit, the usage, and how keys of `memory.stat` begin for a whole subtree."""


@dataclass(frozen=True)
class Machine:
    """The machine's memory in bytes: the total, and what the kernel estimates to be free for new processes."""

    total: float
    available: float


def read_machine() -> Machine:
    """Return the machine's memory, not counting the limits of control groups."""
    import psutil  # takes 20 ms

    memory = psutil.virtual_memory()
    return Machine(memory.total, memory.available)


def total_memory_gb(root: Path = CGROUPS, membership: Path = MEMBERSHIP, machine: Machine | None = None) -> float:
    """Return the memory in GB that all processes here may use: the machine's, or a control group's limit if less."""
    limits = [limit for limit, _ in _limited_groups(root, membership)]
    return min([(machine or read_machine()).total, *limits]) / 1e9


def available_memory_gb(root: Path = CGROUPS, membership: Path = MEMBERSHIP, machine: Machine | None = None) -> float:
    """Return the memory in GB free for new processes: the kernel's estimate, or a control group's rest if less."""
    free = [limit - used for limit, used in _limited_groups(root, membership)]
    return max(min([(machine or read_machine()).available, *free]), 0.0) / 1e9


def out_of_memory_kills(root: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """Return how many processes of our control group the kernel has killed because memory ran out."""
    kills = 0
    for folder in control_groups("memory", root, membership):
        for name in ("memory.events", "memory.oom_control"):
            kills = max(kills, int(_stat(folder / name).get("oom_kill", 0)))
    return kills


def _limited_groups(root: Path, membership: Path) -> Iterator[tuple[float, float]]:
    """Yield the limit and usage in bytes of each control group with a limit, not counting file cache it could drop."""
    for folder in control_groups("memory", root, membership):
        for limit_file, usage_file, prefix in FILES:
            try:
                limit = float((folder / limit_file).read_text().replace("max", "inf"))
                used = float((folder / usage_file).read_text())
            except (OSError, ValueError):
                continue
            stat = _stat(folder / "memory.stat")
            kept = stat.get(f"{prefix}inactive_file", 0.0) + stat.get(f"{prefix}active_file", 0.0)
            kept += stat.get("slab_reclaimable", 0.0)
            if math.isfinite(limit):
                yield limit, max(used - kept, 0.0)


def _stat(file: Path) -> dict[str, float]:
    try:
        lines = [line.split() for line in file.read_text().splitlines()]
    except OSError:
        return {}
    return {line[0]: float(line[1]) for line in lines if len(line) == 2}


def resident_gb(pid: int) -> float:
    """Return a process's resident memory in GB; 0 if it has ended."""
    import psutil

    try:
        return psutil.Process(pid).memory_info().rss / 1e9
    except psutil.Error:
        return 0.0


def peak_memory_mb() -> float:
    """Return this process's peak resident memory since it began, or since the count was reset.

    `getrusage` keeps its count over an exec: it would include the peak of the process that started this one.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0
