"""The best objective so far: against trials, core-hours, or wall time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from analysis.drawing.columns import chosen, cpus_per_trial, is_compared, numbers
from analysis.drawing.figure import NothingToShowError
from analysis.drawing.style import COLORS, GREY, scale, shorten
from analysis.search import Search

TITLE = "Best so far"
SENTENCE = (
    "Each completed trial as a point, and as a stepped line the best objective that the search had found by then: "
    "a line that is still falling at its end says that more trials would help."
)
LABELS = {"trials": "trials ended", "core_hours": "core-hours spent", "hours": "hours since the first trial began"}


@dataclass(frozen=True)
class BestSoFar:
    """The completed trials in the order in which they ended."""

    x: str
    objective: str
    points: pd.DataFrame
    """trial, the x value, value, best."""

    def table(self) -> pd.DataFrame:
        """Return the points."""
        return self.points


def info(
    search: Search,
    trials: Sequence[int] | None = None,
    x: Literal["trials", "core_hours", "hours"] = "trials",
) -> BestSoFar:
    """Return the completed trials in the order of their ends, each with the best until then."""
    frame = chosen(search, trials)
    frame = frame.loc[~frame["outcome"].isin(["running", "stopped"])]
    ends = numbers(frame, "ended_at")
    frame = frame.iloc[np.lexsort((frame["trial"].to_numpy(), ends))]
    along = _along(search, frame, x)
    values = numbers(frame, search.objective.column)
    compared = is_compared(search, frame)
    if not compared.any():
        within = ", keeping all constraints" if search.constraints else ""
        raise NothingToShowError(f"no trial has completed yet{within}")
    if not np.isfinite(along[compared]).all():
        raise NothingToShowError(f"this search does not know the {LABELS[x]} of its trials")
    sign = search.objective.sign
    best = sign * np.minimum.accumulate(sign * values[compared])
    points = {"trial": frame["trial"].to_numpy()[compared], x: along[compared], "value": values[compared]}
    return BestSoFar(x, search.objective.column, pd.DataFrame({**points, "best": best}))


def _along(search: Search, frame: pd.DataFrame, x: str) -> np.ndarray:
    if x == "trials":
        return np.arange(1.0, len(frame) + 1)
    if x == "core_hours":
        held = numbers(frame, "wall_time_s")
        if not np.isfinite(held).any():
            return held
        return np.cumsum(np.nan_to_num(held)) * cpus_per_trial(search) / 3600
    return (numbers(frame, "ended_at") - np.min(numbers(frame, "began_at"), initial=np.inf)) / 3600


def draw(data: BestSoFar, axes: Any) -> None:
    """Draw the points, and the best as steps."""
    points = data.points
    axes.plot(points[data.x], points["value"], "o", color=GREY, alpha=0.5, label="completed trial")
    axes.step(points[data.x], points["best"], where="post", color=COLORS[0], linewidth=2, label="best so far")
    axes.set(xlabel=LABELS[data.x], ylabel=shorten(data.objective), yscale=scale(points["value"]))
    axes.legend()


def chart(data: BestSoFar) -> dict[str, Any]:
    """Return the same for Plotly."""
    x = data.points[data.x].tolist()
    text = [f"trial {number}" for number in data.points["trial"]]
    points = {"type": "scatter", "mode": "markers", "x": x, "y": data.points["value"].tolist(), "text": text}
    line = {"type": "scatter", "mode": "lines", "x": x, "y": data.points["best"].tolist(), "name": "best so far"}
    return {
        "data": [
            {**points, "name": "completed trial", "marker": {"color": GREY, "opacity": 0.6}},
            {**line, "line": {"color": COLORS[0], "shape": "hv", "width": 3}},
        ],
        "layout": {
            "xaxis": {"title": {"text": LABELS[data.x]}},
            "yaxis": {"title": {"text": data.objective}, "type": scale(data.points["value"])},
        },
    }
