"""The rows of the trial table as plain values, units in the columns' names; made without pandas, which loads slowly."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from cluster.state.figures import figures_of
from cluster.state.outcomes import Outcome
from cluster.state.records import TrialRecord, is_feasible, ranked_trials
from search_spaces.spec import Spec

FIGURES = figures_of(TrialRecord)
ORIGINS = {
    "code": "versions of the code (column code)",
    "settings": "settings of the libraries (column settings)",
    "inputs": "versions of the data files (column inputs)",
}
"""The columns that must be the same in trials that are compared, and what they are called."""
TIMES = ("began_at", "ended_at")
OUR_COLUMNS = {"rank", "trial", "configuration", "outcome", "feasible", *TIMES, *(one.column for one in FIGURES)}
"""Columns that a config field or a metric of the same name must not take: it gets a prefix instead."""


def trial_rows(spec: Spec, records: Sequence[TrialRecord]) -> list[dict[str, object]]:
    """Return a row per trial, best first; `rank` counts the completed ones from 1, all others follow by number.

    A structured choice is shown by its name, not by its content.
    """
    completed = [record for record in records if record.outcome is Outcome.COMPLETED]
    ranks = {record.number: place for place, record in enumerate(ranked_trials(spec, completed), start=1)}
    rows = [(ranks.get(record.number), record) for record in records]
    rows.sort(key=lambda row: (row[0] is None, row[0] or 0, row[1].number))
    return [_row(spec, record, rank) for rank, record in rows]


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


def columns_judged(spec: Spec, columns: Collection[str]) -> dict[str, str]:
    """Return the columns of the objectives and constrained metrics by metric, of those that are there."""
    names = dict.fromkeys(part.metric for part in (*spec.objectives, *spec.constraints))
    judged = {name: f"metric.{name}" if f"metric.{name}" in columns else name for name in names}
    return {name: column for name, column in judged.items() if column in columns}


def columns_on_a_page(
    judged: Iterable[str], searched: Iterable[str], mixed: Iterable[str], there: Collection[str]
) -> list[str]:
    """Return the columns that fit on a page: what was judged, what was searched, what it took, and mixed origins."""
    names = ["rank", "trial", "outcome", "feasible", *judged, *searched, "steps_trained", "wall_time_s", *mixed]
    return [name for name in dict.fromkeys(names) if name in there]


def num_origins(values: Iterable[object]) -> int:
    """Return how many different origins a column of `ORIGINS` names."""
    return len({value for value in values if isinstance(value, str) and value})


def mixture(numbers: Mapping[str, int]) -> str:
    """Return a warning about columns of `ORIGINS` with several origins, by their numbers; empty if there are none."""
    parts = [f"{number} {ORIGINS[name]}" for name, number in numbers.items() if number > 1]
    return f"these trials come from {' and '.join(parts)}: compare them with care" if parts else ""
