"""Where chaos happens: small disks and a memory group of our own, and the command line run in them.

Everything here is mounted in a mount namespace of this process alone (`enter_namespace`), so that nothing stays mounted
whatever becomes of it.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.faults.cgroup import MemoryGroup
from cluster.state.paths import SearchPaths

ROOT = Path(__file__).resolve().parents[2]
INSIDE = "SWELL_CHAOS_NAMESPACE"
DISK_MB = {"searches": 200, "s": 400, "cache": 400}
"""Sizes of the disks for the searches, the scratch and the cache."""
NUM_INODES = 8000
SITE = """\
import os
import time


def _jump():
    real, real_ns, file = time.time, time.time_ns, os.environ["CHAOS_CLOCK"]

    def offset_s():
        try:
            with open(file) as opened:
                return float(opened.read() or 0)
        except (OSError, ValueError):
            return 0.0

    time.time = lambda: real() + offset_s()
    time.time_ns = lambda: real_ns() + int(offset_s() * 1e9)


if "CHAOS_CLOCK" in os.environ:
    _jump()
"""
"""What every Python process of a search runs first: the wall clock then jumps when a file says so."""


class PlaceError(RuntimeError):
    """This machine does not let the harness have what it needs."""


def enter_namespace(argv: list[str]) -> None:
    """Run this command again in a mount namespace of its own, as its root, where small disks can be mounted.

    Root needs only the mounts of its own; anybody else becomes root of a user namespace. Raises PlaceError where
    neither is possible.
    """
    if os.environ.get(INSIDE):
        return
    options = ["--mount"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--mount"]
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, *options, "true"], capture_output=True).returncode:
        raise PlaceError(
            f"`unshare {' '.join(options)}` does not work here: the disks that are filled up must be mounted, which "
            "takes root, or a kernel that allows user namespaces"
        )
    os.execve(unshare, [unshare, *options, sys.executable, *argv], {**os.environ, INSIDE: "1"})


def alive(process: psutil.Process) -> bool:
    """Whether a process lives; a zombie does not."""
    try:
        return process.is_running() and process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def environment_of(process: psutil.Process) -> dict[str, str]:
    """Return a process's environment; empty for one that is gone or not ours to see."""
    try:
        return process.environ() if alive(process) else {}
    except (psutil.Error, OSError):
        return {}


@dataclass
class Foreground:
    """A `swell` command on its way, and what it printed."""

    process: subprocess.Popen[bytes]
    command: str
    output: Path

    def poll(self) -> int | None:
        """Return its exit code, None while it runs."""
        return self.process.poll()

    def text(self) -> str:
        """Return all it printed."""
        return self.output.read_text(errors="replace")


@dataclass
class Place:
    """A root for searches, a scratch and a cache, each a small disk of its own."""

    folder: Path
    group: MemoryGroup | None = None
    tokens: set[str] = field(default_factory=set)
    """Every wave seen so far."""

    def __post_init__(self) -> None:
        for folder in (self.orders, self.output, self.site, self.tmp):
            folder.mkdir(parents=True)
        for name, size_mb in DISK_MB.items():
            disk = self.folder / name
            disk.mkdir()
            mount = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m,nr_inodes={NUM_INODES}", "swell-chaos", str(disk)]
            subprocess.run(mount, check=True)
        (self.site / "sitecustomize.py").write_text(SITE)
        self.group = MemoryGroup.create(f"swell-chaos-{os.getpid()}")

    @property
    def searches(self) -> Path:
        """The root of the searches."""
        return self.folder / "searches"

    @property
    def scratch(self) -> Path:
        """The root of scratch folders; short, as Ray's sockets need it."""
        return self.folder / "s"

    @property
    def cache(self) -> Path:
        """The node's cache."""
        return self.folder / "cache"

    @property
    def orders(self) -> Path:
        """Folder of the orders to misbehave."""
        return self.folder / "orders"

    @property
    def output(self) -> Path:
        """Folder of what commands printed."""
        return self.folder / "output"

    @property
    def tmp(self) -> Path:
        """The system's temporary folder, as the searches see it: `swell clean` looks there too."""
        return self.folder / "tmp"

    @property
    def site(self) -> Path:
        """Folder that every Python process of a search imports from first."""
        return self.folder / "site"

    @property
    def clock(self) -> Path:
        """The file that says how far the wall clock of every Python process of a search is off, in seconds."""
        return self.folder / "clock"

    def close(self) -> None:
        """Unmount the disks and delete the folder."""
        for name in DISK_MB:
            subprocess.run(["umount", "--lazy", str(self.folder / name)], check=False)
        if self.group is not None:
            self.group.delete()
        shutil.rmtree(self.folder, ignore_errors=True)

    def paths(self, name: str) -> SearchPaths:
        """Return the paths of a search."""
        return SearchPaths(self.searches / name)

    # -- commands -------------------------------------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        """What the command line runs in."""
        own = {
            "SWELL_ROOT": str(self.searches),
            "SWELL_SCRATCH": str(self.scratch),
            "SWELL_CACHE": str(self.cache),
            "TMPDIR": str(self.tmp),
            "PYTHONPATH": str(self.site),
            "CHAOS_CLOCK": str(self.clock),
        }
        return {**os.environ, **own}

    def start(self, *arguments: str, prefix: Sequence[str] = ()) -> Foreground:
        """Start a `swell` command in a process group of its own, as a terminal does."""
        command = [*prefix, sys.executable, "-m", "swell", *arguments]
        if self.group is not None:
            command = [*self.group.joining(), *command]
        output = self.output / f"{len(list(self.output.iterdir())):03d}-{arguments[0]}.txt"
        with output.open("wb") as opened:
            process = subprocess.Popen(
                command,
                env=self.environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=opened,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Foreground(process, " ".join(["swell", *arguments]), output)

    def swell(self, *arguments: str, prefix: Sequence[str] = (), timeout_s: float = 60.0) -> Foreground:
        """Run a `swell` command to its end, which is killed where it takes too long."""
        started = self.start(*arguments, prefix=prefix)
        try:
            started.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.end_all()
            started.process.wait()
        return started

    # -- processes ------------------------------------------------------------------------------------------------

    def ours(self) -> list[psutil.Process]:
        """Return the living processes of this place's searches: by the root or the wave in their environment."""
        found = []
        for process in psutil.process_iter():
            environment = environment_of(process)
            token = environment.get("SWELL_WAVE", "")
            if environment.get("SWELL_ROOT") == str(self.searches):
                self.tokens |= {token} - {""}
                found.append(process)
            elif token in self.tokens:
                found.append(process)
        return found

    def end_all(self) -> None:
        """Kill every process of this place's searches."""
        for _ in range(3):
            for process in self.ours():
                process.kill()
            time.sleep(0.2)
