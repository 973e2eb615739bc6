"""Finds which processes use a folder: have it open, mapped or mounted, work in it, or name it."""

import os
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cluster.machine.processes import start_time

PROC = Path("/proc")
INIT = 1
LOGIN_PROGRAMS = {"sshd", "sshd-session", "sd-pam", "ssh-agent", "gpg-agent"}
"""Programs of every login that even their own user cannot look into: they are not counted as unreadable."""
"""The process that starts and reaps others, and often lets nobody look into it: it is not counted either."""
WORD = re.compile(rb"[A-Za-z0-9._-]+")
"""A word: wherever a path stands in a text, its components are such words."""
MAPPED = re.compile(rb"/.*")
CLOCK_SLACK_S = 60.0
"""The kernel's clock and a file system's may differ by this much."""
SHARED_FILE_SYSTEMS = re.compile(r"nfs4?|lustre|gpfs|beegfs|ceph|cifs|smb3|afs|glusterfs|pvfs2|panfs|fuse\..*")


@dataclass(frozen=True)
class Uses:
    """The names in use, and by which processes, at one moment."""

    by_name: dict[str, str] = field(default_factory=dict)
    """For each name in use, a sentence that says who uses it."""
    unreadable: tuple[str, ...] = ()
    """Processes of this user that could not be looked into, as `pid (program)`."""
    python: tuple[int, ...] = ()
    """Processes of this user, other than this one, that are or embed a Python interpreter."""


def look(names: Collection[str]) -> Uses:
    """Return who uses a file or folder with one of these names, or anything below it.

    Names are looked for, not whole paths: in another mount namespace, or through a link, a folder has another path but
    the same name. So names should be unique; a name that is not finds too many uses, never too few.
    """
    if not names:
        return Uses()
    wanted = {name.encode() for name in names}
    by_name: dict[str, str] = {}
    unreadable: list[str] = []
    python: list[int] = []
    seen: set[str] = set()

    def note(text: bytes, use: str) -> None:
        for name in wanted.intersection(WORD.findall(text)):
            by_name.setdefault(os.fsdecode(name), use)

    pids = sorted(int(entry) for entry in os.listdir(PROC) if entry.isdigit())  # noqa: PTH208 - many, often
    for pid in pids:
        whole = _note_process(PROC / str(pid), note)
        own = os.getuid() in _uids(pid) and start_time(pid) is not None
        if not own or pid == INIT or _program(PROC / str(pid)).strip(" ()") in LOGIN_PROGRAMS:
            continue
        if not whole:
            unreadable.append(f"{pid}{_program(PROC / str(pid))}")
        if pid != os.getpid() and _runs_python(PROC / str(pid)):
            python.append(pid)
    for pid in pids:  # later: the processes above have a name
        _note_namespaces(PROC / str(pid), note, seen)
    return Uses(by_name, tuple(unreadable), tuple(python))


def _note_process(process: Path, note: Callable[[bytes, str], None]) -> bool:
    """Note what one process uses; return whether all of it was readable."""
    whole, who = True, f"process {process.name}{_program(process)}"
    for how, parts in (
        ("has it open", _descriptors),
        ("works in it", lambda at: [_target(at / "cwd")]),
        ("has its root in it", lambda at: [_target(at / "root")]),
        ("runs a program in it", lambda at: [_target(at / "exe")]),
        ("has it mapped", lambda at: set(MAPPED.findall((at / "maps").read_bytes()))),
        ("names it in its environment", lambda at: [(at / "environ").read_bytes()]),
        ("names it in its command line", lambda at: [(at / "cmdline").read_bytes()]),
    ):
        try:
            for text in parts(process):
                note(text, f"{who} {how}")
        except (FileNotFoundError, ProcessLookupError):  # it has ended, or is a kernel thread
            continue
        except OSError:
            whole = False
    return whole


def _descriptors(process: Path) -> Iterator[bytes]:
    for descriptor in os.listdir(process / "fd"):  # noqa: PTH208 - many, often
        try:
            yield _target(process / "fd" / descriptor)
        except FileNotFoundError:  # closed meanwhile
            continue


def _target(link: Path) -> bytes:
    return os.fsencode(os.readlink(link))  # noqa: PTH115 - kept as it stands: "/path (deleted)" is no path


def _note_namespaces(process: Path, note: Callable[[bytes, str], None], seen: set[str]) -> None:
    """Note bound sockets and mounts, once for each namespace that some process is in."""
    for namespace, file, use in (
        ("net", "net/unix", "a socket in it is open"),
        ("mnt", "mountinfo", "a file system is mounted in it or from it"),
    ):
        try:
            which = os.readlink(process / "ns" / namespace)  # noqa: PTH115
            if which in seen:
                continue
            note((process / file).read_bytes(), use)
            seen.add(which)
        except OSError:  # gone, or another user's; this process's own namespaces are always seen
            continue


def _uids(pid: int) -> set[int]:
    """Return a process's user ids (real, effective, saved, of the file system); empty if it has ended."""
    try:
        found = re.search(r"^Uid:(.*)$", (PROC / str(pid) / "status").read_text(errors="replace"), re.MULTILINE)
    except OSError:
        return set()
    return set(map(int, found[1].split())) if found else set()


def _program(process: Path) -> str:
    import psutil  # takes 20 ms

    try:
        return f" ({psutil.Process(int(process.name)).name()})"
    except psutil.Error:
        return ""


def _runs_python(process: Path) -> bool:
    try:
        return b"python" in _target(process / "exe") or b"libpython" in (process / "maps").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    except OSError:  # it may
        return True


def began_before(pid: int, moment: float) -> bool:
    """Return whether a living process with this id began before `moment`, give or take CLOCK_SLACK_S."""
    import psutil  # takes 20 ms

    try:
        process = psutil.Process(pid)
        is_dead = process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        return not is_dead and process.create_time() <= moment + CLOCK_SLACK_S
    except psutil.Error:
        return False


def shared_file_system(path: Path, mounts: str | None = None) -> str:
    """Return the type of the file system that a path is on, if other machines may use it too; else ""."""
    mounts = (PROC / "self" / "mountinfo").read_text() if mounts is None else mounts
    found, depth = "", 0
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = Path(before.split()[4].replace("\\040", " "))
        if path.is_relative_to(point) and len(point.parts) >= depth:  # a later one lies over an earlier one
            found, depth = after.split()[0], len(point.parts)
    return found if SHARED_FILE_SYSTEMS.fullmatch(found) else ""
