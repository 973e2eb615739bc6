"""What `swell doctor` finds of a search's folders and the file systems they are on."""

import contextlib
import fcntl
import os
import re
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.machine.disks import Disk, Reading, nearest, read_disks
from cluster.machine.findings import Finding, Verdict
from cluster.machine.guard import GB, Action, judge, limits_on, max_scratch_gb
from cluster.machine.scratch import others_can_change, scratch_folder
from cluster.state.paths import searches_root
from search_spaces.sections import Guard
from trainables._shared.node_cache import default_cache

DISKS = "Disks"
SEARCHES, SCRATCH, CACHE = "search directory", "scratch", "node cache"
VARIABLES = {SEARCHES: "SWELL_ROOT", SCRATCH: "SWELL_SCRATCH", CACHE: "SWELL_CACHE"}
NETWORK = frozenset(
    {"nfs", "nfs4", "lustre", "gpfs", "beegfs", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "panfs", "pvfs2"}
    | {"orangefs", "wekafs", "9p", "sshfs", "juicefs", "gcsfuse", "s3fs"}
)
"""The kernel's names, without `fuse.`, of file systems that are on another machine."""
LITTLE = 2.0
"""With less free space than this many times the guard's limit, a wave would soon end early."""


def folders() -> dict[str, Path]:
    """Return the folders of searches, of scratch and of the node's cache, by their roles, without creating any."""
    # Not through cluster.machine.scratch.scratch_root: it refuses the very folders that must be explained here.
    scratch = scratch_folder()
    return {
        role: path.resolve() for role, path in zip(VARIABLES, (searches_root(), scratch, default_cache()), strict=True)
    }


@dataclass(frozen=True)
class Mount:
    """Where a file system is mounted, and its type."""

    point: Path
    type: str

    @property
    def is_network(self) -> bool:
        """Whether the files are on another machine."""
        return self.type.removeprefix("fuse.") in NETWORK


def mount_of(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> Mount:
    """Return the mount that a folder is on: of the mount points above it the longest, the last if it is there twice."""
    best = Mount(Path("/"), "unknown")
    for line in mounts.read_text().splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[1]))
        if folder.is_relative_to(point) and len(point.parts) >= len(best.point.parts):
            best = Mount(point, fields[2])
    return best


@dataclass(frozen=True)
class Writing:
    """The result of writing a file into a folder: `failure` says why that failed, `lock_failure` why locking failed."""

    fsync_ms: float = 0.0
    failure: str = ""
    lock_failure: str = ""


def try_writing(folder: Path) -> Writing:
    """Write, sync, lock and delete a small file in a folder, or in its nearest parent if it does not exist yet."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=".swell-doctor-", dir=nearest(folder))
    except OSError as error:
        return Writing(failure=error.strerror or str(error))
    lock_failure = ""
    try:
        start = time.perf_counter()
        os.write(descriptor, b"x" * 4096)
        os.fsync(descriptor)
        elapsed = time.perf_counter() - start
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock_failure = error.strerror or str(error)
    except OSError as error:  # full, or over quota
        return Writing(failure=error.strerror or str(error))
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            Path(name).unlink()
    return Writing(1000 * elapsed, lock_failure=lock_failure)


@dataclass(frozen=True)
class Folder:
    """A folder of ours: where it is, and how writing to it went."""

    role: str
    path: Path
    exists: bool
    mount: Mount
    writing: Writing
    shared: str = ""
    """Why other users can change files in it although they must not; empty if they cannot."""


def read_folders(places: Mapping[str, Path]) -> list[Folder]:
    """Return the folders by their roles; writes a file into each and deletes it again."""
    return [
        Folder(role, path, path.is_dir(), mount_of(path), try_writing(path), _shared(role, path))
        for role, path in places.items()
    ]


def _shared(role: str, path: Path) -> str:
    """Return why a folder that must be private to the user is not; empty if it is, or does not exist yet."""
    return others_can_change(path) if role != SEARCHES and path.is_dir() else ""


def folder_findings(read: list[Folder], home: Path) -> list[Finding]:
    """Return where the folders are, and whether they can be written to and suit their purpose."""
    return [_folder(folder, home) for folder in read]


def _folder(folder: Folder, home: Path) -> Finding:
    place = f"{folder.mount.type} at {folder.mount.point}"
    found = f"{folder.path}{'' if folder.exists else ' (to be made)'} on {place}"
    verdict, advice, variable = Verdict.OK, "", VARIABLES[folder.role]
    if folder.writing.failure:
        found += f"; cannot be written to: {folder.writing.failure}"
        verdict, advice = Verdict.PROBLEM, f"Set {variable} to a folder that you may write to."
    elif folder.shared:
        found += f"; {folder.shared}"
        verdict, advice = Verdict.PROBLEM, f"Or set {variable} to a folder of your own."
    elif folder.role == CACHE and folder.writing.lock_failure:
        found += f"; files cannot be locked: {folder.writing.lock_failure}"
        verdict, advice = Verdict.PROBLEM, f"Set {variable} to a disk of this machine: processes share it under a lock."
    elif folder.role == SCRATCH and folder.mount.is_network:
        verdict = Verdict.WARNING
        advice = (
            f"Set {variable} to a disk of this machine: Ray writes there all the time, and its sockets may not work."
        )
    elif folder.role == SCRATCH and home != Path("/") and folder.path.is_relative_to(home):
        verdict = Verdict.WARNING
        advice = f"Set {variable} to a folder outside {home}: homes have quotas, and Ray's files may fill them."
    return Finding(DISKS, folder.role, found, verdict, advice)


def space_findings(guard: Guard, places: Mapping[str, Path]) -> list[Finding]:
    """Return how much is free on every file system in use, compared with the guard's limits."""
    return [space_finding(guard, disk) for disk in read_disks(places).disks]


