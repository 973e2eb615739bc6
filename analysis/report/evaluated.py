"""How trained models do on further test sets, as `swell evaluate` has kept it: a table of trials by sets."""

from dataclasses import dataclass

import pandas as pd

from analysis.evaluation.evaluate import chosen_columns
from analysis.report.packing import packed
from analysis.report.tables import Table, listed, table_of
from analysis.search import Search
from cluster.wording import count

MOST_NAMED = 6
"""Test sets that the sentence names."""


@dataclass(frozen=True)
class Evaluated:
    """What models gave on further test sets."""

    sentence: str
    tables: list[Table]
    """A table per statistic, trials by test sets; the first one is the most telling."""
    csv: str
    """Every trial, test set and statistic; packed."""
    num_rows: int


def evaluated(search: Search) -> Evaluated | None:
    """Return how models of a search do on further test sets; None if none was ever applied to any."""
    found = search.evaluations()
    if found.empty:
        return None
    order = {number: place for place, number in enumerate(search.trials["trial"])}  # best first
    found = found.sort_values("trial", key=lambda column: column.map(order), kind="stable", ignore_index=True)
    sets = list(dict.fromkeys(found["test_set"]))
    statistics = [name for name in chosen_columns(found, None).columns if name not in ("trial", "test_set")]
    named = [*sets[:MOST_NAMED], *([f"{len(sets) - MOST_NAMED} more"] if len(sets) > MOST_NAMED else [])]
    sentence = (
        f"Models of {count(len(set(found['trial'])), 'trial')} were applied to {count(len(sets), 'test set')} by "
        f"swell evaluate: {listed(named)}."
    )
    return Evaluated(
        sentence, [_by_set(found, sets, one) for one in statistics], packed(found.to_csv(index=False)), len(found)
    )


def _by_set(found: pd.DataFrame, sets: list[str], statistic: str) -> Table:
    """Return one statistic, a row per trial and a column per set; empty if a model was not applied to one."""
    wide = found.pivot(index="trial", columns="test_set", values=statistic)
    wide = wide.reindex(index=list(dict.fromkeys(found["trial"])), columns=sets).reset_index()
    return table_of(wide, f"{statistic} of each trial's model on each test set, the best trial of the search first")
