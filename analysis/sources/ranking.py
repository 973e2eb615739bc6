"""Ranks the trials of a table: feasible ones first, complete sets of seeds first, then by what is good."""

import numpy as np
import pandas as pd

from analysis.search import Objective
from cluster.state.outcomes import Outcome
from cluster.state.records import num_dominating


def with_ranks(
    trials: pd.DataFrame, objectives: tuple[Objective, ...], excess: pd.Series | None = None, seed: str | None = None
) -> pd.DataFrame:
    """Return a table of trials, best first, with the column `rank` for the completed ones; all others by number.

    `excess` says by how much a trial breaks its constraints. With a `seed`'s column, complete sets come first, ordered
    by their means, and the trials of a set stay together. With several objectives, trials that fewer others dominate
    come first.
    """
    trials = trials.sort_values("trial", kind="stable", ignore_index=not len(trials))
    excess = pd.Series(0.0, index=trials.index) if excess is None else excess.reindex(trials.index).fillna(np.inf)
    done = trials.loc[trials["outcome"] == Outcome.COMPLETED.value]
    signs = np.array([one.sign for one in objectives])
    scores = done.reindex(columns=[one.column for one in objectives]).to_numpy(dtype=float) * signs
    scores = pd.DataFrame(np.nan_to_num(scores, nan=np.inf, posinf=np.inf, neginf=-np.inf), index=done.index)
    order = _order(scores, excess.loc[done.index])
    if seed is not None:
        order = _sets_first(done.loc[order], seed, scores, excess)
    rest = [label for label in trials.index if label not in set(order)]
    ranks = pd.array([*range(1, len(order) + 1), *([pd.NA] * len(rest))], dtype="Int64")
    placed = trials.loc[[*order, *rest]].reset_index(drop=True)
    placed.insert(0, "rank", ranks)
    return placed


def _order(scores: pd.DataFrame, excess: pd.Series) -> list[object]:
    """Return the labels of results, best first."""
    values = scores.to_numpy()
    dominated = np.zeros(len(values), dtype=int)
    if values.shape[1] > 1:
        dominated = np.array(num_dominating(values.tolist(), values[excess.to_numpy() == 0].tolist()), dtype=int)
    keys = [np.arange(len(values)), *values.T[::-1], dominated, excess.to_numpy()]
    return list(scores.index[np.lexsort(keys)])


def _sets_first(done: pd.DataFrame, seed: str, scores: pd.DataFrame, excess: pd.Series) -> list[object]:
    """Return the labels with complete sets first, ordered by their means; `done` is in its own order already."""
    sets = {key: one.index for key, one in done.groupby("configuration", sort=False)}
    num_seeds = {key: done.loc[labels, seed].nunique() for key, labels in sets.items()}
    most = max(num_seeds.values(), default=0)
    whole = [key for key in sets if num_seeds[key] == most]
    means = pd.DataFrame([scores.loc[sets[key]].mean() for key in whole], index=whole).reindex(columns=scores.columns)
    over = pd.Series([excess.loc[sets[key]].mean() for key in whole], index=whole, dtype=float)
    first = [label for key in _order(means, over) for label in sets[key]]
    return first + [label for label in done.index if label not in set(first)]
