"""What a trial took against how good it became."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.drawing.columns import completed_with_value, numbers
from analysis.drawing.figure import NothingToShowError
from analysis.drawing.style import COLORS, GREY, scale, shorten
from analysis.search import Search

TITLE = "Run time against objective"
SENTENCE = (
    "Each completed trial by the time that it took and the objective that it reached; the line joins those that no "
    "other trial beats in both."
)


@dataclass(frozen=True)
class TimeAndObjective:
    """Completed trials by time and objective."""

    objective: str
    points: pd.DataFrame
    """trial, wall_time_s, value, is_on_front; by time."""

    def table(self) -> pd.DataFrame:
        """Return the points."""
        return self.points


def info(search: Search, trials: Sequence[int] | None = None) -> TimeAndObjective:
    """Return completed trials by time and objective, and which are on the Pareto front."""
    frame = completed_with_value(search, trials)
    seconds, values = numbers(frame, "wall_time_s"), numbers(frame, search.objective.column)
    if not (seconds > 0).any():
        raise NothingToShowError("this search does not know how long its trials took")
    known = np.isfinite(seconds)
    order = np.lexsort((search.objective.sign * values[known], seconds[known]))
    seconds, values = seconds[known][order], values[known][order]
    signed = search.objective.sign * values
    before = np.concatenate([[np.inf], np.minimum.accumulate(signed)[:-1]])
    points = {"trial": frame["trial"].to_numpy()[known][order], "wall_time_s": seconds, "value": values}
    return TimeAndObjective(search.objective.column, pd.DataFrame({**points, "is_on_front": signed < before}))


def draw(data: TimeAndObjective, axes: Any) -> None:
    """Draw the points and the front."""
    points = data.points
    axes.plot(points["wall_time_s"], points["value"], "o", color=GREY, alpha=0.55, label="completed trial")
    front = points.loc[points["is_on_front"]]
    axes.step(
        front["wall_time_s"],
        front["value"],
        where="post",
        marker="o",
        color=COLORS[1],
        label="none is faster and better",
    )
    for number, x, y in list(zip(front["trial"], front["wall_time_s"], front["value"], strict=True))[-8:]:
        axes.annotate(str(number), (x, y), xytext=(4, 4), textcoords="offset points", fontsize=7.5, color=GREY)
    axes.set(xlabel="seconds of a trial", ylabel=shorten(data.objective))
    axes.set(xscale=scale(points["wall_time_s"]), yscale=scale(points["value"]))
    axes.legend()


def chart(data: TimeAndObjective) -> dict[str, Any]:
    """Return the same for Plotly."""
    points = data.points
    front = points.loc[points["is_on_front"]]
    text = [f"trial {number}" for number in points["trial"]]
    dots = {"type": "scatter", "mode": "markers", "x": points["wall_time_s"].tolist(), "y": points["value"].tolist()}
    line = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": front["wall_time_s"].tolist(),
        "y": front["value"].tolist(),
    }
    return {
        "data": [
            {**dots, "text": text, "name": "completed trial", "marker": {"color": GREY, "opacity": 0.6}},
            {**line, "name": "none is faster and better", "line": {"color": COLORS[1], "shape": "hv"}},
        ],
        "layout": {
            "xaxis": {"title": {"text": "seconds of a trial"}, "type": scale(points["wall_time_s"])},
            "yaxis": {"title": {"text": data.objective}, "type": scale(points["value"])},
        },
    }
