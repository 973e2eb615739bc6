"""The trial table: one row per trial, every config field and metric a column, units in the names."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from cluster.outcomes import Outcome
from cluster.paths import SearchPaths
from cluster.records import TrialRecord, load_spec, load_trials, ranked
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
        return self.frame[[name for name in names if name in self.frame.columns]]


def load_table(paths: SearchPaths) -> TrialTable:
    """Return the table of a search, running or finished."""
    return make_table(load_spec(paths), load_trials(paths))


def make_table(spec: Spec, records: Sequence[TrialRecord]) -> TrialTable:
    """Return the table of some trials; a structured choice shows its name, not its content."""
    completed = [record for record in records if record.outcome is Outcome.COMPLETED]
    order = ranked(spec, [record.metrics for record in completed])
    ranks = {completed[index].number: place for place, index in enumerate(order, start=1)}
    rows = [_row(record, ranks.get(record.number)) for record in records]
    rows.sort(key=lambda row: (row["rank"] is None, row["rank"] or 0, row["trial"]))
    frame = pd.DataFrame(rows)
    if not frame.empty:
        frame["rank"] = frame["rank"].astype("Int64")
        usage = [name for name in USAGE_COLUMNS.values() if name in frame.columns]
        frame = frame[[name for name in frame.columns if name not in usage] + usage]
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
    spec, frame = table.spec, table.frame
    names = [name for name in table.searched if name != "seed"]
    rows = []
    for configuration, trials in frame.groupby("configuration", sort=True):
        done = trials[trials["outcome"] == Outcome.COMPLETED.value]
        row: dict[str, object] = {
            "configuration": configuration,
            "complete": len(done) == len(spec.seeds),
            "seeds_completed": len(done),
            **{name: trials[name].iloc[0] for name in names},
        }
        for metric in table.judged:
            row[f"{metric}_mean"] = done[metric].mean()
            row[f"{metric}_std"] = done[metric].std()
        row["wall_time_s_sum"] = trials["wall_time_s"].sum()
        rows.append(row)
    result = pd.DataFrame(rows)
    if result.empty:
        return result
    means = [{metric: row[f"{metric}_mean"] for metric in table.judged} for _, row in result.iterrows()]
    place = {index: position for position, index in enumerate(ranked(spec, means))}
    order = sorted(result.index, key=lambda index: (not result["complete"][index], place[index]))
    result = result.loc[order].reset_index(drop=True)
    result.insert(0, "rank", [i + 1 if complete else pd.NA for i, complete in enumerate(result["complete"])])
    return result
