"""The trial table: one row per trial, every config field and metric a column, units in the names."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cluster.outcomes import Outcome
from cluster.paths import SearchPaths
from cluster.records import TrialRecord, load_spec, load_trials, ranked, ranked_trials
from search_spaces.spec import Spec

USAGE_COLUMNS = {
    "step": "steps_trained",
    "seconds": "wall_time_s",
    "cpu_seconds": "cpu_time_s",
    "compile_seconds": "compile_time_s",
    "peak_memory_mb": "peak_memory_mb",
    "wave": "wave",
    "attempts": "attempts",
    "xla_threads": "xla_threads",
    "host": "host",
    "error": "error",
}


@dataclass(frozen=True)
class TrialTable:
    """A search's trials as a data frame, and which of its columns are what."""

    spec: Spec
    frame: pd.DataFrame
    """One row per trial, best first: `rank` counts the completed ones from 1, all others follow by number."""

    @property
    def searched(self) -> list[str]:
        """The columns of what was searched, in the spec's order; the seed too where it was repeated."""
        repeated = ["seed"] if self.spec.repeats else []
        return [name for name in [*self.spec.space, *repeated] if name in self.frame.columns]

    @property
    def judged(self) -> list[str]:
        """The columns of the objectives and of the constrained metrics."""
        names = [part.metric for part in (*self.spec.objectives, *self.spec.constraints)]
        return [name for name in dict.fromkeys(names) if name in self.frame.columns]

    def short(self) -> pd.DataFrame:
        """Return the columns that fit on a page."""
        names = ["rank", "trial", "outcome", *self.judged, *self.searched, "steps_trained", "wall_time_s"]
        return self.frame.filter(items=names)


def load_table(paths: SearchPaths) -> TrialTable:
    """Return the table of a search, running or finished."""
    return make_table(load_spec(paths), load_trials(paths))


def make_table(spec: Spec, records: Sequence[TrialRecord]) -> TrialTable:
    """Return the table of some trials; a structured choice shows its name, not its content."""
    completed = [record for record in records if record.outcome is Outcome.COMPLETED]
    ranks = {record.number: place for place, record in enumerate(ranked_trials(spec, completed), start=1)}
    rows = [_row(record, ranks.get(record.number)) for record in records]
    rows.sort(key=lambda row: (row["rank"] is None, row["rank"] or 0, row["trial"]))
    frame = pd.DataFrame(rows)
    if not frame.empty:
        frame["rank"] = frame["rank"].astype("Int64")
        usage = [name for name in USAGE_COLUMNS.values() if name in frame.columns]
        frame = frame.filter(items=[name for name in frame.columns if name not in usage] + usage)
    return TrialTable(spec, frame)


def _row(record: TrialRecord, rank: int | None) -> dict[str, object]:
    config = {name: record.params.get(name, value) for name, value in record.config.items()}
    row: dict[str, object] = {
        "rank": rank,
        "trial": record.number,
        "configuration": record.configuration,
        "outcome": record.outcome.value if record.outcome else "running",
        **{name: str(value) if isinstance(value, list | dict) else value for name, value in config.items()},
    }
    for name, value in record.metrics.items():
        row[name if name not in row else f"{name}_measured"] = value
    for name, column in USAGE_COLUMNS.items():
        row[column] = getattr(record, name)
    return row


def by_configuration(table: TrialTable) -> pd.DataFrame:
    """Return one row per configuration, its seeds' mean and standard deviation; complete sets rank first.

    A set is complete when the trial of every seed completed; only those are compared with each other.
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
        for metric in table.judged:
            values = [trial[metric] for trial in done]
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
