"""Writes the snapshot that displays read, about once a second."""

import time
from contextlib import suppress
from typing import Any

from cluster.driver.wave import Wave
from cluster.machine.files import write_json
from cluster.state.paths import SearchPaths
from cluster.study.budget import Best
from cluster.study.study import SearchStudy

EVERY_S = 1.0


class Board:
    """The snapshot, one small JSON file: counts, running trials, the best so far, the time left."""

    def __init__(self, study: SearchStudy, paths: SearchPaths, driver: int) -> None:
        self.wave: Wave | None = None
        self._study = study
        self._paths = paths
        self._driver = driver
        self._started = time.monotonic()
        self._ended_before = sum(study.tally.outcomes.values())
        self._cpu_hours_before = study.tally.cpu_hours
        self._written = 0.0
        self.num_started = 0
        """Trials started by this driver in waves before this one."""

    def tick(self) -> None:
        """Write the snapshot if the last one is old."""
        if time.monotonic() - self._written >= EVERY_S:
            self.write()

    def write(self, doing: str = "running trials", finished: str = "", stopped: str = "", paused: str = "") -> None:
        """Write the snapshot; on a full disk the last one stays.

        `doing` says what the driver does; `finished`, `stopped` and `paused` why it ended so, if it did.
        """
        self._written = time.monotonic()
        tally, wave = self._study.tally, self.wave
        if wave is not None and (wave.draining or wave.ending):
            doing = "stopping" if wave.draining else "ending the wave"
        elif wave is not None and wave.waits_for:
            doing = f"waiting for data: {wave.waits_for}"
        running = wave.running if wave is not None else {}
        snapshot: dict[str, Any] = {
            "updated_at": time.time(),
            "doing": "finished" if finished else "stopped" if stopped else "paused" if paused else doing,
            "finished": finished,
            "stopped": stopped,
            "paused": paused,
            "driver": self._driver,
            "started": self.num_started > 0 or (wave is not None and wave.num_started > 0),
            "wave": wave.number if wave is not None else self._paths.next_wave(),
            "slots": wave.capacity.slots if wave is not None else None,
            "max_trials": self._study.max_trials,
            "outcomes": dict(tally.outcomes),
            "running": [
                {"trial": number, "step": report["step"], "objective": self._objective(report["metrics"])}
                for number, report in sorted(running.items())
            ],
            "best": _best(tally.best),
            "core_hours": tally.cpu_hours,
            "last_wave": next(iter(self._study.waves[-1:]), None),
            "eta_s": self._eta(),
        }
        with suppress(OSError):
            write_json(self._paths.status, snapshot)

    def _objective(self, metrics: dict[str, float]) -> float | None:
        return metrics.get(self._study.spec.objectives[0].metric)

    def _eta(self) -> float | None:
        """Return the seconds until a bound of the budget is reached at this session's pace; None if not known yet."""
        tally, budget = self._study.tally, self._study.spec.budget
        bounds = [budget.hours * 3600 - tally.active_s] if budget.hours else []
        ended = sum(tally.outcomes.values())
        done, total = ended - self._ended_before, self._study.max_trials
        elapsed = time.monotonic() - self._started
        if done and total is not None:
            bounds.append(elapsed / done * (total - ended))
        if budget.core_hours and tally.cpu_hours > self._cpu_hours_before:
            pace = (tally.cpu_hours - self._cpu_hours_before) / elapsed
            bounds.append((budget.core_hours - tally.cpu_hours) / pace)
        return max(min(bounds), 0.0) if bounds else None


def _best(best: Best | None) -> dict[str, Any] | None:
    """Return the best so far for the snapshot: its value, its trial, and the trials whose mean the value is, if any."""
    if best is None:
        return None
    first, *others = best.trials
    return {"value": best.value, "trial": first, **({"trials": [first, *others]} if others else {})}
