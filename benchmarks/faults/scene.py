"""A search on its way, as a fault sees it: its processes by their part in it, and what it has recorded so far."""

import contextlib
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psutil

from benchmarks.faults.place import Foreground, Place, alive
from cluster.state.paths import SearchPaths
from cluster.state.records import TrialRecord, load_trials

POLL_S = 0.1
WORKER_TITLE = "ray::TrialActor"
"""How Ray titles a worker that has begun a trial."""
PATIENCE_S = 300.0
"""How long a fault waits for its target, which is gone for a while after the fault before."""
T = TypeVar("T")


class MissedError(Exception):
    """The search ended before the fault could strike."""


@dataclass
class Scene:
    """One search, its foreground process of the moment, and the randomness of what is done to it."""

    place: Place
    name: str
    foreground: Foreground
    rng: random.Random
    prefix: list[str] = field(default_factory=list)
    """What the search is started with from now on: another clock."""

    @property
    def paths(self) -> SearchPaths:
        """The search's directory."""
        return self.place.paths(self.name)

    def supervisor(self) -> psutil.Process | None:
        """Return the `swell` process, which another program may have started."""
        try:
            first = psutil.Process(self.foreground.process.pid)
            for process in (first, *first.children()):
                if process.name().startswith("python") and "swell" in process.cmdline():
                    return process
        except psutil.Error:
            pass
        return None

    def driver(self) -> psutil.Process | None:
        """Return the supervisor's wave driver."""
        supervisor = self.supervisor()
        with contextlib.suppress(psutil.Error):
            for process in supervisor.children() if supervisor else []:
                if "cluster.driver.main" in process.cmdline():
                    return process
        return None

    def named(self, name: str) -> psutil.Process | None:
        """Return the driver's Ray process of that name."""
        driver = self.driver()
        with contextlib.suppress(psutil.Error):
            for process in driver.children() if driver else []:
                if process.name() == name and alive(process):  # not the zombie of one that was killed
                    return process
        return None

    def worker(self) -> psutil.Process | None:
        """Return one of the workers that run trials, by chance; they outlive the raylet whose children they are."""
        workers = []
        for process in self.place.ours():
            with contextlib.suppress(psutil.Error):
                if process.cmdline()[:1] and process.cmdline()[0].startswith(WORKER_TITLE):
                    workers.append(process)
        return self.rng.choice(sorted(workers, key=lambda process: process.pid)) if workers else None

    def await_(self, find: Callable[[], T | None], patience_s: float = PATIENCE_S) -> T:
        """Return what is found, as soon as it is; raises MissedError where the search ends before."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline and self.foreground.poll() is None:
            found = find()
            if found is not None:
                return found
            time.sleep(POLL_S)
        raise MissedError

    def hold(self, seconds: float, keep: Callable[[], Any] = lambda: None) -> None:
        """Wait while a fault lasts, keeping it up."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            keep()
            time.sleep(POLL_S)

    # -- records --------------------------------------------------------------------------------------------------

    def trials(self) -> dict[int, TrialRecord]:
        """Return the trials of the moment by number; none where the journal cannot be read just now."""
        try:
            return {record.number: record for record in load_trials(self.paths)}
        except Exception:  # being written, or not there: the end of the search is where it must be readable
            return {}

    def reports(self) -> Counter[int]:
        """Return how many reports each trial has made so far, repeated ones counted."""
        count: Counter[int] = Counter()
        for file in sorted(self.paths.histories.glob("wave-*.jsonl")):
            for line in file.read_text(errors="replace").splitlines():
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    count[json.loads(line)["trial"]] += 1
        return count
