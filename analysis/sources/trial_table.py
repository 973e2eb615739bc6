"""The trial table: one row per trial, a column per config field and metric, units in the columns' names."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from cluster.state.figures import figures_of
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from cluster.state.records import TrialRecord, is_feasible, load_spec, load_trials, ranked_trials
from search_spaces.spec import Spec

FIGURES = figures_of(TrialRecord)
ORIGINS = {"code": "versions of the code (column code)", "settings": "settings of the libraries (column settings)"}
"""The columns that must be the same in trials that are compared, and what they are called."""
TIMES = ("began_at", "ended_at")
OUR_COLUMNS = {"rank", "trial", "configuration", "outcome", "feasible", *TIMES, *(one.column for one in FIGURES)}
"""Columns that a config field or a metric of the same name must not take: it gets a prefix instead."""


@dataclass(frozen=True)
class TrialTable:
    """A search's trials as a data frame, and what its columns are."""

    spec: Spec
    frame: pd.DataFrame
    """One row per trial, best first: `rank` counts the completed ones from 1, all others follow by number."""

    @property
    def searched(self) -> list[str]:
        """The columns of the searched parameters, in the spec's order; also the seed if it was repeated."""
        repeated = ["seed"] if self.spec.repeats else []
        names = map(config_column, [*self.spec.space, *repeated])
        return [name for name in names if name in self.frame.columns]

    @property
    def judged(self) -> dict[str, str]:
        """The columns of the objectives and constrained metrics that were measured, by metric."""
        names = dict.fromkeys(part.metric for part in (*self.spec.objectives, *self.spec.constraints))
        columns = {name: f"metric.{name}" if f"metric.{name}" in self.frame.columns else name for name in names}
        return {name: column for name, column in columns.items() if column in self.frame.columns}

    @property
    def mixture(self) -> str:
        """A warning about numbers that do not come from one code under one set of settings; empty if they do."""
        parts = [f"{_num_origins(self.frame, name)} {ORIGINS[name]}" for name in mixed_origins(self.frame)]
        return f"these trials come from {' and '.join(parts)}: compare them with care" if parts else ""


def mixed_origins(frame: pd.DataFrame) -> list[str]:
    """Return which of the columns `code` and `settings` are not the same in all trials that tell theirs."""
    return [name for name in ORIGINS if _num_origins(frame, name) > 1]


def _num_origins(frame: pd.DataFrame, name: str) -> int:
    return len({value for value in frame[name] if isinstance(value, str) and value}) if name in frame.columns else 0


def load_table(paths: SearchPaths) -> TrialTable:
    """Return the table of a search, which may still be running."""
    return make_table(load_spec(paths), load_trials(paths))


def make_table(spec: Spec, records: Sequence[TrialRecord]) -> TrialTable:
    """Return the table of some trials; shows a structured choice by its name, not by its content."""
    completed = [record for record in records if record.outcome is Outcome.COMPLETED]
    ranks = {record.number: place for place, record in enumerate(ranked_trials(spec, completed), start=1)}
    rows = [_row(spec, record, ranks.get(record.number)) for record in records]
    rows.sort(key=lambda row: (row["rank"] is None, row["rank"] or 0, row["trial"]))
    frame = pd.DataFrame(rows)
    if not frame.empty:
        frame["rank"] = frame["rank"].astype("Int64")
        usage = [one.column for one in FIGURES if one.column in frame.columns]
        frame = frame.filter(items=[name for name in frame.columns if name not in usage] + usage)
    return TrialTable(spec, frame)


def _row(spec: Spec, record: TrialRecord, rank: int | None) -> dict[str, object]:
    row: dict[str, object] = {
        "rank": rank,
        "trial": record.number,
        "configuration": record.configuration,
        "outcome": record.outcome.value if record.outcome else "running",
    }
    if spec.constraints:
        row["feasible"] = is_feasible(spec, record.metrics) if record.metrics else None
    usage = {one.column: getattr(record, one.name) for one in FIGURES}
    for name, value in record.config.items():
        shown = record.params.get(name, value)
        row[config_column(name)] = str(shown) if isinstance(shown, list | dict) else shown
    for name, value in record.metrics.items():
        row[f"metric.{name}" if name in row or name in OUR_COLUMNS else name] = value
    return row | usage


def config_column(name: str) -> str:
    """Return the name of a config field's column: the field's name, unless one of our columns has it."""
    return f"config.{name}" if name in OUR_COLUMNS else name
