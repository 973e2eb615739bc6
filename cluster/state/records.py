"""Trials as plain records, read from a search directory without disturbing the process that writes it."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cluster.machine.files import DamagedFileError, parse, read_object
from cluster.state.figures import Figures, figure, figures_of
from cluster.state.journal_reader import ReadStudy, ReadTrial, StudyReader
from cluster.state.notes import ASSIGNED, ATTEMPTS, FAILURES, RESULT, Failure, ending
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from cluster.state.raised import Raised, from_json
from cluster.state.storage import JOURNAL, open_storage
from cluster.state.storage_errors import reaching
from search_spaces.spec import Spec
from search_spaces.validation import explain_validation


@dataclass(frozen=True, kw_only=True)
class TrialRecord(Figures):
    """One trial as the study has it.

    `outcome` is None while the trial runs or waits to be taken up again; a trial that was stopped on purpose keeps it.
    """

    number: int
    outcome: Outcome | None
    configuration: int
    """The id that ties the repetitions of one configuration."""
    params: dict[str, Any]
    """What the sampler chose: labels for structured choices."""
    config: dict[str, Any]
    """Every field of the method's config."""
    metrics: dict[str, float] = field(default_factory=dict)
    error: str = figure("", "The exception with its traceback, or why it was ended.", is_measured=False)
    raised: list[Raised] = field(default_factory=list)
    """The exception that ended it and those it came from, the one that was raised last at the end."""
    failures: list[Failure] = field(default_factory=list)
    """Every time that the machine failed it: `outcome`, `step`, `wave` and `error`."""
    is_open: bool = False
    """Whether it runs, or will be taken up again."""
    began_at: float | None = None
    """When it was first started, in seconds since 1970."""
    ended_at: float | None = None


_ROWS_AT_ONCE = 512
_IN_RESULT = tuple(one.name for one in figures_of(TrialRecord))


def load_spec(paths: SearchPaths) -> Spec:
    """Return a search's resolved spec.

    Raises DamagedFileError if the file is damaged, or if a later version wrote it.
    """
    text = paths.spec.read_text(errors="replace")
    try:
        return Spec.model_validate_json(text)
    except ValidationError as error:
        raise DamagedFileError(f"{paths.spec}: {_why_no_spec(error, text)}") from None


def _why_no_spec(error: ValidationError, text: str) -> str:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as broken:
        said = "it is empty" if not text.strip() else f"it is damaged ({broken})"
        return f"{said}; the file that the search was launched with is spec.yaml, beside it"
    unknown = [".".join(map(str, one["loc"])) for one in error.errors() if one["type"] == "extra_forbidden"]
    if unknown:
        return f"this version of swell does not know {', '.join(unknown)}: a later one has written it. Use that one"
    said = "; ".join(map(str, explain_validation(error, Spec, values)))
    return f"it is damaged, or another version of swell has written it ({said})"


def noted_settings(paths: SearchPaths) -> dict[str, str] | None:
    """Return the variables that change numbers as they were at a search's launch; None if none were noted then."""
    return (read_object(paths.provenance) or {}).get("environment")


def launched_from(paths: SearchPaths) -> Path:
    """Return the working directory that a search was launched from."""
    return Path((read_object(paths.provenance) or {}).get("working_directory") or ".")


def method_folders(paths: SearchPaths) -> list[Path]:
    """Return the folders in which a search's own method is looked for, in the order of the import path.

    They are the search's copy of the artifact that the spec names as its code, and the folder it was launched from, so
    that the method is found wherever the search is resumed.
    """
    code = (read_object(paths.spec) or {}).get("code")
    return [*([paths.artifact(code)] if code else []), launched_from(paths)]


@contextmanager
def open_study(paths: SearchPaths) -> Iterator[tuple[Any, int] | None]:
    """Open a search's Optuna storage for reading; yield it with the study's id, or None if there is none yet.

    Raises StorageAwayError if the storage cannot be reached, also while it is being read.
    """
    address = (read_object(paths.spec) or {}).get("storage", JOURNAL)
    with reaching(address):
        storage = open_storage(paths, address)
        if storage is None:
            yield None
            return
        try:
            try:
                study_id = storage.optuna.get_study_id_from_name(storage.study_name)
            except KeyError:
                yield None
            else:
                yield storage.optuna, study_id
        finally:
            storage.close()


def _has_journal(paths: SearchPaths) -> bool:
    return (read_object(paths.spec) or {}).get("storage", JOURNAL) == JOURNAL


