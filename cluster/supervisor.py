"""The supervisor: runs wave after wave, each a driver process of its own, and imports neither Ray nor JAX."""

import hashlib
import logging
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from cluster.files import read_json, write_json
from cluster.paths import SearchPaths
from cluster.processes import end_carrying, identity, is_alive, python_path
from cluster.records import launched_from, load_spec, load_status
from cluster.resources import thread_caps
from cluster.scratch import Scratch
from search_spaces.spec import Spec
from trainables._shared.datasets import default_cache

log = logging.getLogger(__name__)

MAX_DEAD_DRIVERS = 3
"""The search fails after this many drivers in a row that died without ending a trial."""
COMPILATION_CACHE_BYTES = 2 * 2**30
POLL_S = 0.2
TOKEN = "SWELL_WAVE"
"""Variable that marks every process of a wave, whatever group it has moved to."""


class SearchBusyError(RuntimeError):
    """Another supervisor works on this search."""


@dataclass(frozen=True)
class Ending:
    """How the supervisor's work on a search ended: `finished`, `stopped` or `failed`, and why."""

    state: str
    reason: str


def _cpu_kind() -> str:
    """Return a short id of the processor: code compiled for another must not be loaded."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0].splitlines()
    except OSError:
        lines = []
    kind = [line for line in lines if line.startswith(("model name", "flags"))]
    return hashlib.sha256("\n".join(kind).encode()).hexdigest()[:8]


def driver_environment(spec: Spec, scratch: Scratch, token: str, launched_from: Path) -> dict[str, str]:
    """Return the environment of a wave driver, which Ray and every worker inherit."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment |= thread_caps(spec.resources.cpus_per_trial)
    environment |= {
        TOKEN: token,
        "SPT_NOENV": "1",  # Ray's processes rename themselves: their titles must not be written over the mark
        "TMPDIR": str(scratch.tmp),
        # A user's own method is found from where the search was launched, wherever it is resumed.
        "PYTHONPATH": python_path(launched_from, Path.cwd()),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEDUP_LOGS": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # Tune's own snapshots are never read
        "JAX_COMPILATION_CACHE_DIR": str(default_cache() / f"compiled-{_cpu_kind()}"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "JAX_COMPILATION_CACHE_MAX_SIZE": str(COMPILATION_CACHE_BYTES),
    }
    if not spec.resources.gpus_per_trial:
        environment["JAX_PLATFORMS"] = "cpu"
    return environment


class Supervisor:
    """Works on one search until it is finished, stopped or failed; one per search directory."""

    def __init__(self, paths: SearchPaths, on_poll: Callable[[], None] = lambda: None) -> None:
        self._paths = paths
        self._spec = load_spec(paths)
        self._on_poll = on_poll
        self._stop_requests = 0

    def request_stop(self) -> None:
        """Drain at the first call, end at once at the second; safe to call from a signal handler."""
        self._stop_requests += 1

    def run(self) -> Ending:
        """Run waves until the search ends.

        Raises SearchBusyError where another supervisor works on this search.
        """
        lock = FileLock(self._paths.lock)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise SearchBusyError(_busy_message(self._paths)) from None
        handler = logging.FileHandler(self._paths.supervisor_log)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
        try:
            write_json(self._paths.holder, identity())
            ending = self._waves()
            log.info("search %s: %s", ending.state, ending.reason)
            return ending
        finally:
            self._paths.holder.unlink(missing_ok=True)
            log.removeHandler(handler)
            handler.close()
            lock.release()

    def _waves(self) -> Ending:
        dead_drivers, ended_before = 0, -1
        while True:
            wave = self._paths.next_wave()
            status = self._wave(wave)
            if self._stop_requests > 1:
                return Ending("stopped", "ended at once, at the second request")
            snapshot = load_status(self._paths)
            if status == 0:
                dead_drivers = 0
                if snapshot.get("finished"):
                    return Ending("finished", snapshot["finished"])
                if snapshot.get("stopped") or self._stop_requests:
                    return Ending("stopped", snapshot.get("stopped") or "stopped on request")
                continue
            ended = sum(snapshot.get("outcomes", {}).values())
            dead_drivers = 0 if ended > ended_before >= 0 else dead_drivers + 1
            ended_before = ended
            why = f"its driver ended with status {status}; its log is {self._paths.wave_log(wave)}"
            log.error("wave %d: %s", wave, why)
            if self._stop_requests:
                return Ending("stopped", "stopped on request")
            if dead_drivers >= MAX_DEAD_DRIVERS:
                return Ending("failed", f"wave {wave}, like {dead_drivers - 1} before it, came to nothing: {why}")

    def _wave(self, number: int) -> int:
        """Run one driver to its end and clean up after it; return its exit status."""
        scratch, token = Scratch.create(), secrets.token_hex(16)
        log.info("wave %d: scratch %s", number, scratch.path)
        # -P: the working directory is the user's, and `-m` would put it before our own packages.
        command = [sys.executable, "-P", "-m", "cluster.driver"]
        command += [str(self._paths.root), str(number), str(scratch.path), str(os.getpid())]
        try:
            with self._paths.wave_log(number).open("ab") as output:
                driver = subprocess.Popen(
                    command,
                    env=driver_environment(self._spec, scratch, token, launched_from(self._paths)),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            return self._watch(driver)
        finally:
            end_carrying(TOKEN, token)
            log.info("wave %d: %.1f MB of scratch freed", number, scratch.delete() / 2**20)

    def _watch(self, driver: subprocess.Popen[bytes]) -> int:
        heeded = 0
        while True:
            if self._stop_requests > heeded:
                heeded = self._stop_requests
                if heeded > 1:
                    return -signal.SIGKILL  # `_wave` ends what is left
                driver.send_signal(signal.SIGTERM)
            self._on_poll()
            try:
                return driver.wait(POLL_S)
            except subprocess.TimeoutExpired:
                continue


def holder_of(paths: SearchPaths) -> dict[str, Any] | None:
    """Return who works on a search, `pid` and `host`; None where nobody does (a dead holder counts as nobody)."""
    holder = read_json(paths.holder)
    if holder is None:
        return None
    return None if is_alive(holder) is False else holder


def _busy_message(paths: SearchPaths) -> str:
    holder = holder_of(paths)
    who = f"process {holder['pid']} on {holder['host']}" if holder else "another process"
    return f"search {paths.name} is being worked on by {who}; a search directory has one supervisor"
