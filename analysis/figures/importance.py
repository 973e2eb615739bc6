"""How important each factor is, by Optuna's two evaluators, with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.drawing.columns import chosen
from analysis.drawing.figure import NothingToShowError
from analysis.drawing.style import COLORS, GREY, shorten
from analysis.mattered.comparable import comparable
from analysis.mattered.importance import importance
from analysis.mattered.stability import at_first_rung
from analysis.search import Search

TITLE = "Importance of each factor"
SENTENCE = (
    "Each factor's share by fANOVA (of the variance of the objective) and by PED-ANOVA (for getting into the best "
    "tenth), with the interval in which it may lie: if two intervals overlap much, the trials hardly say which of the "
    "two factors matters more."
)
MOST = 24
"""Factors that are drawn, the most important first; the data has all."""


@dataclass(frozen=True)
class ImportanceBars:
    """The factors' shares by each evaluator."""

    factors: list[str]
    """Those that are drawn, the most important first."""
    shares: pd.DataFrame
    """factor, evaluator, value, low, high, ahead, n, where; of all factors."""
    remark: str

    @property
    def size(self) -> tuple[float, float]:
        """Inches of the figure, for its number of factors."""
        return 7.2, 1.6 + 0.42 * len(self.factors)

    def table(self) -> pd.DataFrame:
        """Return the shares."""
        return self.shares


def info(search: Search, trials: Sequence[int] | None = None) -> ImportanceBars:
    """Return the importance of every factor of a search, or among some of its trials, by its first objective."""
    among = search if trials is None else replace(search, trials=chosen(search, trials))
    found, remarks = importance(among, comparable(among)), []
    shares = found.table
    if shares is None and (early := at_first_rung(among)) is not None:
        # few that completed among many that were stopped early: at the first rung all of them count
        shares = importance(early.search, comparable(early.search)).table
        remarks.append(f"at step {early.step:g}, of all trials that reached it, as few came to their end")
    if shares is None:
        raise NothingToShowError(found.why_not)
    factors = list(dict.fromkeys(shares["factor"]))  # by fANOVA, which comes first and has all
    if len(factors) > MOST:
        remarks.append(f"the first {MOST} of {len(factors)} factors")
    return ImportanceBars(factors[:MOST], shares, "; ".join(remarks))


def draw(data: ImportanceBars, axes: Any) -> None:
    """Draw a bar per factor and evaluator, with its interval."""
    evaluators = list(dict.fromkeys(data.shares["evaluator"]))
    height = 0.8 / len(evaluators)
    for place, evaluator in enumerate(evaluators):
        rows = data.shares.loc[data.shares["evaluator"] == evaluator].drop_duplicates("factor").set_index("factor")
        rows = rows.reindex(data.factors)
        values = rows["value"].to_numpy(dtype=float)
        at = np.arange(len(rows)) + (place - (len(evaluators) - 1) / 2) * height
        ends = np.abs(rows[["low", "high"]].to_numpy(dtype=float).T - values)
        axes.barh(at, values, 0.88 * height, color=COLORS[place], alpha=0.75, label=evaluator)
        axes.errorbar(values, at, xerr=ends, fmt="none", ecolor=GREY, elinewidth=1.4, capsize=3)
        for where in at[np.isnan(values)]:
            axes.text(0.006, where, f"not known by {evaluator}", fontsize=7.5, color=GREY, va="center")
    axes.set_yticks(range(len(data.factors)), [shorten(name) for name in data.factors])
    axes.set(xlim=(0, 1), ylim=(len(data.factors) - 0.4, -0.6), title=data.remark)
    axes.set_xlabel("share of importance", loc="left")  # to its right is the legend
    axes.grid(axis="y", visible=False)
    axes.legend(loc="upper right", bbox_to_anchor=(1.0, -0.02), ncols=2, borderaxespad=2.2)