def _read_journal(paths: SearchPaths, reader: StudyReader) -> ReadStudy:
    with reaching(JOURNAL):
        return (reader.read() if paths.journal.exists() else None) or ReadStudy()


class StudyRecords:
    """The trials and waves of one search, read again and again: of a journal, only what is new."""

    def __init__(self, paths: SearchPaths) -> None:
        self._paths = paths
        self._reader = StudyReader(paths.journal)
        self._ended: list[tuple[ReadTrial, TrialRecord] | None] = []
        """By number, the trials that had ended; the reader makes them anew if such an end may have been taken back."""

    def read(self) -> tuple[list[TrialRecord], list[dict[str, Any]]]:
        """Return what `load_trials` and `load_waves` return."""
        records, notes = self.read_with_notes()
        return records, waves_in(notes)

    def read_with_notes(self) -> tuple[list[TrialRecord], Mapping[str, Any]]:
        """Return the trials, and the study's own notes (Optuna's user attributes)."""
        if _has_journal(self._paths):
            study = _read_journal(self._paths, self._reader)
            return [self._record(trial) for trial in study.trials], study.user_attrs
        with open_study(self._paths) as study:
            if study is None:
                return [], {}
            storage, study_id = study
            records = [record_of(trial) for trial in storage.get_all_trials(study_id, deepcopy=False)]
            return records, storage.get_study_user_attrs(study_id)

    def _record(self, trial: ReadTrial) -> TrialRecord:
        self._ended += [None] * (trial.number + 1 - len(self._ended))
        known = self._ended[trial.number]
        if known is not None and known[0] is trial:
            return known[1]
        record = record_of(trial)
        self._ended[trial.number] = (trial, record) if trial.state.is_finished() else None
        return record


def load_trials(paths: SearchPaths) -> list[TrialRecord]:
    """Return all trials of a search, running or ended, by number; none if no wave has started."""
    return load_trials_and_waves(paths)[0]


def load_trials_and_waves(paths: SearchPaths) -> tuple[list[TrialRecord], list[dict[str, Any]]]:
    """Return what `load_trials` and `load_waves` return, and read the study once."""
    return StudyRecords(paths).read()


def load_waves(paths: SearchPaths) -> list[dict[str, Any]]:
    """Return what was noted of each wave that has ended: its trials, its seconds, how busy its slots were.

    Waves come in the order of their ends. With several jobs, each wave also has the `job` that it is numbered in.
    """
    if _has_journal(paths):
        return waves_in(_read_journal(paths, StudyReader(paths.journal)).user_attrs)
    with open_study(paths) as study:
        return waves_in(study[0].get_study_user_attrs(study[1])) if study else []


