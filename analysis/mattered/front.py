"""The Pareto front of a search with several objectives."""

import numpy as np
import pandas as pd

from analysis.mattered.comparable import SETS, VALUE, Comparable
from analysis.search import Search

CHUNK = 256
"""Results that are held against all others at once."""


def pareto_front(search: Search, views: list[Comparable]) -> pd.DataFrame:
    """Return the feasible comparable trials (or configurations) of which none is worse than another by all objectives.

    `views` are the comparable trials by each objective. Columns: `trial`, `configuration`, the objectives, the factors;
    ordered by the first objective.
    """
    key = "configuration" if views[0].noun == SETS else "trial"
    front = views[0].feasible.set_index(key, drop=False).rename(columns={VALUE: search.objectives[0].column})
    for objective, view in zip(search.objectives[1:], views[1:], strict=True):
        values = view.feasible.set_index(key)[VALUE]
        front = front.loc[front.index.isin(values.index)]
        front = front.assign(**{objective.column: values.reindex(front.index)})
    names = [objective.column for objective in search.objectives]
    signs = np.array([objective.sign for objective in search.objectives])
    kept = is_best(front[names].to_numpy(dtype=float) * signs)
    columns = ["trial", "configuration", *names, *(factor.column for factor in search.factors)]
    return front.loc[kept].filter(items=list(dict.fromkeys(columns))).reset_index(drop=True)


def is_best(scores: np.ndarray) -> np.ndarray:
    """Return which rows no other row dominates: none is at most as large everywhere, and smaller somewhere."""
    kept = np.full(len(scores), True)
    for start in range(0, len(scores), CHUNK):
        own = scores[start : start + CHUNK]
        at_most = np.all(scores[None] <= own[:, None], axis=2)
        smaller = np.any(scores[None] < own[:, None], axis=2)
        kept[start : start + CHUNK] = ~np.any(at_most & smaller, axis=1)
    return kept
