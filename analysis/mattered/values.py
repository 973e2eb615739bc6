"""The values of factors in results, as what says how much they mattered sees them: numbers in a range, or levels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis.mattered.comparable import is_active, numbers
from analysis.mattered.levels import level_labels
from analysis.search import Factor, Search


@dataclass(frozen=True)
class Values:
    """A factor's values in some results, as the evaluators see them."""

    name: str
    found: np.ndarray
    """Numbers, or places among the levels; NaN where the factor was not searched."""
    num_levels: int
    """0 for a number."""
    low: float = 0.0
    high: float = 1.0
    is_log: bool = False
    is_whole: bool = False
    step: float | None = None

    @property
    def is_single(self) -> bool:
        """Whether it was searched over a single value."""
        if self.num_levels:
            return self.num_levels == 1
        return self.low == self.high or (self.step is not None and not self.is_log and self.high - self.low < self.step)

    def taken(self, places: np.ndarray) -> "Values":
        """Return the values in some of the results, of which one may be there several times."""
        return replace(self, found=self.found[places])


def values_of(search: Search, factors: Sequence[Factor], units: pd.DataFrame) -> list[Values]:
    """Return the factors' values in the units."""
    values = []
    for factor in factors:
        active = is_active(search, factor, units).to_numpy()
        labels = level_labels(search, factor, units)
        if not factor.is_number:
            found = np.where(active & labels.notna().to_numpy(), labels.cat.codes.to_numpy(), np.nan)
            values.append(Values(factor.column, found, len(labels.cat.categories)))
            continue
        given = numbers(units, factor.column).to_numpy(dtype=float)
        values.append(_ranged(factor, np.where(active, given, np.nan)))
    return values


def _ranged(factor: Factor, found: np.ndarray) -> Values:
    """Return a number's values with the range that was searched; the range of what was tried if nobody knows it."""
    tried = (float(np.nanmin(found)), float(np.nanmax(found)))
    low = tried[0] if factor.low is None else min(factor.low, tried[0])
    high = tried[1] if factor.high is None else max(factor.high, tried[1])
    known = found[~np.isnan(found)]
    if factor.is_whole and (known == np.round(known)).all():
        low, high, step = float(round(low)), float(round(high)), float(round(factor.step or 1))
        is_whole, is_log = True, factor.is_log and low > 0
    else:
        is_whole, is_log = False, factor.is_log and low > 0
        step = factor.step if (low, high) == (factor.low, factor.high) and not is_log else None
    if step is not None and not is_log:  # the last value that steps reach
        high = low + step * math.floor(round((high - low) / step, 9))
    return Values(factor.column, found, 0, low, high, is_log, is_whole, step)
