"""The objective by level of every factor, as strips."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.drawing.columns import chosen, is_compared, numbers, varied
from analysis.drawing.figure import NothingToShowError
from analysis.drawing.style import COLORS, FAILED, GREY, scale, shorten
from analysis.mattered.levels import level_labels
from analysis.search import Search
from cluster.state.outcomes import Outcome

TITLE = "Objective by level"
SENTENCE = (
    "One strip per level of each factor, numbers in bins with equally many trials: a point is a completed trial, the "
    "line their median, and the text how many trials of the level failed or were pruned."
)
MOST_FACTORS = 6
MOST_LEVELS = 14


@dataclass(frozen=True)
class Levels:
    """The trials by factor and level."""

    objective: str
    points: pd.DataFrame
    """factor, level, trial, value; the completed trials."""
    ends: pd.DataFrame
    """factor, level, completed (of those that keep all constraints), pruned, failed."""

    @property
    def factors(self) -> list[str]:
        """The factors, in the spec's order."""
        return [*dict.fromkeys(self.ends["factor"])]

    @property
    def size(self) -> tuple[float, float]:
        """Inches of the figure, for its number of levels."""
        return 8.0, sum(0.9 + 0.27 * len({*self._of(self.ends, factor)["level"]}) for factor in self.factors)

    @staticmethod
    def _of(frame: pd.DataFrame, factor: str) -> pd.DataFrame:
        return frame.loc[frame["factor"] == factor]

    def table(self) -> pd.DataFrame:
        """Return the completed trials by factor and level, beside how many of each level did not complete."""
        return self.ends.merge(self.points, on=["factor", "level"], how="left")


def info(search: Search, trials: Sequence[int] | None = None, factor: str = "") -> Levels:
    """Return the trials by level of one factor, or of all that vary, at most six."""
    frame = chosen(search, trials)
    factors = [search.factor(factor)] if factor else varied(search, frame)
    points, ends = [], []
    values = numbers(frame, search.objective.column)
    outcomes, compared = np.asarray(frame["outcome"].astype(str)), is_compared(search, frame)
    failures = {one.value for one in Outcome if one.is_failure}
    for one in factors:
        labels = level_labels(search, one, frame)
        names = [str(name) for name in labels.cat.categories]
        codes = np.asarray(labels.cat.codes)
        tried = np.unique(codes[codes >= 0])
        if len(names) > MOST_LEVELS or len(tried) < 2:
            continue
        for place in tried:
            here = codes == place
            done = here & compared
            numbered = zip(frame["trial"].to_numpy()[done], values[done], strict=True)
            points += [(one.column, names[place], int(trial), value) for trial, value in numbered]
            failed = int(np.isin(outcomes[here], list(failures)).sum())
            ends.append((one.column, names[place], int(done.sum()), int((outcomes[here] == "pruned").sum()), failed))
        if len({row[0] for row in ends}) == MOST_FACTORS:
            break
    if not points:
        raise NothingToShowError("no factor has two levels among trials that completed")
    return Levels(
        search.objective.column,
        pd.DataFrame(points, columns=["factor", "level", "trial", "value"]),
        pd.DataFrame(ends, columns=["factor", "level", "completed", "pruned", "failed"]),
    )


def panels(data: Levels) -> tuple[int, int]:
    """Return a panel per factor, below each other."""
    return len(data.factors), 1


def draw(data: Levels, axes: Any) -> None:
    """Draw a panel per factor."""
    is_log = scale(data.points["value"])
    for factor, one in zip(data.factors, np.ravel(np.asarray(axes, dtype=object)), strict=True):
        ends = data.ends.loc[data.ends["factor"] == factor]
        points = data.points.loc[data.points["factor"] == factor]
        names = list(ends["level"])
        for place, (name, pruned, failed) in enumerate(zip(names, ends["pruned"], ends["failed"], strict=True)):
            values = points.loc[points["level"] == name, "value"].to_numpy()
            spread = 0.22 * np.sin(2.4 * np.arange(len(values)))
            one.plot(values, place + spread, "o", color=COLORS[0], alpha=0.55)
            if len(values):
                one.plot([np.median(values)] * 2, [place - 0.36, place + 0.36], color=COLORS[1], linewidth=2.2)
            text = ", ".join(f"{num} {what}" for num, what in ((failed, "failed"), (pruned, "pruned")) if num)
            one.text(
                1.01,
                place,
                text,
                transform=one.get_yaxis_transform(),
                fontsize=7.5,
                va="center",
                color=FAILED if failed else GREY,
            )
        one.set_yticks(range(len(names)), [shorten(name, 30) for name in names])
        one.set(ylim=(len(names) - 0.4, -0.6), xscale=is_log, title=shorten(factor, 40))
    np.ravel(np.asarray(axes, dtype=object))[-1].set_xlabel(shorten(data.objective))
