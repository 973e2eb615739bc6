"""Compares a trial that was trained again with its record: whether it ended the same way, with the same numbers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from cluster.state.records import TrialRecord, load_history

UNFINISHED = ("", Outcome.PRUNED.value, Outcome.STOPPED.value)
"""Outcomes that came from outside: a trial that is trained again goes on beyond them."""


@dataclass(frozen=True)
class Run:
    """The results of one training of a configuration."""

    outcome: str
    """Empty if it has not ended."""
    step: int
    metrics: dict[str, float] = field(default_factory=dict)
    error: str = ""
    reports: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    """The step and metrics of every report that has metrics."""

    @classmethod
    def of(cls, paths: SearchPaths, record: TrialRecord) -> "Run":
        """Return the results that a search has recorded of a trial."""
        entries = [entry for entry in load_history(paths) if entry["trial"] == record.number]
        # The last report of a trial that raised an exception has no metrics.
        reports = sorted((entry["step"], entry["metrics"]) for entry in entries if entry.get("metrics"))
        step = max([record.step, *(step for step, _ in reports)])
        return cls(record.outcome.value if record.outcome else "", step, record.metrics, record.error, reports)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Run":
        """Return the run that `as_json` was called on."""
        return cls(**{**values, "reports": [(step, metrics) for step, metrics in values["reports"]]})

    def as_json(self) -> dict[str, Any]:
        """Return the run as values that JSON can hold."""
        return asdict(self)


@dataclass(frozen=True)
class Difference:
    """A metric that differs; None stands for a metric that was not reported."""

    step: int
    metric: str
    recorded: float | None
    again: float | None

    def __str__(self) -> str:
        was, now = (f"{value!r}" if value is not None else "not reported" for value in (self.recorded, self.again))
        return f"step {self.step}, {self.metric} was {was} and is {now}"


def same(left: float | None, right: float | None) -> bool:
    """Return whether two values are equal bit for bit; NaN equals NaN."""
    both_nan = isinstance(left, float) and isinstance(right, float) and math.isnan(left) and math.isnan(right)
    return both_nan or left == right


def difference(step: int, recorded: Mapping[str, float], again: Mapping[str, float]) -> Difference | None:
    """Return the first metric in which two reports differ."""
    for name in dict.fromkeys([*recorded, *again]):
        if not same(recorded.get(name), again.get(name)):
            return Difference(step, name, recorded.get(name), again.get(name))
    return None


def first_difference(recorded: Run, again: Run) -> Difference | None:
    """Return the first metric in which two runs differ, over the recorded reports that the second run has reached."""
    reports = dict(again.reports)
    for step, metrics in recorded.reports:
        if step in reports or step < again.step:
            found = difference(step, metrics, reports.get(step, {}))
            if found:
                return found
    return None


def describe(recorded: Run, again: Run, objectives: Sequence[str]) -> list[str]:
    """Return lines that say whether a trial ended as before; among its metrics, `objectives` come first."""
    lines = [_ends(recorded, again)]
    if recorded.error and again.error:
        lines.append(f"its error is {'the same' if said(recorded.error) == said(again.error) else 'another'}")
    return [*lines, _reports(recorded, again), *_metrics(recorded, again, objectives)]


def _ends(recorded: Run, again: Run) -> str:
    was = f"{recorded.outcome} at step {recorded.step}" if recorded.outcome else f"open, at step {recorded.step}"
    now = f"{again.outcome} at step {again.step}" if again.outcome else f"open, at step {again.step}"
    if was == now:
        return f"ended as before: {now}"
    goes_on = recorded.outcome in UNFINISHED and (again.step > recorded.step or again.outcome == "completed")
    return f"trained on: was {was}, is {now}" if goes_on else f"ended differently: was {was}, is {now}"


def _reports(recorded: Run, again: Run) -> str:
    steps = {step for step, _ in again.reports}
    num_recorded, num = len(recorded.reports), sum(step in steps for step, _ in recorded.reports)
    if not num_recorded:
        return "reports: the search has none of this trial"
    found = first_difference(recorded, again)
    if found:
        return f"reports: the first difference is at {found}"
    left = "" if num == num_recorded else f", the other {num_recorded - num} not reached"
    return f"reports: {num} of {num_recorded} are the same{left}"


def _metrics(recorded: Run, again: Run, objectives: Sequence[str]) -> list[str]:
    """Return a table of the final metrics, which are only compared if both runs ended at the same step."""
    measured = recorded.metrics.keys() | again.metrics.keys()
    names = [name for name in dict.fromkeys([*objectives, *recorded.metrics, *again.metrics]) if name in measured]
    if not names:
        return []
    comparable = (recorded.outcome, recorded.step) == (again.outcome, again.step)
    rows = [("metrics", f"recorded (step {recorded.step})", f"now (step {again.step})", "")]
    for name in names:
        was, now = recorded.metrics.get(name), again.metrics.get(name)
        differs = comparable and not same(was, now)
        rows.append((name, _show(was, whole=differs), _show(now, whole=differs), "differs" if differs else ""))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {d}".rstrip() for a, b, c, d in rows]


def _show(value: float | None, *, whole: bool) -> str:
    """Return a metric's value as text; `whole` with all digits, as two values may differ only in the last."""
    if value is None:
        return ""
    return repr(value) if whole or not isinstance(value, int | float) else f"{value:.6g}"


def said(error: str) -> str:
    """Return the last exception's text in a traceback, without frames, since another caller may have caught it."""
    lines = error.strip().splitlines()
    last = max((index for index, line in enumerate(lines) if line.startswith('  File "')), default=-1)
    end = next((index for index in range(last + 1, len(lines)) if lines[index][:2] != "  "), len(lines))
    return "\n".join(lines[end:])
