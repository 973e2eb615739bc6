"""How the trials ended, over time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.drawing.columns import chosen, numbers
from analysis.drawing.figure import NothingToShowError
from analysis.drawing.style import FAILED, outcome_color, time_unit
from analysis.search import Search

TITLE = "Outcomes over time"
SENTENCE = (
    "How many trials had ended by each moment, stacked by how they ended: a band of failures that opens at one moment "
    "points to the machine, one that grows all along to the configurations."
)

_PATTERNS = ("/", ".", "x", "\\", "+", "|")
"""Failures of several kinds have one colour."""


@dataclass(frozen=True)
class Outcomes:
    """Running counts of the outcomes."""

    x: str
    """What the first column is: hours since the first trial began, or trials ended if no times are known."""
    counts: pd.DataFrame
    """The x column, and a running count per outcome."""

    def table(self) -> pd.DataFrame:
        """Return the counts."""
        return self.counts


def info(search: Search, trials: Sequence[int] | None = None) -> Outcomes:
    """Return the running counts of the outcomes of ended trials."""
    frame = chosen(search, trials)
    frame = frame.loc[~frame["outcome"].isin(["running", "stopped"])]
    if len(frame) == 0:
        raise NothingToShowError("no trial has ended yet")
    ends = numbers(frame, "ended_at")
    order = np.lexsort((frame["trial"].to_numpy(), ends))
    frame = frame.iloc[order]
    if np.isfinite(ends).all():
        x, along = "hours", (ends[order] - np.nanmin(numbers(frame, "began_at"))) / 3600
    else:
        x, along = "trials ended", np.arange(1.0, len(frame) + 1)
    names = np.asarray(frame["outcome"].astype(str))
    kinds = sorted(set(names), key=lambda name: (name != "completed", name != "pruned", name))
    counts = {name: np.cumsum(names == name) for name in kinds}
    return Outcomes(x, pd.DataFrame({x: along, **counts}))


def draw(data: Outcomes, axes: Any) -> None:
    """Draw the counts on top of each other."""
    kinds = [str(name) for name in data.counts.columns[1:]]
    along = data.counts[data.x].to_numpy()
    factor, unit = time_unit(along) if data.x == "hours" else (1.0, "")
    x = np.concatenate([[0.0], factor * along])
    heights = [np.concatenate([[0], data.counts[name].to_numpy()]) for name in kinds]
    patterns = ["", "", "//", "..", "xx", "\\\\", "++", "oo"]
    parts = axes.stackplot(
        x, heights, labels=kinds, colors=[outcome_color(name) for name in kinds], alpha=0.75, step="post"
    )
    failures = [part for part, name in zip(parts, kinds, strict=True) if name not in ("completed", "pruned")]
    for part, pattern in zip(failures, patterns[2:], strict=False):
        part.set_hatch(pattern)  # failures of several kinds have one colour
    axes.set(xlabel=f"{unit} since the first trial began" if unit else data.x, ylabel="trials")
    axes.margins(x=0, y=0.02)
    axes.legend(loc="upper left")


def chart(data: Outcomes) -> dict[str, Any]:
    """Return the same for Plotly."""
    along = data.counts[data.x].to_numpy(dtype=float)
    factor, unit = time_unit(along) if data.x == "hours" else (1.0, "")
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [0.0, *(factor * along).tolist()],
            "y": [0, *data.counts[name].tolist()],
            "name": name.replace("_", " "),
            "stackgroup": "outcomes",
            "line": {"color": outcome_color(name), "shape": "hv", "width": 1},
            "fillpattern": {"shape": _PATTERNS[place % len(_PATTERNS)] if outcome_color(name) == FAILED else ""},
        }
        for place, name in enumerate(map(str, data.counts.columns[1:]))
    ]
    label = f"{unit} since the first trial began" if unit else data.x
    layout = {"xaxis": {"title": {"text": label}}, "yaxis": {"title": {"text": "trials"}}, "hovermode": "x unified"}
    return {"data": traces, "layout": layout}
