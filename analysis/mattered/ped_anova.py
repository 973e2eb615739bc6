"""PED-ANOVA: how much the best tenth of the results differs in each factor from all of them.

Watanabe, Bansal and Hutter (2023), "PED-ANOVA: Efficiently quantifying hyperparameter importance in arbitrary
subspaces"; for factors that are searched under a condition its extension of 2026 (arXiv 2601.20800). The numbers are
those of Optuna's evaluator, whose import brings scikit-learn along and takes longer than all of its work here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

BEST = 0.1
NUM_STEPS = 50
"""Points at most of the grid on which a number's densities are compared."""
FEWEST = 2
"""Results in which a factor is searched below which nothing is said of it."""
NARROWEST = 0.5 / 1.64
"""Of a kernel, in steps of the grid: nine tenths of it lie in one step."""
NEVER_ZERO = 1e-12


@dataclass(frozen=True)
class Gridded:
    """A factor's values as places of a grid, or of its levels."""

    place: np.ndarray
    """-1 where the factor was not searched."""
    num: int
    """Places there are."""
    is_number: bool


def gridded(values: np.ndarray, low: float, high: float, is_log: bool, is_whole: bool, step: float | None) -> Gridded:
    """Return numbers on a grid over their range; NaN where there is none."""
    if is_whole and is_log:
        num = min(int(np.ceil(np.log(high - low + 1) / np.log(2))) + 1, NUM_STEPS)
    else:
        num = NUM_STEPS if step is None else min(round((high - low) / step) + 1, NUM_STEPS)
    if is_log:
        low, high, values = np.log(low), np.log(high), np.log(values)
    found = np.ceil((values - low) / ((high - low) / max(num - 1, 1)) - 0.5)
    return Gridded(np.where(np.isnan(found), -1, np.clip(found, 0, num - 1)).astype(int), num, is_number=True)


def divergences(scores: np.ndarray, factors: Sequence[Gridded]) -> np.ndarray:
    """Return for each factor how much the best tenth (of small scores) differs in it, up to a common constant."""
    num = len(scores)
    found = np.zeros(len(factors))
    if num < 2:
        return found
    last = int(np.ceil(BEST * num)) - 1
    is_best = scores <= np.partition(scores, last)[last]
    for place, factor in enumerate(factors):
        active = factor.place >= 0
        among, best = factor.place[active], factor.place[active & is_best]
        if factor.num < 2 or len(among) < FEWEST or not len(best):
            continue
        of_all, of_best = (
            _density(np.bincount(one, minlength=factor.num), factor.is_number) + NEVER_ZERO for one in (among, best)
        )
        weight = (len(best) / is_best.sum()) ** 2 / (len(among) / num)
        found[place] = weight * float(of_all @ (of_best / of_all - 1) ** 2)
    return found


def _density(counts: np.ndarray, is_number: bool) -> np.ndarray:
    """Return the density on the grid: a kernel at each value that was seen, and one over all as a prior."""
    seen = np.flatnonzero(counts)
    weights = counts[seen].astype(float)
    if not is_number:
        kernels = np.full((len(seen) + 1, len(counts)), 1 / (len(seen) + 1))
        kernels[np.arange(len(seen)), seen] += 1
        kernels /= kernels.sum(axis=1, keepdims=True)
    else:
        last = len(counts) - 1
        middle = np.r_[seen, last / 2]
        width = np.r_[np.full(len(seen), max(_width(seen, weights), NARROWEST)), last + 1.0]
        edges = np.arange(len(counts) + 1) - 0.5
        below = ndtr((edges - middle[:, None]) / width[:, None])
        kernels = np.diff(below, axis=1) / (below[:, -1:] - below[:, :1])
    weights = np.r_[weights, 1.0]
    return weights / weights.sum() @ kernels


def _width(seen: np.ndarray, weights: np.ndarray) -> float:
    """Return a kernel's width by Scott's rule (1992)."""
    so_far, num = np.cumsum(weights), weights.sum()
    deviation = np.sqrt((seen - seen @ weights / num) ** 2 @ weights / max(1, num - 1))
    first = np.searchsorted(so_far, num // 4, side="left")
    third = min(len(seen) - 1, int(np.searchsorted(so_far, num * 3 // 4, side="right")))
    return 1.059 * min((seen[third] - seen[first]) / 1.34, deviation) * num**-0.2
