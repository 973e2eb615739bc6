"""Trials in groups that have the same values in some columns: counts, and each metric's mean, spread and best."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from analysis.tables.cells import numbers
from analysis.tables.columns import must_be_there
from analysis.tables.several import Trials
from cluster.state.outcomes import Outcome
from cluster.wording import count

FAILED = {one.value for one in Outcome if one.is_failure}


def grouped(trials: Trials, by: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Return a row per group of trials that have the same values in some columns, and which trials its numbers are of.

    Columns: those of `by`; `trials`, `completed`, `pruned`, `failed` and `unfinished` count; of each objective and each
    constrained metric `_mean`, `_median`, `_std` and `_best`. These are over the completed trials that keep all
    constraints. Groups with the best trials come first. Raises TableError if a column is not there.
    """
    for name in by:
        must_be_there(name, trials.frame.columns)
    modes = _modes(trials)
    frame, remarks = trials.frame, []
    counts = {name: f"num_{name}" if name in by else name for name in _COUNTS}
    scored = frame["outcome"] == Outcome.COMPLETED.value
    if trials.constraints and "feasible" in frame.columns:
        kept = frame["feasible"].map(lambda value: value is not False and value != False)  # noqa: E712 - NumPy's too
        broken = int((scored & ~kept).sum())
        if broken:
            remarks.append(f"{count(broken, 'completed trial')} more break a constraint and are in no mean or best")
        scored &= kept
    rows = []
    for _, group in frame.groupby(list(by), dropna=False, sort=False):
        row: dict[str, object] = {name: group[name].iloc[0] for name in by}
        row |= {counts[name]: number for name, number in _counted(group.loc[:, "outcome"]).items()}
        for column, mode in modes.items():
            row |= _summary(_finite(group.loc[scored.loc[group.index]], column), column, mode)
        rows.append(row)
    result = pd.DataFrame(rows)
    for column in modes:
        absent = int(scored.sum()) - len(_finite(frame.loc[scored], column))
        if absent:
            remarks.append(f"{count(absent, 'completed trial')} without a finite {column}: not in its numbers")
    what = count(int(scored.sum()), "completed trial") + (" that keep all constraints" if trials.constraints else "")
    said = f"mean, median, std and best are of {what}; trials also counts pruned, failed and unfinished ones"
    first = trials.objectives[0]
    best = f"{first.column}_best"
    key = [best, f"{first.column}_mean"] if best in result.columns else [f"{first.column}_mean"]
    ordered = result.sort_values(key, ascending=first.sign == 1, kind="stable", na_position="last")
    return ordered.reset_index(drop=True), [said, *remarks]


_COUNTS = ("trials", "completed", "pruned", "failed", "unfinished")


def _counted(outcomes: pd.Series) -> dict[str, int]:
    done, pruned = (int((outcomes == one.value).sum()) for one in (Outcome.COMPLETED, Outcome.PRUNED))
    failed = int(outcomes.isin(list(FAILED)).sum())
    rest = len(outcomes) - done - pruned - failed
    return dict(zip(_COUNTS, (len(outcomes), done, pruned, failed, rest), strict=True))


def _modes(trials: Trials) -> dict[str, Literal["min", "max"] | None]:
    """Return the judged metrics with what is good: small, large, or neither for one that is bounded on both sides."""
    modes: dict[str, Literal["min", "max"] | None] = {}
    for one in trials.objectives:
        modes[one.column] = one.mode if modes.get(one.column, one.mode) == one.mode else None
    for bound in trials.constraints:
        good = None if bound.min is not None and bound.max is not None else "min" if bound.min is None else "max"
        modes.setdefault(bound.column, good)
    return {column: mode for column, mode in modes.items() if column in trials.frame.columns}


def _finite(trials: pd.DataFrame, column: str) -> np.ndarray:
    values = numbers(trials, column)
    return values[np.isfinite(values)]


def _summary(values: np.ndarray, column: str, mode: Literal["min", "max"] | None) -> dict[str, float]:
    found = {
        f"{column}_mean": float(values.mean()) if len(values) else np.nan,
        f"{column}_median": float(np.median(values)) if len(values) else np.nan,
        f"{column}_std": float(values.std(ddof=1)) if len(values) > 1 else np.nan,
    }
    if mode is not None:
        best = values.min if mode == "min" else values.max
        found[f"{column}_best"] = float(best()) if len(values) else np.nan
    return found
