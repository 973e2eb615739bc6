"""The levels of a factor: its choices, or bins of its numbers; and what came of each."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from analysis.mattered.comparable import NOT_ENDED, VALUE, Comparable, is_active, numbers
from analysis.search import Factor, Search
from cluster.state.outcomes import Outcome

NUM_BINS = 4
"""Quantile bins of a factor that is a range of numbers."""
SCORES = ("n", "best", "best_trial", "median", "mean", "std", "seed_std")
"""The columns of a level that say what it scored."""
FATES = (
    "trials",
    "ended",
    "failed",
    "failed_share",
    "pruned_share",
    "core_hours",
    "core_hours_mean",
    "wall_time_s_mean",
)
"""The columns that say what became of a level's trials and what they cost."""
MOST_VALUES = 8
"""A range of numbers of which no more values than this were tried has its values as levels."""


def level_labels(search: Search, factor: Factor, trials: pd.DataFrame) -> pd.Series:
    """Return the level of each trial as text, an ordered categorical over all levels of the search.

    A trial in which the factor was not searched, because its conditions did not hold, has none (NaN). Numbers fall into
    quantile bins over all trials of the search, so that a level means the same whichever trials are asked for; a
    bin's label has the smallest and largest value that was tried in it.
    """
    active = is_active(search, factor, trials).to_numpy()
    if factor.levels is None:
        tried = numbers(search.trials, factor.column).to_numpy()
        bins = _bins(tried[is_active(search, factor, search.trials).to_numpy() & ~np.isnan(tried)])
        found = numbers(trials, factor.column).to_numpy()
        names = [_bin_name(*ends) for ends in bins]
        codes = np.searchsorted(np.array([high for _, high in bins[:-1]]), found, side="left")
        codes[np.isnan(found) | ~active] = -1
    else:
        names, codes = _choices(factor, search.trials, trials)
        codes[~active] = -1
    return pd.Series(pd.Categorical.from_codes(codes, names, ordered=True), index=trials.index)


def _choices(factor: Factor, everyone: pd.DataFrame, trials: pd.DataFrame) -> tuple[list[str], np.ndarray]:
    """Return the names of the choices, in the given order, and the place of each trial's among them."""
    levels = {_key(level): level for level in factor.levels or ()}
    if factor.column not in trials.columns:
        return [_name(level) for level in levels.values()], np.full(len(trials), -1)
    for value in everyone[factor.column].dropna().unique():
        levels.setdefault(_key(value), value)
    names = [_name(level) for level in levels.values()]
    if len(set(names)) < len(names):  # 1 beside "1": the types tell them apart
        names = [repr(level) for level in levels.values()]
    places = {key: place for place, key in enumerate(levels)}
    found, values = pd.factorize(trials[factor.column], use_na_sentinel=False)
    of_value = np.array([places.get(_key(value), -1) for value in values], dtype=int)
    return names, of_value[found] if len(values) else np.full(len(trials), -1)


def _key(value: object) -> object:
    """Return what is equal for equal levels: a table may show 1 as 1.0, and None as NaN, but True is not 1."""
    if value is None or value is pd.NA or value != value:
        return None
    if isinstance(value, bool | np.bool_):
        return ("bool", bool(value))
    if isinstance(value, int | float | np.number):
        return float(value)  # pyright: ignore[reportArgumentType]
    return str(value)


def _name(level: object) -> str:
    if isinstance(level, float | np.floating):
        return f"{level:.6g}"
    return str(level)


def _bins(values: np.ndarray) -> list[tuple[float, float]]:
    """Return the smallest and largest value of each quantile bin."""
    tried = np.unique(values)
    if len(tried) <= MOST_VALUES:
        return [(value, value) for value in tried]
    inner = np.quantile(values, np.arange(1, NUM_BINS) / NUM_BINS)
    places = np.searchsorted(np.unique(inner), tried, side="left")
    return [(tried[places == place].min(), tried[places == place].max()) for place in np.unique(places)]


def _bin_name(low: float, high: float) -> str:
    digits = next((n for n in range(3, 17) if low == high or f"{low:.{n}g}" != f"{high:.{n}g}"), 16)
    return f"{low:.6g}" if low == high else f"{low:.{digits}g} to {high:.{digits}g}"


def levels_table(
    search: Search, factor: Factor, among: Comparable, early: Mapping[int, float] | None = None
) -> pd.DataFrame:
    """Return a row per level of a factor: what it scored, how often it failed or was stopped early, what it cost.

    Columns: `level`; of the comparable and feasible trials (or configurations, if repeated) `n`, `best`, `best_trial`,
    `median`, `mean`, `std` and `seed_std`; of all trials of the level `trials`, `ended`, `failed`, `failed_share` and
    `pruned_share` (of those that ended), `infeasible_share` (of those that are comparable), `core_hours` in all, and
    `core_hours_mean` and `wall_time_s_mean` of one completed trial. With `early`, the objective of trials at the first
    rung, also `early_n` and `early_median` of all that reached it, stopped or not. What is not known is NaN.
    """
    everyone = search.trials
    of_trial = level_labels(search, factor, everyone)
    of_unit = level_labels(search, factor, among.units)
    rows = []
    for level in of_trial.cat.categories:
        units = among.units.loc[of_unit == level]
        rows.append({"level": level, **_scores(search, units), **_fates(search, everyone.loc[of_trial == level])})
        if early is not None:
            reached = [early[number] for number in everyone.loc[of_trial == level, "trial"] if number in early]
            rows[-1] |= {"early_n": len(reached), "early_median": np.median(reached) if reached else np.nan}
        if search.constraints:
            rows[-1]["infeasible_share"] = 1 - units["feasible"].mean() if len(units) else np.nan
    if not rows:  # a range of numbers of which none was tried
        return pd.DataFrame(columns=["level", *SCORES, *FATES])
    return pd.DataFrame(rows)


def _scores(search: Search, units: pd.DataFrame) -> dict[str, object]:
    kept = units.loc[units["feasible"]]
    values, sign = kept[VALUE], search.objective.sign
    spread = kept["seed_std"].dropna()
    return {
        "n": len(kept),
        "best": sign * (sign * values).min() if len(kept) else np.nan,
        "best_trial": kept["trial"].iloc[0] if len(kept) else pd.NA,
        "median": values.median(),
        "mean": values.mean(),
        "std": values.std(),
        "seed_std": float(np.sqrt((spread**2).mean())) if len(spread) else np.nan,
    }


def _fates(search: Search, trials: pd.DataFrame) -> dict[str, object]:
    """Return what became of a level's trials and what they cost, whatever their end."""
    outcome = trials["outcome"]
    ended = ~outcome.isin(NOT_ENDED)
    completed, pruned = outcome == Outcome.COMPLETED.value, outcome == Outcome.PRUNED.value
    num = np.count_nonzero(ended)
    cpu, wall = numbers(trials, "cpu_time_s"), numbers(trials, "wall_time_s")
    return {
        "trials": len(trials),
        "ended": num,
        "failed": np.count_nonzero(ended & ~completed & ~pruned),
        "failed_share": (ended & ~completed & ~pruned).sum() / num if num else np.nan,
        "pruned_share": pruned.sum() / num if num else np.nan,
        "core_hours": cpu.sum(min_count=1) / 3600,
        "core_hours_mean": cpu[completed].mean() / 3600,
        "wall_time_s_mean": wall[completed].mean(),
    }