def waves_in(study_attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the waves in a study's attributes, those of one job or of several."""
    waves = list(study_attributes.get("waves", []))
    shared = [(key, value) for key, value in study_attributes.items() if key.startswith("waves.")]
    if not shared:
        return waves
    waves += [{"job": int(key.removeprefix("waves.")), **wave} for key, value in shared for wave in value]
    return sorted(waves, key=lambda wave: wave.get("ended_at", 0.0))


def record_of(trial: Any) -> TrialRecord:
    """Return the record of an Optuna trial."""
    assigned, result = ASSIGNED.of(trial), RESULT.of(trial)
    outcome = ending(result)
    # Figures that only another version knows are left out.
    figures: dict[str, Any] = {name: result[name] for name in _IN_RESULT if name in result}
    figures["attempts"] = ATTEMPTS.of(trial)
    figures["inputs"] = assigned.get("inputs", "") if assigned else ""
    is_open = not trial.state.is_finished()
    if is_open and outcome not in (Outcome.STOPPED.value, Outcome.DISK_FULL.value):
        outcome = None
    return TrialRecord(
        number=trial.number,
        outcome=Outcome(outcome) if outcome else None,
        configuration=assigned["configuration"] if assigned else trial.number,
        params=dict(trial.params),
        config=assigned["config"] if assigned else {},
        metrics={name: _as_number(value) for name, value in result.get("metrics", {}).items()},
        raised=from_json(result.get("raised", ())),
        failures=FAILURES.of(trial),
        is_open=is_open,
        began_at=_seconds(trial.datetime_start),
        ended_at=_seconds(trial.datetime_complete),
        **figures,
    )


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None


def _as_number(value: Any) -> float:
    """Return a metric as a number; earlier versions let a trial end with metrics that were none."""
    try:
        return value if isinstance(value, int | float) and math.isfinite(value) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def load_history(paths: SearchPaths) -> Iterator[dict[str, Any]]:
    """Yield every report of every trial: `trial`, `step`, `seconds` and `metrics`; each step once.

    A trial that continued from a checkpoint has repeated the reports since; they are the same numbers.
    """
    seen: set[tuple[int, int]] = set()
    for file in sorted(paths.histories.glob("*wave-*.jsonl")):
        with file.open("rb") as lines:
            for line in lines:
                entry = _reported(line)
                if entry is None:
                    continue
                if isinstance(entry.get("metrics"), dict):
                    entry["metrics"] = {name: _as_number(value) for name, value in entry["metrics"].items()}
                key = (entry["trial"], entry.get("step", -1))  # test results have no step
                if key in seen:
                    continue
                seen.add(key)
                yield entry


def _reported(line: bytes) -> dict[str, Any] | None:
    """Return the report in a history's line; None if the line is damaged, torn by a kill, or still being written."""
    try:
        entry = parse(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) and type(entry.get("trial")) is int else None


def violations(spec: Spec, metrics: Mapping[str, float]) -> list[float]:
    """Return by how much each constraint is violated, in the metric's unit; infinite if it was not measured."""
    amounts = []
    for constraint in spec.constraints:
        value = metrics.get(constraint.metric, math.nan)
        if constraint.max is not None:
            amounts.append(value - constraint.max)
        if constraint.min is not None:
            amounts.append(constraint.min - value)
    return [math.inf if math.isnan(amount) else amount for amount in amounts]


def ranked(spec: Spec, metrics: Sequence[Mapping[str, float]]) -> list[int]:
    """Return the indices of results, best first: feasible before infeasible, then by the objective.

    With several objectives, results that fewer others dominate come first; equals are ordered by the first objective. A
    result that lacks its objective comes last.
    """
    signs = [1 if objective.mode == "min" else -1 for objective in spec.objectives]
    scores = [
        [
            _worst_if_nan(sign * result.get(objective.metric, math.nan))
            for sign, objective in zip(signs, spec.objectives, strict=True)
        ]
        for result in metrics
    ]
    excess = [sum(max(amount, 0.0) for amount in violations(spec, result)) for result in metrics]
    dominated = [0] * len(scores)
    if spec.is_multi_objective:
        feasible = [score for score, amount in zip(scores, excess, strict=True) if amount == 0]
        dominated = num_dominating(scores, feasible)
    return sorted(range(len(scores)), key=lambda i: (excess[i], dominated[i], scores[i], i))


def _worst_if_nan(value: float) -> float:
    return math.inf if math.isnan(value) else value


def num_dominating(scores: Sequence[Sequence[float]], others: Sequence[Sequence[float]]) -> list[int]:
    """Return how many of the `others` dominate each of the scores: are nowhere larger and somewhere smaller."""
    if not len(scores) or not len(others):
        return [0] * len(scores)
    import numpy as np  # thousands of results have millions of pairs

    found: list[int] = []
    against = np.asarray(others, dtype=float)
    for start in range(0, len(scores), _ROWS_AT_ONCE):
        some = np.asarray(scores[start : start + _ROWS_AT_ONCE], dtype=float)[:, None, :]
        found += ((against <= some).all(-1) & (against < some).any(-1)).sum(1).tolist()
    return found


def is_feasible(spec: Spec, metrics: Mapping[str, float]) -> bool:
    """Return whether a result keeps every constraint."""
    return all(amount <= 0 for amount in violations(spec, metrics))


def mean_metrics(spec: Spec, metrics: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the means of the objectives and constrained metrics over the results of one configuration's seeds."""
    names = dict.fromkeys(part.metric for part in (*spec.objectives, *spec.constraints))
    return {name: math.fsum(one.get(name, math.nan) for one in metrics) / len(metrics) for name in names}


def ranked_trials(spec: Spec, completed: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return completed trials, best first.

    With repeated seeds, complete sets come first, ordered by their means; the trials of a set stay together, the best
    seed first. The trials of incomplete sets follow, ordered by their own results.
    """
    if spec.repeats is None:
        return [completed[index] for index in ranked(spec, [record.metrics for record in completed])]
    sets: dict[int, list[TrialRecord]] = {}
    for record in completed:
        sets.setdefault(record.configuration, []).append(record)
    whole = [trials for trials in sets.values() if len(trials) == len(spec.seeds)]
    rest = [record for trials in sets.values() if len(trials) != len(spec.seeds) for record in trials]
    order = ranked(spec, [mean_metrics(spec, [record.metrics for record in trials]) for trials in whole])
    groups = [*(whole[index] for index in order), rest]
    return [trials[index] for trials in groups for index in ranked(spec, [record.metrics for record in trials])]
