"""A row per configuration: means and spreads over its seeds."""

import math
import statistics

import numpy as np
import pandas as pd

from analysis.search import Search
from analysis.sources.ranking import with_ranks
from analysis.tables.constraints import excess
from cluster.state.outcomes import Outcome


def by_configuration(search: Search) -> pd.DataFrame:
    """Return a row per configuration, with mean and standard deviation over its seeds; complete sets rank first.

    A set is complete if the trials of all seeds completed; only complete sets are compared with each other.
    """
    judged = list(dict.fromkeys(one.column for one in (*search.objectives, *search.constraints)))
    judged = [name for name in judged if name in search.trials.columns]
    names = [factor.column for factor in search.factors if factor.column in search.trials.columns]
    num_seeds = _num_seeds(search)
    rows, means = [], []
    for configuration, trials in search.trials.groupby("configuration", sort=True):
        done = trials.loc[trials["outcome"] == Outcome.COMPLETED.value]
        values = {name: [float(one) for one in done[name] if not pd.isna(one)] for name in judged}
        whole = len(done) == num_seeds
        row = {"configuration": configuration, "seeds_completed": len(done)}
        row |= {name: trials[name].iloc[0] for name in names}
        for name in judged:
            row[f"{name}_mean"] = statistics.fmean(values[name]) if values[name] else math.nan
            row[f"{name}_std"] = statistics.stdev(values[name]) if len(values[name]) > 1 else math.nan
        if "wall_time_s" in trials.columns:
            row["wall_time_s_sum"] = trials["wall_time_s"].sum()
        rows.append(row)
        outcome = Outcome.COMPLETED.value if whole else "incomplete"
        mean = {name: row[f"{name}_mean"] if len(values[name]) == len(done) else math.nan for name in judged}
        means.append({"trial": configuration, "outcome": outcome, **mean})
    frame = pd.DataFrame(means, columns=["trial", "outcome", *judged])
    ranked = with_ranks(frame, search.objectives, excess(frame, search.constraints))
    order = [int(place) for place in np.searchsorted(frame["trial"], ranked["trial"])]
    found = pd.DataFrame(rows).iloc[order].reset_index(drop=True)
    found.insert(0, "rank", ranked["rank"])
    return found


def _num_seeds(search: Search) -> int:
    """Return how many trials a complete set has; a source that does not know the seeds has as many as it has most."""
    if search.seed is None:
        return 1
    return len(search.seeds) or max(len(set(one)) for _, one in search.trials.groupby("configuration")[search.seed])
