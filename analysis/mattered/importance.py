"""How much each factor mattered, with an interval that says how well the trials support it.

fANOVA (Hutter et al., 2014): the share of the objective's variance over the searched space that a factor explains by
itself. PED-ANOVA (Watanabe et al., 2023): how much the best tenth of the trials differs in the factor from all of them.
Both are what Optuna's evaluators compute.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis.mattered.comparable import VALUE, Comparable, is_active, numbers
from analysis.mattered.fanova import shares_of_variance
from analysis.mattered.levels import level_labels
from analysis.mattered.ped_anova import Gridded, divergences, gridded
from analysis.mattered.trees import bagged, grow
from analysis.mattered.values import Values, values_of
from analysis.mattered.words import too_few
from analysis.search import Factor, Search

FEWEST = 10
"""Results below which no importance is computed."""
FEWEST_FOR_TENTH = 50
"""Results below which the best tenth, which PED-ANOVA looks at, is fewer than five trials."""
MOST_FOR_FULL_TREES = 300
"""Results up to which fANOVA's trees have Optuna's depth; beyond them they are bounded, or it would take minutes."""
FULL_DEPTH, FULL_TREES = 64, 256
"""Optuna has 64 trees; with four times as many the values depend half as much on the forest's seed."""
DEPTH, TREES = 6, 64
MOST_EVALUATED = 2000
RESAMPLES = 25
MOST_RESAMPLED = 300
WIDER = 1.5
"""By how much an interval is wider than the resamples' own, as they repeat fANOVA's bias: it gives a strong factor too
much. Of 40 to 100 results with planted effects of choices the intervals cover the true share of the variance in 93 %
(of 96), of ranges of numbers in 56 %, which forests of so few results flatten: they are about chance, not about the
evaluator."""
RESAMPLED_TREES, RESAMPLED_DEPTH = 16, 6
LARGEST_INPUT = 1e300
"""Of factors: the width of a range must be a number."""
FANOVA, PED_ANOVA = "fANOVA", "PED-ANOVA"


@dataclass(frozen=True)
class Importance:
    """The importance of all factors."""

    table: pd.DataFrame | None
    """One row per evaluator and factor, the most important first: `factor`, `evaluator`, `value` (of all of an
    evaluator's, 1 together), `low`, `high`, `ahead` (the share of resamples in which it is ahead of the next one), `n`
    (results it is from), `where` (the condition under which it is searched). None if it cannot be told."""
    why_not: str = ""
    remarks: tuple[str, ...] = ()
    """From which trials and with which settings it was computed."""


def importance(search: Search, among: Comparable, seed: int = 0) -> Importance:
    """Return how much each factor mattered among the feasible comparable trials."""
    # in their order: which results a resample has depends on it
    units = among.feasible.sort_values("trial", ignore_index=True)
    factors = [one for one in search.factors if _num_levels(search, one, units) > 1 and _is_moderate(one, units)]
    if len(units) < FEWEST:
        return Importance(None, f"{too_few(len(units))}: importance needs at least {FEWEST}")
    if not factors:
        return Importance(None, "no factor has two levels with results")
    values = units[VALUE].to_numpy(dtype=float)
    if values.min() == values.max():
        return Importance(None, "all results are equal")
    found = dict(zip([one.column for one in factors], values_of(search, factors, units), strict=True))
    scores = values * search.objective.sign
    is_there = {name: ~np.isnan(one.found) for name, one in found.items()}
    always = [one for one in factors if is_there[one.column].all()]
    groups = [(always, "")] if always else []
    groups += [([*always, one], _condition(one)) for one in factors if one not in always]
    rows: list[dict[str, object]] = []
    for members, where in groups:
        names = [one.column for one in members]
        there = np.flatnonzero(np.all([is_there[name] for name in names], axis=0))
        if len(there) >= FEWEST:
            told = _with_interval([found[name].taken(there) for name in names], scores[there], FANOVA, seed)
            rows += [{**row, "where": where} for row in told if not where or row["factor"] == names[-1]]
    rows += [{**row, "where": ""} for row in _with_interval([*found.values()], scores, PED_ANOVA, seed)]
    table = pd.DataFrame(rows).sort_values(["evaluator", "value"], ascending=[False, False], ignore_index=True)
    return Importance(table, remarks=tuple(_remarks(len(units), among)))


