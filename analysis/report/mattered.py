"""What mattered, as the page shows it: sentences first, then each factor's levels, and how sure one can be."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from analysis.mattered.compare import Comparison, FactorReport
from analysis.report.tables import Cell, Table, table_of

SHARES = ("failed_share", "pruned_share", "infeasible_share", "kept_share")
NAMES = {
    "best_trial": "its trial", "std": "spread", "seed_std": "spread of seeds", "failed_share": "share failed",
    "pruned_share": "share stopped early", "infeasible_share": "share infeasible", "core_hours": "core-hours",
    "core_hours_mean": "core-hours of one", "wall_time_s_mean": "seconds of one", "early_n": "n at the first rung",
    "early_median": "median at the first rung", "spearman": "Spearman's rho", "low": "95 % from", "high": "to",
    "kendall": "Kendall's tau", "top": "best at the end", "kept_share": "share of them kept", "reached": "reached it",
    "reduction": "one kept in", "stopped": "stopped there", "ahead_of_best": "of them then ahead of the best",
    "ahead_of_top": "ahead of the last of the top",
}  # fmt: skip
SAVING = (
    "What early stopping saved, at each trial's own cost per step, and what it risked: stopped trials that were then "
    "ahead of those that became the best"
)
MOST_VERDICTS = 6
"""Pairs of levels that are said at once; the others can be unfolded."""


@dataclass(frozen=True)
class FactorView:
    """One factor on the page."""

    column: str
    sentence: str
    basis: str
    levels: Table
    marginals: Table | None
    verdicts: list[str]
    more_verdicts: list[str]


@dataclass(frozen=True)
class MatteredView:
    """A comparison on the page."""

    objective: str
    sentences: list[str]
    factors: list[FactorView]
    importance: Table | None
    no_importance: str
    interactions: list[str]
    stability: Table | None
    saving: Table | None
    remarks: list[str]
    front: Table | None
    views: list["MatteredView"] = field(default_factory=list)
    title: str = ""
    """Its heading, if it is not the search's first view."""


def view(comparison: Comparison, title: str = "") -> MatteredView:
    """Return a comparison as the page shows it, with its further views: at the first rung, by other objectives."""
    by = f"by {comparison.objective}" + (f" at step {comparison.step:g}" if comparison.step is not None else "")
    further = [view(one, f"By {one.objective}") for one in comparison.views]
    if comparison.early is not None:
        rung = view(comparison.early, f"At the first rung, step {comparison.early.step:g}")
        further.insert(0, replace(rung, sentences=[]))  # they are among the search's own
    return MatteredView(
        objective=comparison.objective,
        sentences=list(comparison.sentences),
        factors=[_factor(report, by) for report in comparison.factors],
        importance=_importance(comparison.importance, by),
        no_importance=comparison.no_importance,
        interactions=list(comparison.interactions),
        stability=_table(comparison.stability, "How the ranks at each rung agree with those at the end", SHARES),
        saving=_table(comparison.saving, SAVING),
        remarks=list(comparison.remarks),
        front=_table(comparison.front, "The Pareto front: no trial is better than one of these by all objectives"),
        views=further,
        title=title,
    )


def _factor(report: FactorReport, by: str) -> FactorView:
    levels = report.levels.drop(columns=["ended", "failed"], errors="ignore").dropna(axis="columns", how="all")
    said = [verdict.sentence for verdict in report.verdicts]
    held = report.held
    worse = "worse by a factor of" if held.is_ratio else "worse by"
    how = f" ({held.basis})" if held.basis else ""
    return FactorView(
        column=report.column,
        sentence=report.sentence.removeprefix(f"{report.column}: "),
        basis=report.basis,
        levels=table_of(levels, f"Levels of {report.column}, {by}", NAMES, bars=SHARES),
        marginals=_table(
            report.marginals.rename(columns={"worse_by": worse, "wins": "settings in which the best is better"}),
            f"{report.column} with all other factors held, {by}{how}",
        ),
        verdicts=said[:MOST_VERDICTS],
        more_verdicts=said[MOST_VERDICTS:],
    )


def _table(frame: pd.DataFrame | None, caption: str, bars: Sequence[str] = ()) -> Table | None:
    return None if frame is None or frame.empty else table_of(frame, caption, NAMES, bars)


def _importance(frame: pd.DataFrame | None, by: str) -> Table | None:
    """Return a row per factor, the most important first: each evaluator's share, with the interval it may lie in."""
    if frame is None or frame.empty:
        return None
    evaluators = list(dict.fromkeys(frame["evaluator"]))
    factors = list(frame.loc[frame["evaluator"] == evaluators[0]].sort_values("value", ascending=False)["factor"])
    rows, rows_of = [], frame.to_dict("records")
    for factor in dict.fromkeys([*factors, *frame["factor"]]):
        cells = [Cell(str(factor))]
        for evaluator in evaluators:
            found = [row for row in rows_of if row["factor"] == factor and row["evaluator"] == evaluator]
            cells.append(_share(found[0]) if found else Cell(""))
        rows.append(tuple(cells))
    caption = f"How important each factor is, {by}: its share, and the interval in which it may lie"
    return Table(caption, ("factor", *map(str, evaluators)), (False, *[True] * len(evaluators)), rows)


def _share(row: Mapping[Hashable, Any]) -> Cell:
    value, low, high = (float(row[name]) for name in ("value", "low", "high"))
    if value != value:
        return Cell("")
    interval = "" if low != low else f" ({low:.0%} to {high:.0%})"
    return Cell(f"{value:.0%}{interval}", min(max(value, 0.0), 1.0))
