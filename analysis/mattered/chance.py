"""Whether the levels of a factor differ beyond chance, with the other factors' effects taken out.

An additive model of the ranks: one effect per level of every factor, and an F test of each factor's. Ranks, because the
errors of trainings have heavy tails (the rank transform of Conover and Iman, 1981).
"""

from dataclasses import dataclass

import numpy as np

from analysis.mattered.crossed import Crossed, depends, dummies
from analysis.mattered.ranks import f_tail, false_discovery, ranked
from analysis.mattered.verdict import LEVEL
from analysis.mattered.words import too_few

FEWEST_LEFT = 4
"""Degrees of freedom that a model must leave, or it takes the other factors' effects out no more."""


@dataclass(frozen=True)
class Chance:
    """How likely chance alone makes the levels of a factor differ so much."""

    p: float
    """NaN if it cannot be told."""
    p_corrected: float
    """After the Benjamini-Hochberg correction over all factors."""
    is_adjusted: bool
    """Whether the other factors' effects were taken out; there may be too few trials for that."""
    why_not: str = ""
    """Why it cannot be told."""

    @property
    def is_beyond(self) -> bool:
        """Whether the levels differ by more than chance makes them differ."""
        return bool(self.p_corrected <= LEVEL)


def chances(units: Crossed) -> dict[str, Chance]:
    """Return for each factor how likely chance alone makes its levels differ so much."""
    found = {name: _of_factor(units, name) for name in units.codes}
    known = [name for name, one in found.items() if not np.isnan(one.p)]
    by_name = dict(zip(known, false_discovery([found[name].p for name in known]), strict=True))
    return {
        name: Chance(one.p, float(by_name.get(name, np.nan)), one.is_adjusted, one.why_not)
        for name, one in found.items()
    }


def _of_factor(units: Crossed, name: str) -> Chance:
    active = units.codes[name] >= 0
    own = units.codes[name][active]
    if len(np.unique(own)) < 2:
        return Chance(np.nan, np.nan, False, "fewer than two of its levels have results")
    if np.ptp(units.values[active]) == 0:
        return Chance(np.nan, np.nan, False, "all results are equal")
    ranks = ranked(units.sign * units.values[active])
    # what is searched only under a condition on this factor is part of its levels
    held = [one.column for one in units.factors if one.column != name and not depends(units.factors, one, name)]
    others = [units.codes[other][active] for other in held]
    adjusted = added_effect(ranks, [own], others)
    if adjusted is not None:
        return Chance(adjusted, np.nan, bool(others))
    alone = added_effect(ranks, [own], [])
    if alone is None:
        return Chance(np.nan, np.nan, False, too_few(len(own)))
    return Chance(alone, np.nan, False)


def added_effect(ranks: np.ndarray, added: list[np.ndarray], others: list[np.ndarray]) -> float | None:
    """Return the p of an F test of what some factors' levels explain beyond the others'.

    None if too few degrees of freedom are left, or if the others' levels determine the added ones.
    """
    ones = np.zeros(len(ranks), dtype=int)
    return nested_f(ranks, dummies([ones, *others, *added]), dummies([ones, *others]))


def nested_f(ranks: np.ndarray, full: np.ndarray, reduced: np.ndarray) -> float | None:
    """Return the p of the F test of a linear model against one within it, or None if it cannot be made."""
    rest_full, rank_full = residuals(ranks, full)
    rest_reduced, rank_reduced = residuals(ranks, reduced)
    more, left = rank_full - rank_reduced, len(ranks) - rank_full
    if more < 1 or left < max(FEWEST_LEFT, len(ranks) // 4):
        return None
    unexplained = float(rest_full @ rest_full)
    explained = max(float(rest_reduced @ rest_reduced) - unexplained, 0.0)
    if unexplained <= 1e-9 * float(ranks @ ranks):
        return 0.0 if explained > 0 else None
    return f_tail((explained / more) / (unexplained / left), more, left)


def residuals(ranks: np.ndarray, design: np.ndarray) -> tuple[np.ndarray, int]:
    """Return what a linear model leaves unexplained, and its number of free effects."""
    effects, rank = fitted(ranks, design)
    return ranks - design @ effects, rank


def fitted(ranks: np.ndarray, design: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the effects of a linear model of levels, and how many of them are free."""
    # By the normal equations: columns of zeros and ones are well conditioned, and thousands of rows become a few dozen.
    effects, _, rank, _ = np.linalg.lstsq(design.T @ design, design.T @ ranks, rcond=1e-10)
    return effects, int(rank)
