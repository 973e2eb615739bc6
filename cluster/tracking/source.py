"""Reads what a tracker shows from the search's records as they grow: trials from the study, reports from histories."""

import hashlib
import json
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.machine.files import read_object
from cluster.state.paths import SearchPaths
from cluster.state.records import TrialRecord, open_study, record_of


@dataclass(frozen=True)
class Report:
    """A trial's metrics at one step."""

    step: int
    seconds: float
    """Seconds of the trial so far, over all its attempts."""
    metrics: Mapping[str, float]


@dataclass
class _Reports:
    """The reports of one trial, in the order of their steps."""

    reports: list[Report] = field(default_factory=list)
    before_s: float = 0.0
    """Seconds of the attempts before this one."""
    last: tuple[Path, int, float] | None = None
    """The history, step and seconds of the last line, even if it repeats a step."""

    def add(self, file: Path, entry: Mapping[str, Any]) -> None:
        """Add a line of a history; a step that an attempt repeats after its checkpoint counts once."""
        step, seconds = entry["step"], entry["seconds"]
        if self.last is not None and (file != self.last[0] or step <= self.last[1] or seconds < self.last[2]):
            self.before_s += self.last[2]  # a new attempt counts its seconds from zero
        self.last = (file, step, seconds)
        if not self.reports or step > self.reports[-1].step:
            self.reports.append(Report(step, round(self.before_s + seconds, 3), entry["metrics"]))


class Source:
    """The growing records of one search; reads nothing twice."""

    def __init__(self, paths: SearchPaths, shown: Collection[int] = ()) -> None:
        self._paths = paths
        self._shown = set(shown)
        self._study: tuple[Any, int] | None = None
        self._open = ExitStack()
        self._read: dict[Path, int] = {}
        self._reports: dict[int, _Reports] = {}

    def look(self) -> list[TrialRecord]:
        """Return the trials, running and ended, that are not shown completely yet; read their new reports.

        The study is read first: a trial's reports are in its history before its end is in the study.
        """
        found = [record for record in self._trials() if record.number not in self._shown]
        for file in sorted(self._paths.histories.glob("*wave-*.jsonl")):
            self._follow(file)
        return found

    def reports(self, trial: int) -> list[Report]:
        """Return the reports of a trial so far."""
        return self._reports[trial].reports if trial in self._reports else []

    def forget(self, trial: int) -> None:
        """Forget a trial that has been shown completely."""
        self._shown.add(trial)
        self._reports.pop(trial, None)

    def _trials(self) -> list[TrialRecord]:
        if self._study is None:
            with ExitStack() as stack:
                self._study = stack.enter_context(open_study(self._paths))
                if self._study is None:
                    return []
                self._open = stack.pop_all()  # an open journal is read on from its last place
        storage, study_id = self._study
        trials = storage.get_all_trials(study_id, deepcopy=False)
        return [record_of(trial) for trial in trials if trial.number not in self._shown]

    def _follow(self, file: Path) -> None:
        with file.open("rb") as lines:
            lines.seek(self._read.get(file, 0))
            for line in lines:
                if not line.endswith(b"\n"):
                    break  # being written, or torn by a kill
                self._read[file] = self._read.get(file, 0) + len(line)
                entry = json.loads(line)
                if "step" in entry and entry["trial"] not in self._shown:
                    self._reports.setdefault(entry["trial"], _Reports()).add(file, entry)


def search_id(paths: SearchPaths) -> str:
    """Return an id of a search that stays the same if its directory is moved."""
    provenance = read_object(paths.provenance) or {}
    parts = [provenance.get(name) for name in ("created_at", "host", "working_directory", "user")]
    return f"{paths.name[:64]}-{hashlib.sha256(json.dumps([paths.name, *parts]).encode()).hexdigest()[:8]}"


def run_id(search: str, trial: int) -> str:
    """Return the id of a trial's run; it never changes, so that a run that is written twice is still one run."""
    return f"{search}-{trial:06d}"
