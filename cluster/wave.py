"""One wave of trials, decided without Ray: which comes next, whether one goes on, what its end means."""

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from cluster.outcomes import Outcome
from cluster.paths import SearchPaths
from cluster.records import TrialRecord, ranked_trials
from cluster.study import SearchStudy

log = logging.getLogger(__name__)

SAVE_ACTIVE_EVERY_S = 60.0
"""Seconds of the budget's hours that a killed driver may lose."""
USAGE = ("step", "seconds", "cpu_seconds", "compile_seconds", "peak_memory_mb", "xla_threads", "host")


class Wave:
    """The trials of one wave; the searcher and the scheduler only pass Tune's calls on to it."""

    def __init__(
        self,
        study: SearchStudy,
        paths: SearchPaths,
        number: int,
        max_trials: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.study = study
        self.number = number
        self.draining = ""
        """Why no more trials are started and the running ones are stopped; empty while all is well."""
        self.running: dict[int, dict[str, Any]] = {}
        """The last report of every running trial."""
        self.num_started = 0
        self.num_ended = 0
        self.slot_seconds = 0.0
        self._paths = paths
        self._spec = study.spec
        self._max_trials = max_trials
        self._history = paths.history(number).open("a")
        self._clock = clock
        self._began: float | None = None
        self._ended = 0.0
        self._kept = _Kept(study, paths)

    def drain(self, reason: str) -> None:
        """Start no more trials, and stop each running one at its next checkpoint."""
        if not self.draining:
            log.info("draining: %s", reason)
            self.draining = reason
            self._paths.drain.touch()

    # -- Tune's three questions -----------------------------------------------------------------------------------

    def next(self) -> dict[str, Any] | None:
        """Return what an actor needs for the next trial, or None when this wave starts no more."""
        if self.draining or self.num_started >= self._max_trials:
            return None
        assignment = self.study.ask()
        if assignment is None:
            return None
        self.num_started += 1
        self.running[assignment.number] = {"step": 0, "metrics": {}}
        task = {
            "trainable": self._spec.trainable,
            "config": assignment.config,
            "cpus": self._spec.resources.cpus_per_trial,
            "checkpoint": str(self._paths.checkpoint(assignment.number)),
            "drain": str(self._paths.drain),
            "keep": self._spec.keep.checkpoints != "none",
        }
        return {"number": assignment.number, "task": json.dumps(task)}

    def report(self, number: int, result: Mapping[str, Any]) -> bool:
        """Take a running trial's report; return whether it goes on."""
        if not self.study.is_running(number):
            return False
        self._note_time(result)
        metrics = result["metrics"]
        self.running[number] = dict(result)
        self._write(number, result, metrics)
        if not self.study.report(number, result["step"], metrics, result["seconds"]):
            self._tell(number, Outcome.PRUNED, result)
            return False
        if self.draining and result["saved_step"] == result["step"]:
            self._tell(number, Outcome.STOPPED, result)
            return False
        self.watch_budget()
        return True

    def end(self, number: int, result: Mapping[str, Any] | None) -> None:
        """Take a trial's last result; None means that its worker was lost once too often."""
        if not self.study.is_running(number):
            return  # told when it was stopped
        if result is None or "outcome" not in result:
            self._tell(number, Outcome.WORKER_LOST, result or self.running.get(number, {}))
            return
        self._note_time(result)
        # What the model scores at its last step; the record has the best model's metrics.
        last = result.get("last", result.get("metrics", {}))
        self._write(number, result, last)
        if result["outcome"] == Outcome.COMPLETED.value:
            self.study.report(number, result["step"], last, result["seconds"])
        if result.get("tests"):
            self._append({"trial": number, "tests": result["tests"]})
        self._tell(number, Outcome(result["outcome"]), result)
        self.watch_budget()

    def retried(self, number: int) -> None:
        """Note that Tune starts a trial again after its worker died."""
        log.warning("trial %d lost its worker and is started again", number)
        self.study.note_retry(number)

    # -- bookkeeping ----------------------------------------------------------------------------------------------

    def watch_budget(self) -> None:
        """Drain when a bound of the budget is used up that running trials must heed too."""
        self.study.save_active(every_s=SAVE_ACTIVE_EVERY_S)
        spent = self.study.tally.spent()
        if spent and not spent.startswith("patience"):  # without patience, what runs may still end
            self.drain(f"budget {spent}")

    def _note_time(self, result: Mapping[str, Any]) -> None:
        self._ended = self._clock()
        if self._began is None:
            self._began = self._ended - result["seconds"]

    @property
    def trials_s(self) -> float:
        """Seconds from the start of the wave's first trial to its last report: all else is the wave's boundary."""
        return self._ended - self._began if self._began is not None else 0.0

    def _write(self, number: int, result: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        entry = {"trial": number, "step": result["step"], "seconds": round(result["seconds"], 3), "metrics": metrics}
        self._append(entry)

    def _append(self, entry: Mapping[str, Any]) -> None:
        self._history.write(json.dumps(entry) + "\n")
        self._history.flush()  # before the trial is told: a driver killed in between must not leave it without

    def _tell(self, number: int, outcome: Outcome, result: Mapping[str, Any]) -> None:
        record = {name: result[name] for name in USAGE if name in result}
        record |= {"metrics": result.get("metrics", {}), "wave": self.number}
        if result.get("error"):
            record["error"] = result["error"]
        self.running.pop(number, None)
        self.num_ended += 1
        self.slot_seconds += result.get("seconds", 0.0)
        self._kept.after(self.study.tell(number, outcome, record))

    def close(self) -> None:
        """Close the wave's files."""
        self._history.close()


class _Kept:
    """Which checkpoints stay: a few of the best, by the spec's `keep`, so that a long search stays small on disk."""

    def __init__(self, study: SearchStudy, paths: SearchPaths) -> None:
        self._spec = study.spec
        self._paths = paths
        self._kept: list[TrialRecord] = []
        self._num_ended: Counter[int] = Counter()
        for record in study.records():
            if record.outcome is not None and record.outcome is not Outcome.STOPPED:
                self._num_ended[record.configuration] += 1
            if record.outcome is Outcome.COMPLETED and paths.checkpoint(record.number).exists():
                self._kept.append(record)

    def after(self, record: TrialRecord) -> None:
        keep = self._spec.keep
        if keep.checkpoints == "all" or record.outcome is Outcome.STOPPED:
            return
        self._num_ended[record.configuration] += 1
        if record.outcome is not Outcome.COMPLETED or keep.checkpoints == "none":
            self._paths.checkpoint(record.number).unlink(missing_ok=True)
        else:
            self._kept.append(record)
        self._drop()

    def _drop(self) -> None:
        """Drop the worst beyond the spec's number; a set whose other seeds still have to end is not judged yet."""
        judged = [record for record in self._kept if self._num_ended[record.configuration] == len(self._spec.seeds)]
        if len(judged) <= self._spec.keep.top:
            return
        for record in ranked_trials(self._spec, judged)[self._spec.keep.top :]:
            self._kept.remove(record)
            self._paths.checkpoint(record.number).unlink(missing_ok=True)
