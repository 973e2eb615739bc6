"""The trials of a factor's levels, crossed with the settings of all other factors and with the seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.mattered.comparable import NOT_ENDED, VALUE, Comparable, is_active, numbers
from analysis.mattered.crossed import spans_orders
from analysis.mattered.levels import MOST_VALUES, level_labels
from analysis.search import Factor, Search
from cluster.state.outcomes import Outcome


@dataclass(frozen=True)
class SeedTable:
    """What came of each level of a factor in each setting of the other factors with each seed.

    The arrays have the axes level, setting, seed. Of trials that are equal in all three (because of factors that only
    one of the levels has) the mean counts.
    """

    levels: tuple[str, ...]
    scores: np.ndarray
    """The objective of comparable trials so that small is good, as natural logarithms if `is_ratio`; NaN elsewhere."""
    completed: np.ndarray
    """Where a feasible trial completed, whether or not its configuration has all its seeds."""
    failed: np.ndarray
    """Where trials failed and none completed."""
    num_failed: np.ndarray
    """By level: the trials that failed."""
    num_pruned: np.ndarray
    """By level: the trials that were stopped early."""
    num_trials: np.ndarray
    """By level: the trials that ended."""
    shares_seeds: bool
    """Whether configurations have the same seeds; if not, the third axis only counts."""
    is_ratio: bool
    """Whether scores are logarithms, so that a difference of scores is a ratio of values."""
    sign: int
    """1 if small values are good, -1 if large ones are."""
    features: np.ndarray
    """The other factors in each setting as numbers; NaN if one was not searched there."""

    def level_mean(self, level: int) -> float:
        """Return a level's mean value over its comparable trials (the geometric mean, if by ratios)."""
        mean = float(np.nanmean(self.scores[level])) * self.sign
        return float(np.exp(mean)) if self.is_ratio else mean


def seed_table(search: Search, factor: Factor, among: Comparable) -> SeedTable:
    """Return what came of each level of a factor in each setting of the other factors with each seed.

    Comparable are the feasible trials of configurations that are in `among`.
    """
    assert search.seed is not None
    labels = level_labels(search, factor, search.trials)
    trials = search.trials.loc[labels.notna()]
    level = labels.loc[trials.index].cat.codes.to_numpy()
    setting, features = _settings(search, factor, trials)
    if factor.is_number and not _is_crossed(numbers(trials, factor.column), setting, trials["configuration"]):
        _, first, own = np.unique(trials["configuration"], return_index=True, return_inverse=True)
        features, setting = features[setting[first]], own
    seed, are_shared = _seeds(trials[search.seed], level, setting)
    shape = len(labels.cat.categories), len(features), int(seed.max(initial=-1)) + 1
    place = np.ravel_multi_index((level, setting, seed), shape) if len(trials) else np.zeros(0, dtype=int)

    values = numbers(trials, search.objective.column).to_numpy(dtype=float)
    outcome = trials["outcome"]
    completed = ((outcome == Outcome.COMPLETED.value) & np.isfinite(values)).to_numpy()
    ended = ~outcome.isin(NOT_ENDED).to_numpy()
    pruned = (outcome == Outcome.PRUNED.value).to_numpy()
    failed = ended & ~completed & ~pruned
    kept = {number for unit in among.feasible["trials"] for number in unit}
    all_kept = {number for unit in among.units["trials"] for number in unit}
    counts = trials["trial"].isin(kept).to_numpy() & completed
    infeasible = trials["trial"].isin(all_kept - kept).to_numpy()

    by_unit = among.feasible[VALUE].to_numpy(dtype=float)
    is_ratio = spans_orders(by_unit) and bool((values[counts] > 0).all())
    scores = search.objective.sign * (np.log(values, where=counts, out=np.zeros(len(values))) if is_ratio else values)
    there = _sum(completed & ~infeasible, place, shape) > 0
    return SeedTable(
        levels=tuple(map(str, labels.cat.categories)),
        scores=_mean(np.where(counts, scores, 0.0), counts, place, shape),
        completed=there,
        failed=(_sum(failed, place, shape) > 0) & ~there,
        num_failed=np.bincount(level[failed], minlength=shape[0]),
        num_pruned=np.bincount(level[pruned], minlength=shape[0]),
        num_trials=np.bincount(level[ended], minlength=shape[0]),
        shares_seeds=are_shared,
        is_ratio=is_ratio,
        sign=search.objective.sign,
        features=features,
    )


def _is_crossed(values: pd.Series, setting: np.ndarray, configuration: pd.Series) -> bool:
    """Return whether the same numbers were tried in each setting, so that bins of them may be paired by setting.

    If not, as in a random search, each configuration is a setting of its own, even if the others are but choices.
    """
    num_settings = len(np.unique(setting))
    if num_settings == 1:
        return values.nunique() <= MOST_VALUES
    return 4 * configuration.nunique() >= 3 * values.nunique() * num_settings


def _seeds(seeds: pd.Series, level: np.ndarray, setting: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return the place of each trial's seed, and whether seeds are shared; if not, they are counted in each setting."""
    place, known = pd.factorize(seeds, use_na_sentinel=False)
    if len(known) * 2 <= max(len(seeds), 2):
        return place, True
    return pd.DataFrame({"level": level, "setting": setting}).groupby(["level", "setting"]).cumcount().to_numpy(), False


def _settings(search: Search, factor: Factor, trials: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the place of each trial's setting of the other factors, and every setting as a row of numbers.

    Factors that are searched only under a condition on this one are part of its levels, not of the setting.
    """
    columns = [
        _column(search, other, trials)
        for other in search.factors
        if other.column != factor.column and not _depends(search, other, factor.column)
    ]
    codes = np.stack([np.zeros(len(trials), dtype=int), *(code for code, _ in columns)], axis=1)
    _, first, setting = np.unique(codes, axis=0, return_index=True, return_inverse=True)
    features = [column[first] for _, column in columns]
    return setting.reshape(-1), np.stack(features, axis=1) if features else np.zeros((len(first), 0))


def _column(search: Search, factor: Factor, trials: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return a factor in each trial, as a code that is equal for equal values, and as a number for a forest."""
    active = is_active(search, factor, trials).to_numpy()
    trials = trials if factor.column in trials.columns else trials.assign(**{factor.column: None})
    values = numbers(trials, factor.column) if factor.is_number else trials[factor.column]
    # a choice of null has the code of what is not searched: the factors of its conditions tell the two apart
    code, _ = pd.factorize(values.where(active))
    if not factor.is_number:
        return code, np.where(code < 0, np.nan, code)
    column = values.where(active).to_numpy(dtype=float, copy=True)
    if factor.is_log:
        np.log(column, where=column > 0, out=column)
    return code, column


def _depends(search: Search, other: Factor, column: str, seen: Sequence[str] = ()) -> bool:
    """Return whether another factor is searched only under a condition on this column, perhaps by way of others."""
    if column in other.conditions:
        return True
    further = [one for one in search.factors if one.column in other.conditions and one.column not in seen]
    return any(_depends(search, one, column, [*seen, one.column]) for one in further)


def _sum(values: np.ndarray, place: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.bincount(place, weights=values, minlength=int(np.prod(shape))).reshape(shape)


def _mean(values: np.ndarray, counts: np.ndarray, place: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    number = _sum(counts, place, shape)
    return np.where(number > 0, _sum(values, place, shape) / np.maximum(number, 1), np.nan)