def _remarks(num: int, among: Comparable) -> list[str]:
    remarks = [f"importance is from {among.what}; its intervals are of {RESAMPLES} resamples of them"]
    if num > MOST_FOR_FULL_TREES:
        remarks.append(f"fANOVA's trees are at most {DEPTH} deep, as there are more than {MOST_FOR_FULL_TREES} results")
    if num > MOST_EVALUATED:
        remarks.append(f"importance is from {MOST_EVALUATED} results drawn from the {num}, or it would take minutes")
    if num > MOST_RESAMPLED:
        remarks.append(f"each resample has {MOST_RESAMPLED} results; the intervals are scaled accordingly")
    if num < FEWEST_FOR_TENTH:
        tenth = max(1, -(-num // 10))
        remarks.append(f"PED-ANOVA looks at the best tenth, which is only {tenth} of {num} results: take it as a hint")
    return remarks


def _num_levels(search: Search, factor: Factor, units: pd.DataFrame) -> int:
    active = is_active(search, factor, units).to_numpy()
    if factor.is_number:
        return len(np.unique(numbers(units, factor.column).to_numpy()[active]))
    return int(level_labels(search, factor, units).nunique())


def _is_moderate(factor: Factor, units: pd.DataFrame) -> bool:
    """Return whether the forest can hold all values of a factor."""
    return not factor.is_number or bool((numbers(units, factor.column).abs().dropna() < LARGEST_INPUT).all())


def _condition(factor: Factor) -> str:
    texts = [f"{name} = {' or '.join(map(str, values))}" for name, values in factor.conditions.items()]
    return " and ".join(texts) or f"{factor.column} is given"


def evaluate(
    values: Sequence[Values],
    scores: np.ndarray,
    evaluator: str,
    drawn: np.ndarray,
    seed: int,
    *,
    trees: int,
    depth: int,
) -> np.ndarray:
    """Return each factor's importance, of all 1 together, in each of some resamples; axes resample, factor.

    `drawn` are the resamples' results, axes resample, result. Forests have so many trees of so many levels of splits.
    """
    if evaluator == PED_ANOVA:
        found = np.stack([_divergences([one.taken(places) for one in values], scores[places]) for places in drawn])
    else:
        found = _fanova(values, scores, drawn, np.random.default_rng(seed), trees, depth)
    # a resample may have no result in which a conditional factor was searched
    there = np.stack([(~np.isnan(one.found))[drawn].any(axis=1) for one in values], axis=1)
    found = np.where(there, found, 0.0)
    total = found.sum(axis=1, keepdims=True)
    alike = there / np.maximum(there.sum(axis=1, keepdims=True), 1)
    return np.divide(found, total, out=alike, where=total > 0)


def _divergences(values: Sequence[Values], scores: np.ndarray) -> np.ndarray:
    return divergences(scores, [_on_grid(one) for one in values])


def _on_grid(one: Values) -> Gridded:
    if one.num_levels:
        return Gridded(np.where(np.isnan(one.found), -1, one.found).astype(int), one.num_levels, is_number=False)
    if one.is_single:
        return Gridded(np.zeros(len(one.found), dtype=int), 1, is_number=True)
    return gridded(one.found, one.low, one.high, one.is_log, one.is_whole, one.step)


def _fanova(
    values: Sequence[Values], scores: np.ndarray, drawn: np.ndarray, rng: np.random.Generator, trees: int, depth: int
) -> np.ndarray:
    columns, bounds, groups = [], [], []
    for one in values:
        start = len(columns)
        if one.num_levels > 1:
            columns += [(one.found == level).astype(float) for level in range(one.num_levels)]
        elif not one.is_single:
            columns.append(one.found)
        bounds += [(0.0, 1.0) if one.num_levels else (one.low, one.high)] * (len(columns) - start)
        groups.append(range(start, len(columns)))
    if not columns:
        return np.zeros((len(drawn), len(values)))
    samples = bagged(drawn, trees, drawn.shape[1], rng)
    grown = grow(np.stack(columns, axis=1), scores, samples, rng, depth=depth)
    shares = shares_of_variance(grown, np.array(bounds), groups).reshape(len(drawn), trees, len(values))
    known = ~np.isnan(shares)
    return np.where(known, shares, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)


_KNOWN: dict[tuple[object, ...], list[dict[str, object]]] = {}
"""What `_with_interval` has computed last: a report asks for the same in a table and in a figure."""
MOST_KNOWN = 64


def _with_interval(values: Sequence[Values], scores: np.ndarray, evaluator: str, seed: int) -> list[dict[str, object]]:
    content = repr([(one.name, replace(one, found=np.empty(0)), one.found.tobytes()) for one in values])
    key = (evaluator, seed, hashlib.blake2b(content.encode() + scores.tobytes()).digest())
    found = _KNOWN.pop(key, None) or _compute(values, scores, evaluator, seed)
    _KNOWN[key] = found
    while len(_KNOWN) > MOST_KNOWN:
        del _KNOWN[next(iter(_KNOWN))]
    return [dict(row) for row in found]


def _compute(values: Sequence[Values], scores: np.ndarray, evaluator: str, seed: int) -> list[dict[str, object]]:
    rng, names = np.random.default_rng(seed), [one.name for one in values]
    if len(scores) > MOST_EVALUATED:
        chosen = np.sort(rng.choice(len(scores), MOST_EVALUATED, replace=False))
        values, scores = [one.taken(chosen) for one in values], scores[chosen]
    num = len(scores)
    trees, depth = (FULL_TREES, FULL_DEPTH) if num <= MOST_FOR_FULL_TREES else (TREES, DEPTH)
    (found,) = evaluate(values, scores, evaluator, np.arange(num)[None], seed, trees=trees, depth=depth)
    value = dict(zip(names, found.tolist(), strict=True))
    size = min(num, MOST_RESAMPLED)
    drawn = rng.integers(num, size=(RESAMPLES, size))
    spread = evaluate(values, scores, evaluator, drawn, seed + 1, trees=RESAMPLED_TREES, depth=RESAMPLED_DEPTH)
    order = sorted(names, key=lambda name: -value[name])
    # Around the value, not around the resamples' mean: with fewer and smaller trees that is another one.
    around = (spread - np.median(spread, axis=0)) * np.sqrt(size / num)
    low, high = np.quantile(around, [0.05, 0.95], axis=0) * WIDER
    around = around + np.array([value[name] for name in names])
    rows = []
    for rank, name in enumerate(order):
        place = list(names).index(name)
        behind = [list(names).index(other) for other in order[rank + 1 : rank + 2]]
        rows.append(
            {
                "factor": name,
                "evaluator": evaluator,
                "value": value[name],
                "low": float(np.clip(value[name] + low[place], 0, 1)),
                "high": float(np.clip(value[name] + high[place], 0, 1)),
                "ahead": float((around[:, place] > around[:, behind[0]]).mean()) if behind else np.nan,
                "n": num,
            }
        )
    return rows
