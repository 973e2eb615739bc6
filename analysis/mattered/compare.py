"""What mattered in a search: every factor's levels beside each other, in sentences and tables."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from analysis.mattered.comparable import Comparable, comparable
from analysis.mattered.levels import levels_table
from analysis.mattered.verdict import Verdict
from analysis.search import Factor, Search


@dataclass(frozen=True)
class FactorReport:
    """What a search says of one factor."""

    column: str
    levels: pd.DataFrame
    """One row per level, see `analysis.mattered.levels.levels_table`."""
    marginals: pd.DataFrame
    """One row per level: the objective with all other factors held."""
    verdicts: list[Verdict]
    """What the seeds say of pairs of levels; empty if the search was not repeated."""
    sentence: str
    """Which level is best, by how much, and whether the seeds support it."""
    basis: str
    """Which trials the numbers are from."""


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
    importance: pd.DataFrame | None
    """One row per factor and evaluator: `factor`, `evaluator`, `value`, `low`, `high`; None if it cannot be told."""
    no_importance: str
    """Why there is no importance; empty if there is."""
    interactions: list[str]
    """The interactions that change a conclusion, as sentences."""
    stability: pd.DataFrame | None
    """One row per rung: how well the ranks there agree with those at the end; None if no histories are there."""
    remarks: list[str]
    """Which trials the numbers are from, and what cannot be told."""
    front: pd.DataFrame | None = None
    """The trials of which none is worse than another by all objectives; None if there is one objective."""
    views: list["Comparison"] = field(default_factory=list)
    """The same by each further objective."""


def compare(search: Search, factor: str | None = None) -> Comparison:
    """Return what mattered in a search; with `factor`, a column's name, of this factor alone.

    Raises NotThereError if nothing of that name was searched.
    """
    factors: Sequence[Factor] = search.factors if factor is None else [search.factor(factor)]
    among = comparable(search)
    return Comparison(
        search=search.name,
        objective=search.objective.column,
        sentences=[],
        factors=[_report(search, one, among) for one in factors],
        importance=None,
        no_importance="not computed",
        interactions=[],
        stability=None,
        remarks=[*search.remarks, *among.remarks],
    )


def _report(search: Search, factor: Factor, among: Comparable) -> FactorReport:
    return FactorReport(
        column=factor.column,
        levels=levels_table(search, factor, among),
        marginals=pd.DataFrame(),
        verdicts=[],
        sentence="",
        basis=among.what,
    )
