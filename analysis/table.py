"""The trial table: one row per trial, a column per config field and metric, units in the columns' names."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cluster.state.figures import figures_of
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from cluster.state.records import TrialRecord, is_feasible, load_spec, load_trials, ranked, ranked_trials
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
    def mixed(self) -> list[str]:
        """Which of `code` and `settings` are not the same in all trials that tell theirs."""
        return [name for name in ORIGINS if self._num_origins(name) > 1]

    def _num_origins(self, name: str) -> int:
        return len({value for value in self.frame[name] if value}) if name in self.frame.columns else 0

    @property
    def mixture(self) -> str:
        """A warning about numbers that do not come from one code under one set of settings; empty if they do."""
        if not self.mixed:
            return ""
        parts = [f"{self._num_origins(name)} {ORIGINS[name]}" for name in self.mixed]
        return f"these trials come from {' and '.join(parts)}: compare them with care"

    def short(self) -> pd.DataFrame:
        """Return the table with only the columns that fit on a page."""
        names = [
            "rank",
            "trial",
            "outcome",
            "feasible",
            *self.judged.values(),
            *self.searched,
            "steps_trained",
            "wall_time_s",
            *self.mixed,
        ]
        return self.frame.filter(items=names)


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


def by_configuration(table: TrialTable) -> pd.DataFrame:
    """Return a row per configuration, with mean and standard deviation over its seeds; complete sets rank first.

    A set is complete if the trials of all seeds completed; only complete sets are compared with each other.
    """
    spec = table.spec
    names = [name for name in table.searched if name != "seed"]
    sets: dict[int, list[dict[str, Any]]] = {}
    for trial in table.frame.to_dict("records"):
        sets.setdefault(trial["configuration"], []).append(trial)
    rows = []
    for configuration, trials in sorted(sets.items()):
        done = [trial for trial in trials if trial["outcome"] == Outcome.COMPLETED.value]
        row: dict[str, Any] = {
            "rank": None,
            "configuration": configuration,
            "seeds_completed": len(done),
            **{name: trials[0][name] for name in names},
        }
        for metric, column in table.judged.items():
            values = [trial[column] for trial in done]
            row[f"{metric}_mean"] = statistics.fmean(values) if values else math.nan
            row[f"{metric}_std"] = statistics.stdev(values) if len(values) > 1 else math.nan
        row["wall_time_s_sum"] = sum(trial["wall_time_s"] for trial in trials)
        rows.append(row)
    complete = [row for row in rows if row["seeds_completed"] == len(spec.seeds)]
    order = ranked(spec, [{metric: row[f"{metric}_mean"] for metric in table.judged} for row in complete])
    best_first = [complete[index] for index in order]
    for place, row in enumerate(best_first, start=1):
        row["rank"] = place
    frame = pd.DataFrame([*best_first, *(row for row in rows if row["rank"] is None)])
    frame["rank"] = frame["rank"].astype("Int64")
    return frame
