"""Processes of ours: who they are across reboots and reused ids, and how what is left of a wave is ended."""

import contextlib
import ctypes
import os
import signal
import socket
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from cluster.installation import own_folder

PR_SET_PDEATHSIG = 1
"""Of Linux's prctl: the signal that a process gets when its parent dies."""


def python_path(*folders: Path) -> str:
    """Return the PYTHONPATH of a process of ours: our own packages, the folders, and what this process was given.

    Ours come first, so that a user's folder of the name of one of them does not shadow it.
    """
    parts = [*map(str, (own_folder(), *folders)), os.environ.get("PYTHONPATH", "")]
    return os.pathsep.join(filter(None, dict.fromkeys(parts)))


def boot_id() -> str:
    """Return the running kernel's id, so that a process id of before a reboot is not taken for a living one."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def start_time(pid: int) -> str | None:
    """Return a process's start time in clock ticks since boot; None for one that is dead or a zombie.

    Not psutil's `create_time`: that moves with the clock of the machine, and identities are compared after a restart.
    """
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else fields[18]


def identity() -> dict[str, Any]:
    """Return what tells this process from every other: pid, start time, host and boot."""
    pid = os.getpid()
    who = {"pid": pid, "start": start_time(pid), "host": socket.gethostname(), "boot": boot_id()}
    return {**who, "pid_namespace": _pid_namespace()}


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - what it links to is no path
    except OSError:
        return ""


def is_alive(who: Mapping[str, Any]) -> bool | None:
    """Return whether an identity's process lives.

    None if it ran on another host, or in a container with process ids of its own, which cannot be seen from here.
    """
    namespace = _pid_namespace()
    if who["host"] != socket.gethostname() or who.get("pid_namespace", namespace) != namespace:
        return None
    return who["boot"] == boot_id() and start_time(who["pid"]) == who["start"]


def follow(parent: int) -> None:
    """Have this process sent SIGTERM when its parent dies, so that nothing runs on unsupervised.

    Exits if the parent died before it could be followed.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(f"the supervisor, process {parent}, has died")


@contextlib.contextmanager
def usr2_held_back() -> Iterator[None]:
    """Block USR2 while a child is started: a queue warns every process with it, and it would end a child that does not
    ignore it yet."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})


def children(pid: int, names: Collection[str]) -> dict[int, str]:
    """Return the living children of a process that have one of some names, by their ids."""
    import psutil  # takes 20 ms

    found = {}
    with contextlib.suppress(psutil.Error):  # it has ended itself
        for child in psutil.Process(pid).children():
            with contextlib.suppress(psutil.Error):
                if child.name() in names and child.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
                    found[child.pid] = child.name()
    return found


def carrying(variable: str, value: str) -> list[int]:
    """Return the living processes, other than this, with that variable in their environment."""
    import psutil  # takes 20 ms

    marker = f"{variable}={value}".encode()
    found = []
    for pid in psutil.pids():
        try:
            # Not psutil's: it reads no further than an empty entry, as a process leaves that has changed its title.
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if pid != os.getpid() and marker in environment and start_time(pid):
                found.append(pid)
        except OSError:  # another user's, or gone
            continue
    return found


def end_carrying(variable: str, value: str, grace_s: float = 3.0) -> None:
    """End every process with that variable in its environment, by SIGTERM, then by SIGKILL; no other is signalled."""
    for signum, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
        deadline = time.monotonic() + patience_s
        signalled: set[int] = set()
        while left := carrying(variable, value):
            for pid in set(left) - signalled:  # also those started since the last look
                _signal(pid, signum)
            signalled.update(left)
            if time.monotonic() >= deadline:
                break
            time.sleep(0.05)
        else:
            return


def _signal(pid: int, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signum)
