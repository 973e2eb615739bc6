"""Our processes: identities that survive reboots and reused ids, and how to end those that a wave has left."""

import contextlib
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
"""Linux's prctl option that sets the signal a process gets when its parent dies."""


def python_path(given: str | None = None) -> str:
    """Return the PYTHONPATH of a process of ours: our own packages, and what is given, else this process's own.

    Our packages come first, so that a user's folder with the same name as one of them does not hide it.
    """
    given = os.environ.get("PYTHONPATH", "") if given is None else given
    return os.pathsep.join(filter(None, dict.fromkeys([str(own_folder()), *given.split(os.pathsep)])))


def boot_id() -> str:
    """Return an id of the running kernel; a process id from before a reboot then never passes for a living one."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def start_time(pid: int) -> str | None:
    """Return a process's start time in clock ticks since boot; None if it is dead or a zombie.

    psutil's `create_time` would not do: it moves when the machine's clock is set, and identities are compared later.
    """
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else fields[18]


def identity() -> dict[str, Any]:
    """Return the identity of this process, which no other ever has: pid, start time, host and boot."""
    pid = os.getpid()
    who = {"pid": pid, "start": start_time(pid), "host": socket.gethostname(), "boot": boot_id()}
    return {**who, "pid_namespace": _pid_namespace()}


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - what it links to is no path
    except OSError:
        return ""


def is_alive(who: Mapping[str, Any]) -> bool | None:
    """Return whether the process with an identity lives.

    None if it cannot be seen from here: it ran on another host, or in a container with process ids of its own.
    """
    namespace = _pid_namespace()
    if who["host"] != socket.gethostname() or who.get("pid_namespace", namespace) != namespace:
        return None
    return who["boot"] == boot_id() and start_time(who["pid"]) == who["start"]


def follow(parent: int) -> None:
    """Let the kernel send this process SIGTERM when its parent dies, so that it does not run on unsupervised.

    Exits at once if the parent has died already.
    """
    if sys.platform == "linux":
        import ctypes  # displays look at processes too, and it loads slowly

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(f"the supervisor, process {parent}, has died")


@contextlib.contextmanager
def usr2_held_back() -> Iterator[None]:
    """Block USR2 while a child is started.

    A queue warns every process with USR2, which would end a child that does not ignore it yet.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})


def children(pid: int, names: Collection[str]) -> dict[int, str]:
    """Return the names of a process's living children, by process id; only those with one of `names`."""
    import psutil  # takes 20 ms

    found = {}
    with contextlib.suppress(psutil.Error):  # it has ended itself
        for child in psutil.Process(pid).children():
            with contextlib.suppress(psutil.Error):
                if child.name() in names and child.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
                    found[child.pid] = child.name()
    return found


def carrying(variable: str, value: str) -> list[int]:
    """Return the living processes, other than this one, that have a variable with this value in their environment."""
    import psutil  # takes 20 ms

    marker = f"{variable}={value}".encode()
    found = []
    for pid in psutil.pids():
        try:
            # Not psutil's: it stops at an empty entry, which a process leaves behind that has changed its title.
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if pid != os.getpid() and marker in environment and start_time(pid):
                found.append(pid)
        except OSError:  # another user's, or gone
            continue
    return found


def end_carrying(variable: str, value: str, grace_s: float = 3.0) -> None:
    """End every process that has a variable with this value: SIGTERM, then SIGKILL after `grace_s`.

    No other process is signalled.
    """
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
