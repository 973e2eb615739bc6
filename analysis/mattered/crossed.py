"""Values and the levels of all factors, as arrays: what the statistics of several factors at once work on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.mattered.comparable import VALUE, Comparable
from analysis.mattered.levels import level_labels
from analysis.search import Factor, Search

SPAN_OF_ORDERS = 10.0
"""Values of which the 95th percentile is more than this many times the 5th are compared by their ratios."""


@dataclass(frozen=True)
class Crossed:
    """The feasible comparable units of a search: their values and levels."""

    values: np.ndarray
    """The objective, best first."""
    scores: np.ndarray
    """The same so that small is good, as logarithms (base 10) if the values span orders of magnitude."""
    is_log: bool
    """Whether scores are logarithms, so that a difference of scores is a ratio of values."""
    sign: int
    """1 if small values are good, -1 if large ones are."""
    codes: dict[str, np.ndarray]
    """The place of each unit's level among the factor's; -1 if the factor was not searched in it."""
    names: dict[str, tuple[str, ...]]
    """The names of each factor's levels that any unit has."""
    raw: pd.DataFrame
    """The factors' values."""
    factors: tuple[Factor, ...]

    def value_of(self, score: float) -> float:
        """Return the value that a score stands for."""
        return float(10 ** (score * self.sign) if self.is_log else score * self.sign)

    def with_scores(self, scores: np.ndarray) -> "Crossed":
        """Return the same units with other scores."""
        return Crossed(**{**self.__dict__, "scores": scores})


def crossed(search: Search, among: Comparable) -> Crossed:
    """Return the feasible comparable units as arrays."""
    units = among.feasible
    values, sign = units[VALUE].to_numpy(dtype=float), search.objective.sign
    is_log = spans_orders(values)
    codes, names = {}, {}
    for factor in search.factors:
        levels = level_labels(search, factor, units).cat.remove_unused_categories()
        codes[factor.column] = levels.cat.codes.to_numpy(dtype=int)
        names[factor.column] = tuple(map(str, levels.cat.categories))
    raw = units.filter(items=[factor.column for factor in search.factors]).reset_index(drop=True)
    scores = sign * (np.log10(values) if is_log else values)
    return Crossed(values, scores, is_log, sign, codes, names, raw, search.factors)


def spans_orders(values: np.ndarray) -> bool:
    """Return whether values are positive and span so much that their ratios mean more than their differences."""
    if len(values) < 2 or values.min() <= 0:
        return False
    low, high = np.quantile(values, [0.05, 0.95])
    return bool(high > SPAN_OF_ORDERS * low)


def dummies(codes: Sequence[np.ndarray]) -> np.ndarray:
    """Return the design matrix of an additive model: a column of ones, and one per further level of each factor.

    That a factor was not searched (-1) is a level of its own.
    """
    columns = [np.ones((len(codes[0]), 1))] if codes else []
    for one in codes:
        columns.append((one[:, None] == np.unique(one)[None, 1:]).astype(float))
    return np.hstack(columns)


def depends(factors: Sequence[Factor], factor: Factor, column: str) -> bool:
    """Return whether a factor is searched only under a condition on this column, perhaps by way of other factors."""
    if column in factor.conditions:
        return True
    above = [one for one in factors if one.column in factor.conditions and one.column != factor.column]
    return any(depends([one for one in factors if one is not factor], one, column) for one in above)