def space_finding(guard: Guard, disk: Disk) -> Finding:
    """Return how much is free on one file system, compared with the guard's limits."""
    limits, reading = limits_on(guard, disk), Reading((disk,))
    found = f"for {', '.join(disk.roles)}: {disk.free_bytes / GB:.1f} of {disk.total_bytes / GB:.1f} GB free"
    ends = f"{_number(limits.min_free_gb)} GB"
    if disk.total_inodes:
        found += f", {disk.free_inodes:,} of {disk.total_inodes:,} inodes"
        ends += f" or {limits.min_free_inodes:,.0f} inodes"
    found += f"; no trial is started below {ends}"
    if SCRATCH in disk.roles:
        found += f", or above {_number(max_scratch_gb(guard, reading))} GB of scratch"
    verdict, advice = Verdict.OK, ""
    way_out = f"set {' or '.join(VARIABLES[role] for role in disk.roles)} elsewhere"
    if judge(guard, reading).action is not Action.GO_ON:
        verdict, advice = (
            Verdict.PROBLEM,
            f"Free some of it, {way_out}, or lower the spec's guard: no trial would start.",
        )
    elif _is_little(disk.free_bytes / GB, limits.min_free_gb) or (
        disk.total_inodes and _is_little(disk.free_inodes, limits.min_free_inodes)
    ):
        verdict, advice = Verdict.WARNING, f"Free some of it, or {way_out}: waves would soon end early."
    return Finding(DISKS, f"space of {mount_of(disk.path.resolve()).point}", found, verdict, advice)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _is_little(free: float, limit: float) -> bool:
    return free < LITTLE * limit


def journal_finding(searches: Folder, version: str | None) -> Finding:
    """Return whether Optuna is installed and can keep its journal in the folder of searches."""
    if version is None:
        return Finding("Optuna", "journal", "Optuna is not installed", Verdict.PROBLEM, "Install it: make setup.")
    writing = searches.writing
    if writing.failure:  # reported with the disks
        return Finding(
            "Optuna", "journal", f"Optuna {version}; not tried, as the search directory cannot be written to"
        )
    found = f"Optuna {version}; a write is on the disk after {writing.fsync_ms:.1f} ms"
    if not writing.lock_failure:
        return Finding("Optuna", "journal", f"{found}, locks work")
    advice = "Set SWELL_ROOT to a file system with locks: they keep a search from being worked on twice."
    return Finding("Optuna", "journal", f"{found}, locks do not: {writing.lock_failure}", Verdict.PROBLEM, advice)
