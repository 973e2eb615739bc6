"""What the pages show, as plain values: all searches in a list, and of one search the quick part and the whole."""

import math
import socket
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from analysis.crashed import find_crashes
from analysis.dashboard.reports import Reports
from cluster.jobs.launched import read_launch
from cluster.jobs.standing import QueueAnswer, Standing, ask_queues, load_snapshot, standing_of, supervisors_at_work
from cluster.machine.disks import read_disks
from cluster.machine.memory import available_memory_gb, total_memory_gb
from cluster.machine.scratch import scratch_folder
from cluster.state.guarding import folders_in_use, load_guard_events
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths, all_searches
from cluster.state.records import StudyRecords, TrialRecord, load_spec, ranked_trials, violations
from cluster.wording import whose_best
from search_spaces.errors import UserError
from search_spaces.spec import Spec

ASK_QUEUE_EVERY_S = 30.0
"""A queue is many people's: it is asked no more often than this, however many pages are open."""
MOST_CURVES = 24
MOST_BEST = 10
MOST_POINTS = 2000
"""Of the best so far; of more, the moments at which it improved and a regular choice of the others."""
READING_SHARE = 0.02
"""Telling all that a study knows takes at most this share of a core, also if it changes all the time."""


class _Once:
    """A value that is computed anew only if its source has changed, and seldom if that takes long."""

    def __init__(self) -> None:
        self._source: Any = None
        self._value: Any = None
        self._again_at = 0.0

    def of(self, source: Any, compute: Any) -> Any:
        """Return the value for a source."""
        now = time.monotonic()
        if self._value is None or (source != self._source and now >= self._again_at):
            self._value, self._source = compute(), source
            took = time.monotonic() - now
            self._again_at = time.monotonic() + took / READING_SHARE
        return self._value


