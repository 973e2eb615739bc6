"""Interactions that change a conclusion: one level is better in one setting, and worse in another.

A pair of factors is looked at only if an F test of their interaction (on ranks, beside the additive effects of all
factors) is beyond chance after correction over all pairs. A statement then needs both differences to be beyond chance,
in opposite directions (the intersection-union test of Gail and Simon's qualitative interaction), after Bonferroni's
correction over all that could have been stated of the pair: effects that only differ in size change no conclusion.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Literal

import numpy as np

from analysis.mattered.chance import FEWEST_LEFT, fitted, nested_f
from analysis.mattered.crossed import Crossed, dummies
from analysis.mattered.ranks import false_discovery, ranked, t_tail
from analysis.mattered.verdict import LEVEL

FEWEST_IN_CELL = 3
ROUNDING = 1e-9
"""Of a rank: what sums of ranks are off by in floating point is less."""
MOST_PAIRS = 200
"""Pairs of factors that are looked at: a search over more factors has the first ones' alone."""


@dataclass(frozen=True)
class Interaction:
    """A level of a factor that is better than another with one level of a second factor, and worse with another."""

    factor: str
    one: str
    other: str
    second: str
    wins_with: str
    """The level of the second factor with which `one` is better than `other`."""
    loses_with: str
    win: float
    """By how much the median is better there, in the objective's unit."""
    loss: float
    p: float
    """Corrected, the larger one of the two differences."""
    num: int
    """Results in the four cells."""


def interactions(units: Crossed, only: str | None = None) -> tuple[list[Interaction], int]:
    """Return the interactions that change a conclusion, strongest first, and how many pairs of factors were tested.

    At most one per pair of factors; with `only`, a factor's name, those that are about this factor's levels.
    """
    ranks = ranked(units.scores) if len(units.scores) else units.scores
    found: list[tuple[str, str, float]] = []
    for first, second in list(combinations(units.codes, 2))[:MOST_PAIRS]:
        p = _interaction_p(units, ranks, first, second)
        if p is not None:
            found.append((first, second, p))
    if not found:
        return [], 0
    stated = []
    for (first, second, _), p in zip(found, false_discovery([p for _, _, p in found]), strict=True):
        if p > LEVEL:
            continue
        orders = [(first, second), (second, first)]
        best = [one for order in orders if only in (None, order[0]) for one in _crossovers(units, ranks, *order)]
        if best:
            stated.append(min(best, key=lambda one: one.p))
    return sorted(stated, key=lambda one: one.p), len(found)


def _interaction_p(units: Crossed, ranks: np.ndarray, first: str, second: str) -> float | None:
    one, other = units.codes[first], units.codes[second]
    active = (one >= 0) & (other >= 0)
    if not active.any():
        return None
    cells = np.unique(one[active] * (other.max() + 1) + other[active], return_inverse=True)[1]
    if np.bincount(cells).max() < FEWEST_IN_CELL or cells.max() < 3:
        return None
    ones = np.zeros(np.count_nonzero(active), dtype=int)
    # all factors beside each other if the trials are enough for it, else the two alone
    for names in (units.codes, (first, second)):
        additive = dummies([ones, *(units.codes[name][active] for name in names)])
        p = nested_f(ranks[active], np.hstack([additive, dummies([cells])[:, 1:]]), additive)
        if p is not None:
            return p
    return None


def _crossovers(units: Crossed, ranks: np.ndarray, factor: str, second: str) -> Iterator[Interaction]:
    """Yield each pair of levels of a factor that changes places between two levels of a second factor."""
    own, other = units.codes[factor], units.codes[second]
    rest = _without_others(units, ranks, factor, second)
    places = range(len(units.names[second]))
    pairs = list(combinations(range(len(units.names[factor])), 2))
    num_statements = len(pairs) * len(places) * (len(places) - 1)
    for a, b in pairs:
        # one-sided p that a is better than b with each level of the second factor, and that it is worse
        better, worse, gaps = {}, {}, {}
        for place in places:
            in_a, in_b = (own == a) & (other == place), (own == b) & (other == place)
            if min(in_a.sum(), in_b.sum()) < FEWEST_IN_CELL:
                continue
            better[place] = one_sided_p(rest[in_a], rest[in_b], "less")
            worse[place] = one_sided_p(rest[in_a], rest[in_b], "greater")
            gaps[place] = float(np.median(units.values[in_a]) - np.median(units.values[in_b])) * units.sign
        for x in better:
            for y in better:
                p = max(better[x], worse[y]) * num_statements
                if x != y and p <= LEVEL and gaps[x] < 0 < gaps[y]:
                    names, seconds = units.names[factor], units.names[second]
                    num = int((np.isin(own, [a, b]) & np.isin(other, [x, y])).sum())
                    yield Interaction(
                        factor, names[a], names[b], second, seconds[x], seconds[y], -gaps[x], gaps[y], p, num
                    )


def one_sided_p(one: np.ndarray, other: np.ndarray, alternative: Literal["less", "greater"]) -> float:
    """Return the p of Welch's t test that the mean of one group is less, or greater, than that of the other.

    Of groups that do not spread, as where nothing is left to chance, it is the exact p of exchanging their members.
    """
    # by hand, as SciPy warns of cells all of whose ranks are equal
    gap = float(one.mean() - other.mean()) * (1 if alternative == "greater" else -1)
    rounding = ROUNDING * max(float(np.abs(one).max()), float(np.abs(other).max()))
    errors = np.array([one.var(ddof=1) / len(one), other.var(ddof=1) / len(other)])
    if np.sqrt(errors.sum()) <= rounding:
        return 1 / comb(len(one) + len(other), len(one)) if gap > rounding else 1.0
    freedom = errors.sum() ** 2 / (errors**2 / [len(one) - 1, len(other) - 1]).sum()
    return t_tail(gap / np.sqrt(errors.sum()), freedom)


def _without_others(units: Crossed, ranks: np.ndarray, factor: str, second: str) -> np.ndarray:
    """Return the ranks without the additive effects of all factors but two; as they are if the trials are too few."""
    others = [codes for name, codes in units.codes.items() if name not in (factor, second)]
    cells = units.codes[factor] * (units.codes[second].max() + 2) + units.codes[second]
    design = dummies([np.zeros(len(ranks), dtype=int), cells, *others])
    effects, rank = fitted(ranks, design)
    if not others or len(ranks) - rank < max(FEWEST_LEFT, len(ranks) // 4):
        return ranks
    ones_and_cells = dummies([np.zeros(len(ranks), dtype=int), cells])
    return ranks - design[:, ones_and_cells.shape[1] :] @ effects[ones_and_cells.shape[1] :]
