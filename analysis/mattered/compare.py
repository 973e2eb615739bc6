"""What mattered in a search: every factor's levels beside each other, in sentences and tables."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from analysis.mattered.chance import Chance, chances
from analysis.mattered.comparable import SETS, Comparable, comparable
from analysis.mattered.crossed import Crossed, crossed
from analysis.mattered.factor_sentence import factor_sentence, failures_sentence, nothing_told
from analysis.mattered.front import pareto_front
from analysis.mattered.importance import FANOVA, FEWEST, Importance, importance
from analysis.mattered.interactions import interactions
from analysis.mattered.levels import SCORES, levels_table
from analysis.mattered.marginals import Forests, Marginals, marginals
from analysis.mattered.repeats import without_repeats
from analysis.mattered.seeds import has_repeats, verdicts
from analysis.mattered.sentences import (
    early_overview,
    importance_sentence,
    interaction_sentence,
    outcome_remarks,
    overview,
    saving_sentence,
    seeds_sentence,
    stability_sentence,
)
from analysis.mattered.stability import Early, at_first_rung, stability
from analysis.mattered.verdict import Verdict
from analysis.mattered.verdict_sentences import conclusion
from analysis.mattered.words import listed
from analysis.search import Search
from cluster.state.outcomes import Outcome
from cluster.wording import count


@dataclass(frozen=True)
class FactorReport:
    """What a search says of one factor."""

    column: str
    levels: pd.DataFrame
    """One row per level, see `analysis.mattered.levels.levels_table`."""
    marginals: pd.DataFrame
    """One row per level, best first, with all other factors held, see `analysis.mattered.marginals.Marginals`."""
    verdicts: list[Verdict]
    """What the seeds say of pairs of levels; empty if the search was not repeated."""
    sentence: str
    """Which level is best, by how much, and whether the seeds support it."""
    basis: str
    """Which trials the levels' numbers are from."""
    chance: Chance
    """How likely chance alone makes the levels differ so much."""
    held: Marginals
    """The marginals with how they were made."""


@dataclass(frozen=True)
class Comparison:
    """What mattered in a search, by one objective."""

    search: str
    """The search's name."""
    objective: str
    """The objective's column."""
    sentences: list[str]
    """The answer in plain sentences, the most important first."""
    factors: list[FactorReport]
    """What is known of each factor, those whose effect is beyond chance first."""
    importance: pd.DataFrame | None
    """One row per evaluator and factor, see `analysis.mattered.importance.Importance`; None if it cannot be told."""
    no_importance: str
    """Why there is no importance; empty if there is."""
    interactions: list[str]
    """The interactions that change a conclusion, as sentences."""
    stability: pd.DataFrame | None
    """One row per rung, see `analysis.mattered.stability.Stability`; None if it cannot be told."""
    remarks: list[str]
    """Which trials the numbers are from, and what cannot be told."""
    saving: pd.DataFrame | None = None
    """What early stopping saved and risked, a row per step at which it stopped trials, see
    `analysis.mattered.stability.Saving`; None if it stopped none."""
    front: pd.DataFrame | None = None
    """The trials of which none is worse than another by all objectives; None if there is one objective."""
    views: list["Comparison"] = field(default_factory=list)
    """The same by each further objective."""
    early: "Comparison | None" = None
    """The same at the first rung, over all trials that reached it; None if no trial was stopped early."""
    step: float | None = None
    """The step of the rung, if that is where trials are compared; None if it is at their end."""


def compare(search: Search, factor: str | None = None) -> Comparison:
    """Return what mattered in a search, by its first objective; with `factor`, a column's name, of this factor alone.

    The views of its further objectives are in `views`. Raises NotThereError if nothing of that name was searched.
    """
    if factor is not None:
        search.factor(factor)
    trials = search.trials.reset_index(drop=True)  # of a search made by hand an index may have a label twice
    absent = [one.column for one in search.factors if one.column not in trials.columns]
    trials = trials.assign(**dict.fromkeys(absent, np.nan))
    searches = [
        replace(search, trials=trials, objectives=(one,), read_histories=lambda: search.histories)
        for one in search.objectives
    ]
    among = [comparable(one) for one in searches]
    first, *further = [_compare(one, there, factor) for one, there in zip(searches, among, strict=True)]
    if not search.is_multi_objective:
        return first
    front = pareto_front(search, among)
    return replace(first, sentences=_of_all(search, first, further, front), front=front, views=further)


def _of_all(search: Search, first: Comparison, further: list[Comparison], front: pd.DataFrame) -> list[str]:
    """Return the sentences of a search with several objectives: the front, then each objective's own."""
    names = listed([one.column for one in search.objectives])
    trials = listed([str(number) for number in front["trial"][:10]]) or "none"
    more = f" and {len(front) - 10} more" if len(front) > 10 else ""
    lead = (
        f"With {len(search.objectives)} objectives ({names}) no trial is best: the Pareto front has {len(front)} "
        f"(trials {trials}{more}); each objective by itself follows."
    )
    by_each = [f"By {view.objective}: {text}" for view in (first, *further) for text in view.sentences]
    return [lead, *by_each]


