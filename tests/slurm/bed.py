"""The SLURM test bed, seen from a test: commands, jobs, nodes that crash and come back, and waiting."""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from cluster.machine.processes import start_time
from tests.needed import missing

SCRIPT = Path(__file__).parents[2] / "slurm" / "testbed" / "testbed.sh"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "ip")
PREFIX = "swell-bed-"
OVER = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT"}
UP = {"idle", "mix", "alloc", "comp"}
"""States of a node that serves. Which of them, it may tell late: slurmctld's clock for it has whole seconds, and a node
whose job ends in the second in which somebody asked is `mix` for another minute. So ask jobs whether they are over."""


class Testbed:
    """One real SLURM cluster in a folder of its own, between `up` and `down`; `knobs`: TESTBED_*."""

    __test__ = False  # pytest: not a test class

    def __init__(self, folder: Path, **knobs: object) -> None:
        """Take a short folder that need not exist yet."""
        self.folder = folder
        mine = ("SLURM_", "SBATCH_", "SRUN_", "TESTBED_", "SWELL_SCRATCH")  # a node has a scratch of its own
        outside = {k: v for k, v in os.environ.items() if not k.startswith(mine)}
        self._knobs = outside | {f"TESTBED_{name.upper()}": str(value) for name, value in knobs.items()}
        self._knobs["TESTBED_DIR"] = str(folder)
        self.nodes = tuple(f"n{i + 1}" for i in range(int(str(knobs.get("nodes", 2)))))
        self.env: dict[str, str] = {}
        """The environment of somebody on the login node: this process' own, and SLURM_CONF, PATH, TESTBED_SCRATCH."""

    # -- the bed itself

    def script(self, *words: str, patience: float = 600, check: bool = True) -> str:
        """Run a command of testbed.sh; return what it said."""
        done = subprocess.run(
            [str(SCRIPT), *words], env=self._knobs, text=True, capture_output=True, timeout=patience, check=False
        )
        assert not check or done.returncode == 0, f"testbed.sh {shlex.join(words)}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def up(self) -> "Testbed":
        """Start it, or what is missing of it."""
        self.script("up")
        exports = dict(line.removeprefix("export ").split("=", 1) for line in self.script("env").splitlines())
        self.env = {k: v for k, v in self._knobs.items() if not k.startswith("TESTBED_")}
        self.env |= {name: shlex.split(exports[name])[0] for name in ("SLURM_CONF", "TESTBED_SCRATCH")}
        self.env["PATH"] = f"{self.folder / 'bin'}:{os.environ['PATH']}:/usr/sbin:/sbin"
        return self

    def down(self) -> None:
        """End it; nothing is left behind."""
        self.script("down")

    @property
    def mode(self) -> str:
        """Return `namespaces` or `ports`."""
        return (self.folder / "network").read_text().split()[0]

    @property
    def address(self) -> str:
        """Return where the nodes reach this machine: a server for them listens there (their 127.0.0.1 is their own)."""
        mode, _nodes, net, _port = (self.folder / "network").read_text().split()
        return f"{net}.254" if mode == "namespaces" else "127.0.0.1"

    def disk(self, node: str) -> Path:
        """Return where this machine sees what the node has as `$TESTBED_SCRATCH`."""
        return self.folder / "disk" / node if self.mode == "namespaces" else Path(self.env["TESTBED_SCRATCH"])

    def crash(self, node: str) -> None:
        """Pull the plug of a node. SLURM notices after half a minute."""
        self.script("crash", node)

    def boot(self, node: str) -> None:
        """Start a crashed node again, with its disk as it was."""
        self.script("boot", node)

    def restart_controller(self) -> None:
        """End slurmctld and start it again; jobs go on."""
        self.script("restart-controller")

    @contextlib.contextmanager
    def without_controller(self, signal: str = "TERM") -> Iterator[None]:
        """Have no slurmctld for a while: sbatch and squeue fail, jobs go on."""
        self.script("stop-controller", signal)
        try:
            yield
        finally:
            self.script("start-controller")

    # -- commands and jobs

    def run(self, *words: str, patience: float = 600, check: bool = True, **environment: str) -> str:
        """Run a command on the login node; return what it said. `srun` and `salloc` need `script("run", ...)`."""
        done = subprocess.run(
            words, env=self.env | environment, text=True, capture_output=True, timeout=patience, check=False
        )
        assert not check or done.returncode == 0, f"{shlex.join(words)}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def sbatch(self, script: str, *options: str, output: Path | None = None, **environment: str) -> str:
        """Submit a bash script; return the job's id. Its output goes to a file only if one is given (appended to)."""
        words = ["sbatch", "--parsable", "--open-mode=append", f"--output={output or '/dev/null'}", *options]
        done = subprocess.run(
            words, input=f"#!/bin/bash\n{script}\n", env=self.env | environment, text=True, capture_output=True,
            timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{shlex.join(words)}:\n{done.stdout}{done.stderr}"
        return done.stdout.strip().split(";")[0]

    def state(self, job: str) -> str:
        """Return a job's state as SLURM writes it: PENDING, RUNNING, COMPLETED, ..."""
        return self.job(job).get("JobState", "UNKNOWN")

    def job(self, job: str) -> dict[str, str]:
        """Return what `scontrol show job` says: JobState, Reason, RestartCount, BatchHost, TimeLimit, ..."""
        return _parsed(self.run("scontrol", "show", "job", "--oneliner", job, check=False))

    def node_state(self, node: str) -> str:
        """Return a node's state: idle, mix, alloc, comp, down, down*, ..."""
        return self.run("sinfo", "-h", "-p", "main", "-N", "-n", node, "-o", "%t").strip()

    def wait_for_state(self, job: str, states: str | Iterable[str], patience: float = 600) -> str:
        """Wait until a job is in one of the states; return it."""
        wanted = {states} if isinstance(states, str) else set(states)
        seen: list[str] = []

        def arrived() -> bool:
            seen.append(self.state(job))
            return seen[-1] in wanted

        self.wait_for(arrived, patience, lambda: f"job {job} is not {wanted} but {self.job(job)}")
        return seen[-1]

    def wait_for_end(self, job: str, patience: float = 600) -> str:
        """Wait until a job is over and will not run again; return its state."""
        return self.wait_for_state(job, OVER, patience)

    def wait_for_node(self, node: str, states: str | Iterable[str], patience: float = 600) -> None:
        """Wait until a node is in one of the states: `UP`, down*, ..."""
        wanted = {states} if isinstance(states, str) else set(states)
        self.wait_for(lambda: self.node_state(node) in wanted, patience, lambda: f"{node} is {self.node_state(node)}")

    def wait_for_text(self, path: Path, pattern: str, patience: float = 600) -> str:
        """Wait until a file matches a regular expression; return its text."""
        read = lambda: path.read_text() if path.exists() else ""  # noqa: E731
        self.wait_for(lambda: bool(re.search(pattern, read())), patience, lambda: f"{path} says:\n{read()}")
        return read()

    def wait_for(self, done: Callable[[], bool], patience: float, complaint: Callable[[], str]) -> None:
        """Wait until something is so; fail with the complaint and with what the test bed says of itself."""
        end = time.monotonic() + patience
        while not done():
            if time.monotonic() > end:
                raise AssertionError(f"not within {patience:g} s: {complaint()}\n{self._what_it_says()}")
            time.sleep(0.3)

    def _what_it_says(self) -> str:
        logs = [self.folder / "log" / f"{daemon}.log" for daemon in ("slurmctld", *(f"slurmd-{n}" for n in self.nodes))]
        ends = [f"-- {log.name}\n" + "\n".join(log.read_text().splitlines()[-20:]) for log in logs if log.exists()]
        return "\n".join([self.script("status", check=False), *ends])

    def limit(self, job: str, seconds: float) -> None:
        """End a running job's time in so many seconds: limits are whole minutes otherwise. SLURM looks every 30 s."""
        end = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + seconds))
        self.run("scontrol", "update", f"JobId={job}", f"EndTime={end}")

    def tidy(self) -> None:
        """Make it as new: no jobs, every node up and idle, nothing on the nodes' disks."""
        self.script("start-controller")
        self.run("scancel", "--user", str(os.geteuid()), check=False)
        for node in self.nodes:
            if self.node_state(node) not in UP:
                self.boot(node)
                self.run("scontrol", "update", f"NodeName={node}", "State=RESUME", check=False)
        self.wait_for(lambda: not self.run("squeue", "-h"), 60, lambda: "jobs do not end")
        for node in self.nodes:
            self.wait_for_node(node, UP, 60)
            for leftover in self.disk(node).iterdir():
                shutil.rmtree(leftover) if leftover.is_dir() and not leftover.is_symlink() else leftover.unlink()


def _parsed(line: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in line.split() if "=" in word)


def start_testbed(**knobs: object) -> Testbed:
    """Start a test bed in a folder of this process' own, after ending those that earlier, killed test runs left."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]
    if absent:
        missing(f"the SLURM test bed needs {', '.join(absent)}")
    root = Path(tempfile.gettempdir())
    for old in root.glob(f"{PREFIX}*"):
        _, _, pid, start = old.name.split("-")
        if old.stat().st_uid == os.geteuid() and start_time(int(pid)) != start:
            Testbed(old).down()
    return Testbed(root / f"{PREFIX}{os.getpid()}-{start_time(os.getpid())}", **knobs).up()
