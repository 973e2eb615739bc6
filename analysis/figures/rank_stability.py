"""How well ranks early in the training tell those at the end, and what stopping there would have kept."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.drawing.columns import chosen
from analysis.drawing.figure import NothingToShowError
from analysis.drawing.style import COLORS, GREY, spans_decades
from analysis.mattered.comparable import comparable
from analysis.mattered.stability import stability
from analysis.search import Search

TITLE = "Early ranks and final ones"
SENTENCE = (
    "Left, how the ranks of the trials at each rung agree with those at the end: 1 if they are the same, 0 if they "
    "say nothing of each other; the band is the 95 % interval of Spearman's correlation. Right, how many of the final "
    "best trials would have gone on if trials had been stopped there: those that would not are the risk."
)


@dataclass(frozen=True)
class RankStability:
    """The agreement of early ranks with those at the end, by rung."""

    objective: str
    rungs: pd.DataFrame
    """step, n, spearman, low, high, kendall, top, kept_share, reached, reduction."""

    def table(self) -> pd.DataFrame:
        """Return the rungs."""
        return self.rungs


def info(search: Search, trials: Sequence[int] | None = None) -> RankStability:
    """Return how ranks at each rung agree with those at the end, by the first objective."""
    among = search if trials is None else replace(search, trials=chosen(search, trials))
    found = stability(among, comparable(among))
    if found.table is None:
        raise NothingToShowError(found.why_not)
    return RankStability(search.objective.column, found.table)


def panels(data: RankStability) -> tuple[int, int]:
    """Return a panel for the ranks and one for the best trials."""
    return 1, 2


def draw(data: RankStability, axes: Any) -> None:
    """Draw the correlations, and the share of the best that would have been kept."""
    rungs = data.rungs
    steps = rungs["step"].to_numpy(dtype=float)
    left, right = axes
    left.fill_between(steps, rungs["low"], rungs["high"], color=COLORS[0], alpha=0.18, linewidth=0)
    left.errorbar(
        steps,
        rungs["spearman"],
        yerr=np.abs(rungs[["low", "high"]].to_numpy(dtype=float).T - rungs["spearman"].to_numpy(dtype=float)),
        fmt="o-",
        color=COLORS[0],
        capsize=3,
        label="Spearman's rho",
    )
    left.plot(steps, rungs["kendall"], "s--", color=COLORS[1], label="Kendall's tau")
    lowest = np.nanmin([0.0, *rungs["low"], *rungs["kendall"]])
    left.set(ylabel="agreement with the end", ylim=(lowest - 0.05, 1.05), title="ranks of the trials")
    left.legend(loc="best")
    right.plot(steps, rungs["kept_share"], "o-", color=COLORS[2])
    right.axhline(1, color=GREY, linewidth=0.8, linestyle="--")
    for step, share, top in zip(steps, rungs["kept_share"], rungs["top"], strict=True):
        text = f"{round(share * top)} of {top}"
        right.annotate(
            text, (step, share), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=8, color=GREY
        )
    title = f"final top {max(rungs['top'])} that would have gone on"
    right.set(ylabel="share kept", ylim=(-0.05, 1.15), title=title)
    for one in axes:
        one.set(xlabel="optimiser step of the rung", xscale="log" if spans_decades(steps) else "linear")
