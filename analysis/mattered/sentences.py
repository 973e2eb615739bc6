"""What a comparison says of a search as a whole, in sentences: the most important first."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from analysis.mattered.chance import Chance
from analysis.mattered.comparable import SETS, VALUE, Comparable
from analysis.mattered.importance import FANOVA, PED_ANOVA, Importance
from analysis.mattered.interactions import Interaction
from analysis.mattered.seeds import has_repeats
from analysis.mattered.stability import Saving, Stability
from analysis.mattered.words import listed, number, p_text, percent
from analysis.search import Search
from cluster.state.outcomes import Outcome
from cluster.wording import count

EVEN = ("grid", "random", "qmc")
"""Samplers that do not look at results."""
AHEAD = 0.9
"""Of two neighbours in a ranking the first is ahead if it is so in this share of the resamples."""


def overview(search: Search, among: Comparable) -> str:
    """Return what there is to compare, and the best of it."""
    if search.trials.empty:
        return f"{search.name} has no trials yet."
    ends = ", ".join(f"{number} {outcome}" for outcome, number in search.trials["outcome"].value_counts().items())
    whole = f"{search.name} has {count(len(search.trials), 'trial')} ({ends})"
    if among.units.empty:
        return f"{whole}: none can be compared."
    if among.feasible.empty:
        return f"{whole}: {count(len(among.units), among.noun)} could be compared, but none keeps all constraints."
    best = among.feasible.iloc[0]
    factors = ", ".join(
        f"{one.column}={_value(best[one.column])}" for one in search.factors if not _no(best[one.column])
    )
    good = "small" if search.objective.mode == "min" else "large"
    mean = "mean " if search.seed is not None else ""
    name = f"configuration {best['configuration']}" if among.noun == SETS else f"trial {best['trial']}"
    return (
        f"{whole}; compared by {search.objective.column} ({good} is good): {among.what}. Best is {name}, with "
        f"{mean}{search.objective.column} {number(best[VALUE])}" + (f" ({factors})." if factors else ".")
    )


def early_overview(step: float, num: int, pruned: int) -> str:
    """Return what is compared at the first rung."""
    return (
        f"At step {step:g}, the first rung, {count(num, 'trial')} can be compared as equals, {pruned} of which were "
        f"stopped early; what follows holds there, and at the end as far as ranks stay the same."
    )


def _no(value: object) -> bool:
    return value is None or value is pd.NA or value != value


def _value(value: object) -> str:
    return number(float(value)) if isinstance(value, float | np.floating) else str(value)


def importance_sentence(found: Importance, chances: Mapping[str, Chance]) -> str:
    """Return which factors mattered most, as far as the trials support a ranking."""
    beyond = [name for name, one in chances.items() if one.is_beyond]
    if found.table is None:
        return f"Which factor mattered most cannot be told: {found.why_not}."
    tested = [one.p_corrected for one in chances.values() if not np.isnan(one.p_corrected)]
    if not beyond:
        least = (
            f" (the least {p_text(min(tested))} after correction for {count(len(tested), 'factor')})" if tested else ""
        )
        return f"No factor's effect is beyond chance{least}: the importances share out noise, and rank nothing."
    texts = [_ranking(found.table, evaluator, beyond) for evaluator in (FANOVA, PED_ANOVA)]
    firsts = [_first(found.table, evaluator, beyond) for evaluator in (FANOVA, PED_ANOVA)]
    rest = [name for name in chances if name not in beyond]
    parts = [
        f"Of the variance of the objective, {texts[0]}." if texts[0] else "",
        f"For getting into the best tenth, {texts[1]}." if texts[1] else "",
        "The two do not agree on what mattered most." if all(firsts) and firsts[0] != firsts[1] else "",
        f"Over all levels together, no effect beyond chance: {listed(rest)} (pairs of levels: below)." if rest else "",
    ]
    return " ".join(part for part in parts if part)


def _of(table: pd.DataFrame, evaluator: str, beyond: list[str]) -> pd.DataFrame:
    return table.loc[(table["evaluator"] == evaluator) & table["factor"].isin(beyond)]


def _first(table: pd.DataFrame, evaluator: str, beyond: list[str]) -> str:
    rows = _of(table, evaluator, beyond)
    return str(rows["factor"].iloc[0]) if len(rows) else ""


def _ranking(table: pd.DataFrame, evaluator: str, beyond: list[str]) -> str:
    """Return the factors whose effects are beyond chance in the order of an evaluator, and what of it holds."""
    rows = _of(table, evaluator, beyond)
    if rows.empty:
        return ""
    shares = [
        f"{name} {percent(value)} ({percent(low)} to {percent(high)}{', where ' + where if where else ''})"
        for name, value, low, high, where in rows[["factor", "value", "low", "high", "where"]].itertuples(index=False)
    ]
    text = f"{evaluator} gives {listed(shares)}"
    unsure = [
        f"{one} before {other}"
        for one, other, ahead in zip(rows["factor"], rows["factor"][1:], rows["ahead"], strict=False)
        if ahead < AHEAD
    ]
    return f"{text}, where the trials do not support the order of {listed(unsure)}" if unsure else text


def interaction_sentence(search: Search, one: Interaction) -> str:
    """Return which conclusion an interaction changes."""
    return (
        f"{one.factor} depends on {one.second}: {one.one} beats {one.other} with {one.second}={one.wins_with} (median "
        f"{search.objective.column} better by {number(one.win)}), and loses to it with {one.second}={one.loses_with} "
        f"(worse by {number(one.loss)}); {count(one.num, 'result')}, {p_text(one.p)} after correction."
    )


def seeds_sentence(search: Search, among: Comparable) -> str:
    """Return that seeds cannot be told apart from effects; empty with repeats."""
    if has_repeats(search, among):
        return ""
    return (
        "No configuration was repeated over seeds: whether a difference between two levels is larger than the spread "
        "over seeds cannot be told. A remark has the lines of a spec that would tell it."
    )


def stability_sentence(found: Stability) -> str:
    """Return how early ranks agree with those at the end."""
    if found.table is None:
        return f"Whether early ranks agree with those at the end cannot be told: {found.why_not}."
    texts = []
    for row in found.table.to_dict("records"):
        if np.isnan(row["spearman"]):
            texts.append(f"at step {row['step']:g} not at all to be told, as all are equal")
            continue
        texts.append(
            f"at step {row['step']:g} Spearman's {row['spearman']:.2f}{_correlations(row['low'], row['high'])} and "
            f"Kendall's {row['kendall']:.2f} ({row['n']} trials; stopping all but one in {row['reduction']} there "
            f"would have kept {percent(row['kept_share'])} of the final top {row['top']})"
        )
    return f"Ranks early and at the end: {'; '.join(texts)}."


def _correlations(low: float, high: float) -> str:
    return "" if np.isnan(low) else f" ({low:.2f} to {high:.2f})"


def saving_sentence(search: Search, saving: Saving | None) -> str:
    """Return what early stopping saved and what it risked; empty if it stopped no trial."""
    if saving is None:
        return ""
    name = search.spec.early_stopping.name if search.spec is not None else "early stopping"
    cost = "at a cost that is not known"
    if not np.isnan(saving.core_hours):
        share = percent(saving.share)
        cost = f"and saved about {number(saving.core_hours)} core-hours, {share} of what all would have cost"
    if saving.num_ahead is None:
        return f"{name} stopped {count(saving.num_pruned, 'trial')} early, {cost}; the risk cannot be told."
    ahead = {0: "none of them was", 1: "one of them was"}.get(saving.num_ahead, f"{saving.num_ahead} of them were")
    level = f", {saving.num_level} ahead of the last of the final top {saving.top}" if saving.top > 1 else ""
    return (
        f"{name} stopped {count(saving.num_pruned, 'trial')} early, {cost}. The risk, as far as it can be seen: "
        f"{ahead} then ahead of the best trial at the same step{level}; what they would have become is not known."
    )


def outcome_remarks(search: Search) -> list[str]:
    """Return what a reader must know of trials that did not complete, and of how trials were chosen."""
    remarks = []
    pruned = int((search.trials["outcome"] == Outcome.PRUNED.value).sum())
    if pruned:
        remarks.append(
            f"{count(pruned, 'trial')} stopped early {'is' if pruned == 1 else 'are'} in no mean: a level of which "
            f"more were stopped looks better by its completed ones; early_n and early_median are of all trials that "
            f"reached the first rung"
        )
    if search.spec is not None and search.spec.sampler.name not in EVEN:
        remarks.append(
            f"{search.spec.sampler.name} chose later trials by earlier results: levels that did well early were tried "
            f"more often and in better company, so read the levels with the other factors held"
        )
    return remarks