class Watched:
    """One search, read again and again."""

    def __init__(self, paths: SearchPaths) -> None:
        self.paths = paths
        self.spec: Spec = load_spec(paths)
        self._reports = Reports(paths)
        self._records = StudyRecords(paths)
        self._study = _Once()
        self._lock = Lock()
        self._study_lock = Lock()
        """Of its own: how far a search is can be said while its study is read for seconds."""

    def quick(self, answer: QueueAnswer) -> dict[str, Any]:
        """Return how far the search is, by its snapshot, its histories and this machine."""
        snapshot = load_snapshot(self.paths)
        standing = standing_of(self.paths, snapshot, answer)
        running = snapshot.get("running", []) if standing.state == "running" else []
        objective = self.spec.objectives[0]
        best = snapshot.get("best")
        shown = [entry["trial"] for entry in running[:MOST_CURVES]]
        with self._lock:
            self._reports.update()
            curves = self._reports.curves([*shown, *([best["trial"]] if best else [])], objective.metric)
        outcomes: Mapping[str, int] = snapshot.get("outcomes", {})
        return {
            "name": self.paths.name,
            "trainable": self.spec.trainable,
            "objective": self._objective(),
            "state": standing.state,
            "why": standing.why,
            "where": standing.where,
            "trouble": standing.trouble,
            "doing": snapshot.get("doing", ""),
            "ended": sum(outcomes.values()),
            "max_trials": snapshot.get("max_trials"),
            "outcomes": [_outcome(name, number) for name, number in outcomes.items()],
            "best": best and {**best, "whose": whose_best(best.get("trials") or [best["trial"]])},
            "eta_s": snapshot.get("eta_s") if standing.state == "running" else None,
            "updated_at": snapshot.get("updated_at"),
            "core_hours": snapshot.get("core_hours"),
            "slots": snapshot.get("slots"),
            "wave": snapshot.get("wave"),
            "running": [_finite(entry) for entry in running],
            "curves": [{"trial": trial, "points": points} for trial, points in curves.items() if points],
            "machine": self._machine(standing),
        }

    def _objective(self) -> dict[str, str]:
        objective = self.spec.objectives[0]
        return {"metric": objective.metric, "mode": objective.mode}

    def _machine(self, standing: Standing) -> dict[str, Any]:
        """Return this machine's disks and memory if the search runs here, and what was cleaned."""
        here = any(one.get("host") == socket.gethostname() for one in supervisors_at_work(self.paths))
        freed = [event.get("freed_bytes", 0) for event in load_guard_events(self.paths) if event["what"] == "cleaned"]
        found: dict[str, Any] = {"freed_gb": sum(freed) / 1e9, "cleanings": len(freed)}
        if here or not standing.is_active:
            reading = read_disks(folders_in_use(self.paths, scratch_folder()))
            found["disks"] = [
                {"roles": list(disk.roles), "free_gb": disk.free_bytes / 1e9, "total_gb": disk.total_bytes / 1e9}
                for disk in reading.disks
            ]
        if here:
            found |= {"memory_free_gb": available_memory_gb(), "memory_gb": total_memory_gb()}
        return found

    def whole(self) -> dict[str, Any]:
        """Return what only the study knows: the best trials, the course, failures, waves, nodes."""
        with self._study_lock:
            return self._study.of(_changed_at(self.paths), self._read)

    def _read(self) -> dict[str, Any]:
        records, waves = self._records.read()
        completed = [record for record in records if record.outcome is Outcome.COMPLETED]
        ranked = ranked_trials(self.spec, completed)[:MOST_BEST]
        crashes = find_crashes(self.paths, records)
        nodes = Counter(record.host for record in records if record.host)
        metrics = [one.metric for one in self.spec.objectives]
        return {
            "objective": self._objective(),
            "has_repeats": self.spec.repeats is not None,
            "best": {
                "columns": [*self.spec.space, *metrics],
                "rows": [
                    {
                        "trial": r.number,
                        "values": [*(_shown(r, n) for n in self.spec.space), *(r.metrics.get(m) for m in metrics)],
                    }
                    for r in ranked
                ],
            },
            "course": self._course(records),
            "failures": [
                {
                    "outcome": g.outcome.value,
                    "what": g.what,
                    "where": g.where,
                    "trials": list(g.trials[:20]),
                    "number": len(g.trials),
                }
                for g in crashes.groups
            ],
            "waves": [
                {name: wave.get(name) for name in ("wave", "job", "trials", "trials_s", "slots", "utilisation")}
                for wave in waves
            ],
            "nodes": [{"host": host, "trials": number} for host, number in nodes.most_common()],
            "peak_memory_mb": max((record.peak_memory_mb for record in records), default=0.0),
        }

    def _course(self, records: list[TrialRecord]) -> list[dict[str, Any]]:
        """Return the completed trials in the order of their ends, with the best feasible one until each."""
        objective = self.spec.objectives[0]
        sign = 1 if objective.mode == "min" else -1
        ended = [
            r
            for r in records
            if r.outcome is Outcome.COMPLETED and math.isfinite(r.metrics.get(objective.metric, math.nan))
        ]
        points: list[dict[str, Any]] = []
        best = math.inf
        for place, record in enumerate(sorted(ended, key=lambda one: (one.ended_at or 0.0, one.number)), start=1):
            value = record.metrics[objective.metric]
            feasible = all(amount <= 0 for amount in violations(self.spec, record.metrics))
            improved = feasible and sign * value < best
            best = sign * value if improved else best
            points.append(
                {
                    "place": place,
                    "trial": record.number,
                    "value": value,
                    "best": sign * best,
                    "improved": improved,
                    "feasible": feasible,
                }
            )
        every = -(-len(points) // MOST_POINTS)
        return [point for index, point in enumerate(points) if every < 2 or point["improved"] or index % every == 0]


def _shown(record: TrialRecord, name: str) -> Any:
    value = record.params.get(name, record.config.get(name))
    return str(value) if isinstance(value, list | dict) else value


def _outcome(name: str, number: int) -> dict[str, Any]:
    outcome = Outcome(name)
    return {"name": name, "number": number, "is_failure": outcome.is_failure, "sentence": outcome.sentence}


def _finite(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a snapshot's entry without numbers that JSON has no words for."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in entry.items()}


def _changed_at(paths: SearchPaths) -> tuple[tuple[str, int, int], ...]:
    """Return the sizes and times of the files that tell whether a study has changed."""
    found = []
    for file in (paths.journal, paths.status, *(job.status for job in paths.of_jobs())):
        try:
            status = file.stat()
            found.append((file.name, status.st_size, status.st_mtime_ns))
        except OSError:
            continue
    return tuple(found)


class Watch:
    """All searches below a root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._watched: dict[str, tuple[float, Watched]] = {}
        self._answer = QueueAnswer({})
        self._asked_at = -math.inf
        self._lock = Lock()

    def search(self, name: str) -> Watched | None:
        """Return a search by its name; None if there is none that can be read."""
        paths = next((one for one in all_searches(self.root) if one.name == name), None)
        if paths is None:
            self._watched.pop(name, None)
            return None
        made = paths.spec.stat().st_mtime
        with self._lock:
            known = self._watched.get(name)
            if known is None or known[0] != made:  # another search may have taken the name
                known = self._watched[name] = (made, Watched(paths))
        return known[1]

    def answer(self) -> QueueAnswer:
        """Return what queues know of the jobs of all searches; asked seldom."""
        with self._lock:
            if time.monotonic() - self._asked_at > ASK_QUEUE_EVERY_S:
                launches = []
                for paths in all_searches(self.root):
                    try:
                        if not load_snapshot(paths).get("finished"):
                            launches.append(read_launch(paths))
                    except (OSError, UserError):
                        continue
                self._answer, self._asked_at = ask_queues(launches), time.monotonic()
            return self._answer

    def searches(self) -> list[dict[str, Any]]:
        """Return a row per search, newest first; one that cannot be read hides no other."""
        answer, rows = self.answer(), []
        for paths in all_searches(self.root):
            row: dict[str, Any] = {"name": paths.name}
            try:
                row["made_at"] = paths.spec.stat().st_mtime
                snapshot = load_snapshot(paths)
                standing = standing_of(paths, snapshot, answer)
                outcomes: Mapping[str, int] = snapshot.get("outcomes", {})
                row |= {
                    "state": standing.state,
                    "why": standing.why,
                    "where": standing.where if standing.is_active else "",
                }
                row |= {"ended": sum(outcomes.values()), "max_trials": snapshot.get("max_trials")}
                row |= {"failed": sum(n for name, n in outcomes.items() if Outcome(name).is_failure)}
                row |= {"running": len(snapshot.get("running", [])) if standing.state == "running" else 0}
                row |= {"best": (snapshot.get("best") or {}).get("value")}
            except (OSError, UserError) as error:
                row |= {"state": "unreadable", "why": str(error)}
            rows.append(row)
        return rows
