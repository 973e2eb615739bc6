"""How trials with a KL term stand beside those without, at the same step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.drawing.columns import chosen
from analysis.drawing.figure import NothingToShowError
from analysis.drawing.style import COLORS, scale, shorten
from analysis.search import Search

TITLE = "With and without a KL term"
SENTENCE = (
    "The least validation error at each report, of the trials with a KL term and of those without (deterministic); the "
    "numbers beside the points count the trials that got there."
)
NAMES = {True: "without KL", False: "with KL"}


@dataclass(frozen=True)
class KlTerm:
    """Least errors by step."""

    metric: str
    errors: pd.DataFrame
    """step, kind ("with KL" or "without KL"), num (trials that reported), least (error)."""

    def table(self) -> pd.DataFrame:
        """Return the errors."""
        return self.errors


def info(search: Search, trials: Sequence[int] | None = None) -> KlTerm:
    """Return the least errors at each report, by whether trials have a KL term."""
    frame, metric, reports = chosen(search, trials), search.objective.column, search.histories
    if "deterministic" not in frame.columns or len({bool(one) for one in frame["deterministic"].dropna()}) < 2:
        raise NothingToShowError("it needs trials with a KL term and trials without (deterministic)")
    if metric not in reports.columns:
        raise NothingToShowError("no trial has reported its objective yet")
    kinds = {number: NAMES[bool(one)] for number, one in zip(frame["trial"], frame["deterministic"], strict=True)}
    reports = reports.loc[reports["trial"].isin(list(kinds))].dropna(subset=metric)
    kind = reports["trial"].map(kinds)
    rows = [
        {"step": step, "kind": name, "num": len({*part["trial"]}), "least": part[metric].min()}
        for (step, name), part in reports.groupby([reports["step"], kind.rename("kind")])
    ]
    return KlTerm(metric, pd.DataFrame(rows, columns=["step", "kind", "num", "least"]))


def draw(data: KlTerm, axes: Any) -> None:
    """Draw the least errors of both kinds."""
    for place, name in enumerate(NAMES.values()):
        part = data.errors.loc[data.errors["kind"] == name]
        axes.plot(part["step"], part["least"], "o-", color=COLORS[place], label=name)
        for step, least, num in zip(part["step"], part["least"], part["num"], strict=True):
            where = (0, 6) if place else (0, -12)
            axes.annotate(
                str(num),
                (step, least),
                xytext=where,
                textcoords="offset points",
                ha="center",
                fontsize=7,
                color=COLORS[place],
            )
    axes.margins(y=0.12)
    axes.set(xlabel="optimiser step", ylabel=f"least {shorten(data.metric)}", yscale=scale(data.errors["least"]))
    axes.legend()