def _compare(search: Search, among: Comparable, only: str | None) -> Comparison:
    """Return what mattered by the search's first objective."""
    ranks, early = stability(search, among), at_first_rung(search)
    found = _of_factors(search, among, only, early.values if early else None)
    sentences = [overview(search, among)]
    if not among.feasible.empty:
        sentences += [*found.sentences, seeds_sentence(search, among)]
    sentences += [failures_sentence(one.levels, one.column, len(search.factors)) for one in found.factors]
    rung = _at_rung(early, only) if early else None
    if rung is not None:
        # if hardly any trial came to its end, the rung has the answers
        place = len(sentences) if len(among.feasible) >= FEWEST else 1
        sentences[place:place] = rung.sentences
    if only is None and not search.trials.empty:
        sentences += [stability_sentence(ranks), saving_sentence(search, ranks.saving)]
    remarks = [*search.remarks, *among.remarks, *outcome_remarks(search), *found.remarks, ranks.basis]
    remarks += rung.remarks if rung is not None else []
    if found.factors and len(among.feasible) and not has_repeats(search, among):
        remarks.append(without_repeats(search, search.factor(found.factors[0].column), among))
    return replace(
        found,
        sentences=[text for text in sentences if text],
        stability=ranks.table,
        saving=ranks.saving.table if ranks.saving is not None else None,
        remarks=[text for text in remarks if text],
        early=rung,
    )


def _at_rung(early: Early, only: str | None) -> Comparison:
    """Return what mattered at the first rung."""
    among = comparable(early.search)
    if among.noun != SETS:
        among = replace(among, noun="trial")
    found = _of_factors(early.search, among, only, None)
    pruned = int((early.outcomes == Outcome.PRUNED.value).sum())
    told = [f"At step {early.step:g}: {text}" for text in found.sentences if text]
    lead = early_overview(early.step, len(early.values), pruned)
    # how trials ended and what they cost is no matter of the rung
    reports = [
        replace(one, levels=one.levels.filter(items=["level", *SCORES]), basis=f"scores: {among.what}")
        for one in found.factors
    ]
    remarks = [f"at step {early.step:g}: {text}" for text in (*among.remarks, *found.remarks)]
    return replace(found, sentences=[lead, *told], factors=reports, remarks=remarks, step=early.step)


def _of_factors(search: Search, among: Comparable, only: str | None, early: Mapping[int, float] | None) -> Comparison:
    """Return what can be said of factors alone; its sentences say nothing of the search as a whole."""
    units = crossed(search, among)
    chance_of, forests = chances(units), Forests(units)
    importances = importance(search, among)
    found, num_pairs = interactions(units, only)
    reports = [
        _report(search, among, units, name, chance_of[name], forests, early)
        for name in _order(units, chance_of, importances)
        if only in (None, name)
    ]
    interacting = [interaction_sentence(search, one) for one in found]
    remarks = [*importances.remarks]
    if num_pairs:
        remarks.append(f"interactions were looked for in {num_pairs} pairs of factors, of {among.what}")
    ranking = [importance_sentence(importances, chance_of)] if only is None else []
    return Comparison(
        search=search.name,
        objective=search.objective.column,
        sentences=[*ranking, *_told(reports), *interacting],
        factors=reports,
        importance=importances.table,
        no_importance=importances.why_not,
        interactions=interacting,
        stability=None,
        remarks=remarks,
    )


def _told(reports: Sequence[FactorReport]) -> Iterator[str]:
    """Yield the factors' sentences; those of which nothing can be told for the same reason share one."""
    untold: dict[str, list[str]] = {}
    for one in reports:
        if one.chance.why_not and not one.verdicts:
            untold.setdefault(one.chance.why_not, []).append(one.column)
        else:
            yield one.sentence
    for why, columns in untold.items():
        yield nothing_told(columns, why)


def _order(units: Crossed, chance_of: Mapping[str, Chance], found: Importance) -> Sequence[str]:
    """Return the factors with an effect beyond chance first, each group in the order of their importance."""
    shares = {}
    if found.table is not None:
        rows = found.table.loc[found.table["evaluator"] == FANOVA]
        shares = dict(zip(rows["factor"], rows["value"], strict=True))
    return sorted(units.codes, key=lambda name: (not chance_of[name].is_beyond, -shares.get(name, 0.0)))


def _report(
    search: Search,
    among: Comparable,
    units: Crossed,
    name: str,
    chance: Chance,
    forests: Forests,
    early: Mapping[int, float] | None,
) -> FactorReport:
    held, found = marginals(units, name, forests), verdicts(search, name, among)
    return FactorReport(
        column=name,
        levels=levels_table(search, search.factor(name), among, early),
        marginals=held.table,
        verdicts=found,
        sentence=factor_sentence(search, among, units, name, chance, held, found, conclusion(name, found)),
        basis=f"scores: {among.what}; shares and costs: all {count(len(search.trials), 'trial')}",
        chance=chance,
        held=held,
    )
