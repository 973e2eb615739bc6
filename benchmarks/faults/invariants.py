"""What must hold of a search whatever was done to it: pure functions that return every violation as a sentence."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path

import psutil

from benchmarks.faults.planted import Planted
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from cluster.state.records import TrialRecord, load_history

TRACEBACK = "Traceback (most recent call last)"
Records = Mapping[int, TrialRecord]
Row = tuple[str, str, str, int]


def table(records: Records) -> dict[int, Row]:
    """Return what must not depend on what happened: params, outcome, metrics and step by number, bit for bit."""
    return {number: _row(record) for number, record in sorted(records.items())}


def _row(record: TrialRecord) -> Row:
    """Return one row; `repr` of a float is exact, and NaN equals itself."""
    outcome = record.outcome.value if record.outcome else "none"
    return repr(sorted(record.params.items())), outcome, repr(sorted(record.metrics.items())), record.step


def has_ended(record: TrialRecord) -> bool:
    """Whether a trial has its result for good."""
    return record.outcome is not None and not record.is_open


def changed(before: Records, after: Records) -> list[str]:
    """Hold what was seen of the trials before a fault against what there is at the end.

    A trial that had ended has the same record; every number seen has the same configuration.
    """
    problems = []
    for number, was in before.items():
        now = after.get(number)
        if now is None:
            problems.append(f"trial {number} is lost")
        elif has_ended(was) and now != was:
            different = [f.name for f in fields(was) if getattr(was, f.name) != getattr(now, f.name)]
            problems.append(f"trial {number} had ended, and its record changed in {', '.join(different)}")
        elif was.config and (was.config, was.params) != (now.config, now.params):
            problems.append(f"trial {number} has another configuration than before")
    return problems


def numbered(records: Iterable[TrialRecord], num_trials: int) -> list[str]:
    """Hold the trials' numbers against 0 to n - 1, each once, and each with an outcome."""
    records = list(records)
    problems = []
    numbers = [record.number for record in records]
    if sorted(numbers) != list(range(num_trials)):
        problems.append(f"the trials are numbered {numbers}, not 0 to {num_trials - 1}")
    open_ = [record.number for record in records if not has_ended(record)]
    if open_:
        problems.append(f"trials {open_} have no outcome at the end")
    return problems


def differing(rows: Mapping[int, Row], reference: Mapping[int, Row]) -> list[str]:
    """Hold a search's table against that of the undisturbed search, every trial of it."""
    names = ("params", "outcome", "metrics", "step")
    problems = []
    for number in sorted({*rows, *reference}):
        mine, other = rows.get(number), reference.get(number)
        if mine is None or other is None:
            problems.append(f"trial {number} is in one table only")
        elif mine != other:
            parts = [
                f"{name} {mine[index]} instead of {other[index]}"
                for index, name in enumerate(names)
                if mine[index] != other[index]
            ]
            problems.append(f"trial {number} differs from the undisturbed search: {'; '.join(parts)}"[:600])
    return problems


def history_problems(paths: SearchPaths, records: Records, steps: int) -> list[str]:
    """Hold the histories against the trials: every step once, and a step reported twice the same numbers twice."""
    problems, first = [], {}
    for file in sorted(paths.histories.glob("wave-*.jsonl")):
        for line in file.read_text(errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:  # torn
                continue
            if not isinstance(entry, dict) or "step" not in entry:
                continue
            metrics = repr(sorted(entry["metrics"].items()))
            if first.setdefault((entry["trial"], entry["step"]), metrics) != metrics:
                problems.append(f"trial {entry['trial']} reported other numbers at step {entry['step']} when restarted")
    reported: dict[int, list[int]] = {}
    for entry in load_history(paths):
        if "step" in entry:
            reported.setdefault(entry["trial"], []).append(entry["step"])
    for number, record in records.items():
        seen = sorted(reported.get(number, []))
        if record.outcome is Outcome.COMPLETED and seen != list(range(1, steps + 1)):
            missing = sorted({*range(1, steps + 1)} - {*seen})
            problems.append(f"trial {number} completed, but its history lacks the steps {missing}")
    return problems


def left_processes(processes: Iterable[psutil.Process]) -> list[str]:
    """Name the processes that should have ended."""
    problems = []
    for process in processes:
        try:
            problems.append(f"process {process.pid} is left: {' '.join(process.cmdline())[:80] or process.name()}")
        except psutil.Error:
            continue
    return problems


def scratch_entries(root: Path, planted: Planted) -> list[Path]:
    """Return what is in the scratch root besides what was planted."""
    foreign = {Path(path).parts[1] for path in planted.entries if Path(path).parts[:1] == (root.name,)}
    return [entry for entry in sorted(root.iterdir()) if entry.name not in foreign]


def left_scratch(root: Path, planted: Planted) -> list[str]:
    """Name what is left in the scratch root besides what was planted."""
    return [f"scratch is left: {entry.name}" for entry in scratch_entries(root, planted)]


def left_unfinished(paths: SearchPaths) -> list[str]:
    """Name the temporary files of writers that were killed."""
    files = sorted(file for file in paths.root.rglob(".*.tmp"))
    return [f"an unfinished file is left: {file.relative_to(paths.root)}" for file in files]


def printed_problems(command: str, text: str) -> list[str]:
    """Look for a traceback in what a command printed."""
    if TRACEBACK not in text:
        return []
    return [f"`{command}` printed a traceback: ...{text[text.index(TRACEBACK) :].strip()[-500:]}"]
