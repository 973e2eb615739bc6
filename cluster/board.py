"""The snapshot that displays read: written by the wave driver about once a second."""

import time
from typing import Any

from cluster.files import write_json
from cluster.paths import SearchPaths
from cluster.study import SearchStudy
from cluster.wave import Wave

EVERY_S = 1.0


class Board:
    """Counts, running trials, the best so far and the time left, as one small JSON file."""

    def __init__(self, study: SearchStudy, paths: SearchPaths, wave: Wave, num_slots: int) -> None:
        self._study = study
        self._paths = paths
        self._wave = wave
        self._slots = num_slots
        self._started = time.monotonic()
        self._ended_before = sum(study.tally.outcomes.values())
        self._written = 0.0

    def tick(self) -> None:
        """Write the snapshot if the last is old."""
        if time.monotonic() - self._written >= EVERY_S:
            self.write()

    def write(self, doing: str = "running trials", finished: str = "", stopped: str = "") -> None:
        """Write the snapshot."""
        self._written = time.monotonic()
        tally, wave = self._study.tally, self._wave
        snapshot: dict[str, Any] = {
            "updated_at": time.time(),
            "doing": "finished" if finished else "stopped" if stopped else "stopping" if wave.draining else doing,
            "finished": finished,
            "stopped": stopped,
            "wave": wave.number,
            "slots": self._slots,
            "max_trials": self._study.max_trials,
            "outcomes": dict(tally.outcomes),
            "running": [
                {"trial": number, "step": report["step"], "objective": self._objective(report["metrics"])}
                for number, report in sorted(wave.running.items())
            ],
            "best": {"value": tally.best[0], "trial": tally.best[1]} if tally.best else None,
            "core_hours": tally.cpu_hours,
            "eta_s": self._eta(),
        }
        write_json(self._paths.status, snapshot)

    def _objective(self, metrics: dict[str, float]) -> float | None:
        return metrics.get(self._study.spec.objectives[0].metric)

    def _eta(self) -> float | None:
        """Return the seconds until all trials have ended at this session's pace; None while it is not known."""
        ended = sum(self._study.tally.outcomes.values())
        done, total = ended - self._ended_before, self._study.max_trials
        if not done or total is None:
            return None
        return (time.monotonic() - self._started) / done * max(total - ended, 0)
