"""Two levels of a factor compared, by arrays: which trials are pairs, what of them is independent, and its tests."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import Any

import numpy as np

from analysis.mattered import permutation
from analysis.mattered.bootstrap import interval_of_difference, interval_of_mean, interval_within
from analysis.mattered.ranks import ranked, t_tail
from analysis.mattered.seed_table import SeedTable
from analysis.mattered.trees import bagged, grow
from analysis.mattered.verdict import LEVEL

SHARE_IN_SETTINGS = 0.5
"""Levels are paired if at least this share of the settings of the rarer one has both."""
FEWEST_FOR_FOREST = 12
TREES, LEAF = 100, 2
MOST_FITTED = 1_000


class Unit(Enum):
    """What is taken for independent; the value names it."""

    PAIR = "pair"
    SEED = "seed"
    RUN = "run"
    CONFIGURATION = "configuration"


TESTS = {
    Unit.PAIR: "sign flips of pairs",
    Unit.SEED: "Student's t of whole seeds, as seeds move a level in all settings alike",
    Unit.RUN: "exchange of runs within settings, as the levels have other seeds",
    Unit.CONFIGURATION: "exchange of configurations (Welch's t), as they have other settings",
}


@dataclass(frozen=True)
class Compared:
    """Two levels as they came out; scores are small if good, so differences are worse minus better, never negative."""

    better: int
    worse: int
    difference: float
    low: float
    high: float
    wins: int
    ties: int
    pairs: int
    num_seeds: int
    num_settings: int
    settings_won: int
    unit: Unit
    p: float
    least_p: Callable[[int], float]
    """The least p-value with so many seeds, or so many configurations of each level."""
    num_units: int
    """The seeds, or the configurations of the rarer level, that there are now."""
    sizes: tuple[int, int]
    """Configurations of the better and of the worse level."""
    p_settings: float
    p_ranks: float
    p_failures: float | None = None
    """If the better level failed more often: the p-value with a failure as the worst result; 1 if it is then worse."""
    is_adjusted: bool | None = None
    """Whether what the other factors explain was taken out; None if they are the same, or there are none."""

    @property
    def fails_more(self) -> bool:
        """Whether the better level fails so often that it is not the better choice beyond doubt."""
        return self.p_failures is not None and self.p_failures > LEVEL


def compare_levels(table: SeedTable, one: int, other: int, moved: bool, forest: "Forest") -> Compared | None:
    """Return how two levels compare; None if there is nothing to compare.

    `moved` says that seeds move a level in all settings alike.
    """
    here, there = np.isfinite(table.scores[one]), np.isfinite(table.scores[other])
    both = here.any(axis=1) & there.any(axis=1)
    fewest = min(int(here.any(axis=1).sum()), int(there.any(axis=1).sum()))
    if fewest == 0:
        return None
    if both.sum() < SHARE_IN_SETTINGS * fewest:
        return _unpaired(table, one, other, moved, forest)
    common = here & there
    if table.shares_seeds and common.any():
        return _paired(table, one, other, moved, common)
    return _other_seeds(table, one, other, both)


def _paired(table: SeedTable, one: int, other: int, moved: bool, common: np.ndarray) -> Compared:
    all_pairs = np.where(common, table.scores[other] - table.scores[one], np.nan)
    if np.nansum(all_pairs) < 0:
        one, other, all_pairs = other, one, -all_pairs
    all_pairs = all_pairs[common.any(axis=1)][:, common.any(axis=0)]
    num_settings, num_seeds = all_pairs.shape
    pairs = all_pairs[np.isfinite(all_pairs)]
    by_setting, by_seed = np.nanmean(all_pairs, axis=1), np.nanmean(all_pairs, axis=0)
    unit = Unit.SEED if moved and min(all_pairs.shape) > 1 else Unit.PAIR
    p, low, high = permutation.sign_flips(pairs), *interval_of_mean(pairs)
    if unit is Unit.SEED:
        p, low, high = _of_whole_seeds(by_seed, p, low, high)
    found = Compared(
        better=one,
        worse=other,
        difference=float(pairs.mean()),
        low=low,
        high=high,
        wins=int((pairs > 0).sum()),
        ties=int((pairs == 0).sum()),
        pairs=len(pairs),
        num_seeds=num_seeds,
        num_settings=num_settings,
        settings_won=int((by_setting > 0).sum()),
        unit=unit,
        p=p,
        least_p=lambda seeds: permutation.least_of_flips(seeds * num_settings),
        num_units=num_seeds,
        sizes=(num_settings, num_settings),
        p_settings=permutation.sign_flips(by_setting) if num_settings > 1 else np.nan,
        p_ranks=_wilcoxon(pairs),
    )
    lost = table.failed[one] & table.completed[other]
    won = table.failed[other] & table.completed[one]
    if lost.sum() <= won.sum():
        return found
    ranks = np.sign(pairs) * ranked(np.abs(pairs))
    worst = float(len(pairs) + 1)
    ranks = np.concatenate([ranks, np.full(int(won.sum()), worst), np.full(int(lost.sum()), -worst)])
    return replace(found, p_failures=permutation.sign_flips(ranks) if ranks.sum() > 0 else 1.0)


def _of_whole_seeds(by_seed: np.ndarray, p: float, low: float, high: float) -> tuple[float, float, float]:
    """Return the p-value and interval of seeds' mean differences, nothing less than those of the pairs are.

    Sign flips of three seeds could not support anything; but each is a mean over settings, so that Student's t fits.
    """
    ends = interval_of_mean(by_seed)
    error = by_seed.std(ddof=1) / np.sqrt(len(by_seed))
    t = abs(by_seed.mean()) / error if error > 0 else np.inf
    return max(p, 2 * t_tail(t, len(by_seed) - 1)), min(low, ends[0]), max(high, ends[1])


def _wilcoxon(pairs: np.ndarray) -> float:
    if not (pairs != 0).any():
        return 1.0
    from scipy import stats

    tied = len(np.unique(np.abs(pairs))) < len(pairs) or bool((pairs == 0).any())
    found: Any = stats.wilcoxon(pairs, method="auto" if len(pairs) > 50 or tied else "exact")
    return float(found.pvalue)


def _mann_whitney(one: np.ndarray, other: np.ndarray) -> float:
    from scipy import stats

    return float(stats.mannwhitneyu(one, other).pvalue)


def _other_seeds(table: SeedTable, one: int, other: int, both: np.ndarray) -> Compared:
    here, there = table.scores[one][both], table.scores[other][both]
    gaps = np.nanmean(there, axis=1) - np.nanmean(here, axis=1)
    if gaps.mean() < 0:
        one, other, here, there, gaps = other, one, there, here, -gaps
    sizes = [(int(np.isfinite(a).sum()), int(np.isfinite(b).sum())) for a, b in zip(here, there, strict=True)]
    low, high = interval_within(here, there)
    of_setting = np.nanmean(np.stack([here, there]), axis=(0, 2))[:, None]
    runs, others = _without_nan(here - of_setting), _without_nan(there - of_setting)
    found = Compared(
        better=one,
        worse=other,
        difference=float(gaps.mean()),
        low=low,
        high=high,
        wins=int((gaps > 0).sum()),
        ties=int((gaps == 0).sum()),
        pairs=len(gaps),
        num_seeds=min(map(min, sizes)),
        num_settings=len(gaps),
        settings_won=int((gaps > 0).sum()),
        unit=Unit.RUN,
        p=permutation.exchanged_within(here, there),
        least_p=lambda seeds: permutation.least_of_exchange_within([(seeds, seeds)] * len(gaps)),
        num_units=min(map(min, sizes)),
        sizes=(len(gaps), len(gaps)),
        p_settings=permutation.sign_flips(gaps) if len(gaps) > 1 else np.nan,
        p_ranks=_mann_whitney(runs, others),
    )
    failed, failed_other = (int(table.failed[level].sum()) for level in (one, other))
    return replace(found, p_failures=_failures_as_worst(runs, others, failed, failed_other))


def _unpaired(table: SeedTable, one: int, other: int, moved: bool, forest: "Forest") -> Compared:
    scores = [table.scores[level] - forest.expected[level][:, None] for level in (one, other)]
    scores = [level[np.isfinite(level).any(axis=1)] for level in scores]
    here, there = (np.nanmean(level, axis=1) for level in scores)
    if there.mean() < here.mean():
        one, other, here, there, scores = other, one, there, here, scores[::-1]
    p = permutation.exchanged(here, there)
    low, high = interval_of_difference(there, here)
    num_seeds = min(int(np.isfinite(level).sum(axis=1).max()) for level in scores)
    unit = Unit.SEED if moved and num_seeds > 1 else Unit.CONFIGURATION
    if unit is Unit.SEED:
        by_seed = np.nanmean(scores[1], axis=0) - np.nanmean(scores[0], axis=0)
        p, low, high = _of_whole_seeds(by_seed, p, low, high)
    ordered = np.sort(here)
    below, up_to = (np.searchsorted(ordered, there, side=side) for side in ("left", "right"))
    found = Compared(
        better=one,
        worse=other,
        difference=float(there.mean() - here.mean()),
        low=low,
        high=high,
        wins=int(below.sum()),
        ties=int((up_to - below).sum()),
        pairs=len(here) * len(there),
        num_seeds=num_seeds,
        num_settings=0,
        settings_won=0,
        unit=unit,
        p=p,
        least_p=lambda num: permutation.least_of_exchange(max(num, len(here)), max(num, len(there))),
        num_units=min(len(here), len(there)),
        sizes=(len(here), len(there)),
        p_settings=np.nan,
        p_ranks=_mann_whitney(here, there),
        is_adjusted=forest.is_used if table.features.shape[1] else None,
    )
    failed, failed_other = (int(table.failed[level].any(axis=1).sum()) for level in (one, other))
    return replace(found, p_failures=_failures_as_worst(here, there, failed, failed_other))


def _failures_as_worst(here: np.ndarray, there: np.ndarray, failed: int, failed_other: int) -> float | None:
    """Return the p-value of the first group being better with its failures as the worst results.

    None if it fails no larger share than the other; 1 if it is then worse (Lachin 1999, "Worst-rank score analysis").
    """
    if failed * (len(there) + failed_other) <= failed_other * (len(here) + failed):
        return None
    worst = float(max(here.max(), there.max())) + 1.0
    first = np.concatenate([here, np.full(failed, worst)])
    ranks = ranked(np.concatenate([first, there, np.full(failed_other, worst)]))
    ranks, others = ranks[: len(first)], ranks[len(first) :]
    return permutation.exchanged(ranks, others) if ranks.mean() < others.mean() else 1.0


def _without_nan(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]


class Forest:
    """What the other factors say of each configuration's score; fitted at first use."""

    def __init__(self, table: SeedTable) -> None:
        there = np.isfinite(table.scores).any(axis=2)
        self._table = table
        self._level, self._setting = np.nonzero(there)
        self.is_used = len(self._level) >= FEWEST_FOR_FOREST and table.features.shape[1] > 0
        """Whether there are other factors, and enough configurations to learn from."""

    @cached_property
    def expected(self) -> np.ndarray:
        """The score that is expected by level and setting, by the trees that have not seen it; 0 without a forest."""
        expected = np.zeros(self._table.scores.shape[:2])
        if not self.is_used:
            return expected
        inputs = apart(self._table.features)[self._setting]
        scores = np.nanmean(self._table.scores[self._level, self._setting], axis=1)
        rng, num = np.random.default_rng(0), len(self._level)
        samples = bagged(np.arange(num)[None], TREES, min(num, MOST_FITTED), rng)
        trees = grow(inputs, scores, samples, rng, leaf=LEAF)
        is_seen = np.zeros((TREES, num), dtype=bool)
        is_seen[samples.tree, samples.row] = True
        tree, row = np.nonzero(~is_seen)
        told = np.bincount(row, trees.predict(tree, inputs[row]), num)
        expected[self._level, self._setting] = told / np.maximum(np.bincount(row, minlength=num), 1)
        return expected


def apart(features: np.ndarray) -> np.ndarray:
    """Return features in which what was not searched, NaN, lies below all that was: a tree can split it off."""
    lowest = np.where(np.isnan(features), np.inf, features).min(axis=0, initial=np.inf)
    return np.where(np.isnan(features), np.where(np.isfinite(lowest), lowest, 0.0) - 1.0, features)
