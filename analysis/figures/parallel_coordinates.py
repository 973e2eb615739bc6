"""Parallel coordinates: every completed trial as a line through its parameters, coloured by its objective."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import to_hex

from analysis.drawing.columns import best_and_some, completed_with_value, numbers, varied
from analysis.drawing.figure import NothingToShowError
from analysis.drawing.style import GREY, scale, shorten
from analysis.search import Search

TITLE = "Parallel coordinates"
SENTENCE = (
    "Every completed trial is a line through its parameters to its objective on the right; dark lines are the better "
    "ones. Where dark lines meet, good trials agree."
)
MOST_AXES = 9
MOST_LINES = 400
MOST_TICKS = 20


@dataclass(frozen=True)
class Axis:
    """One coordinate: where its trials stand, from 0 to 1, and its labels."""

    column: str
    places: np.ndarray
    ticks: list[tuple[float, str]]


@dataclass(frozen=True)
class ParallelCoordinates:
    """Completed trials by their parameters and their objective."""

    axes: list[Axis]
    """The parameters, and the objective last."""
    goodness: np.ndarray
    """Of each trial: 1 for the best, 0 for the worst."""
    points: pd.DataFrame
    remark: str

    def table(self) -> pd.DataFrame:
        """Return the trials."""
        return self.points


def info(search: Search, trials: Sequence[int] | None = None) -> ParallelCoordinates:
    """Return the completed trials, best first, by the parameters that vary."""
    frame = completed_with_value(search, trials, 2)
    objective = search.objective
    frame = frame.iloc[np.argsort(objective.sign * numbers(frame, objective.column), kind="stable")]
    remark = ""
    if len(frame) > MOST_LINES:
        remark = f"{MOST_LINES} of {len(frame)} trials: the best half and a regular choice of the others"
        frame = frame.iloc[best_and_some(len(frame), MOST_LINES)]
    factors = varied(search, frame)[: MOST_AXES - 1]
    if not factors:
        raise NothingToShowError("no searched parameter varies among the completed trials")
    axes = []
    for factor in factors:
        if factor.levels is None:
            axes.append(_number_axis(factor.column, numbers(frame, factor.column), factor.is_log))
        else:
            axes.append(_choice_axis(factor.column, [str(value) for value in frame[factor.column]], factor.levels))
    values = numbers(frame, objective.column)
    axes.append(_number_axis(objective.column, values, scale(values) == "log"))
    goodness = 1 - np.arange(len(frame)) / max(len(frame) - 1, 1)
    columns = [*dict.fromkeys(["trial", *(factor.column for factor in factors), objective.column])]
    return ParallelCoordinates(axes, goodness, frame.filter(items=columns), remark)


def _number_axis(column: str, values: np.ndarray, is_log: bool) -> Axis:
    shown = np.log10(values) if is_log else values
    low, high = np.nanmin(shown), np.nanmax(shown)
    places = (shown - low) / (high - low) if high > low else np.full(len(shown), 0.5)
    ends = np.linspace(low, high, 3) if high > low else np.array([low])
    ticks = [
        (float(place), f"{10**end if is_log else end:.3g}")
        for place, end in zip(np.linspace(0, 1, len(ends)), ends, strict=True)
    ]
    return Axis(column, places, ticks)


def _choice_axis(column: str, found: Sequence[str], levels: Sequence[object]) -> Axis:
    names = [*dict.fromkeys([*map(str, levels), *sorted(found)])]
    place = {name: index / max(len(names) - 1, 1) for index, name in enumerate(names)}
    rng = np.random.default_rng(0)
    spread = 0.05 / len(names) * rng.uniform(-1, 1, len(found))  # so that equal choices are a band, not one line
    shown = names[:: -(-len(names) // MOST_TICKS)]  # of more than can be read, every so many
    return Axis(column, np.array([place[name] for name in found]) + spread, [(place[name], name) for name in shown])


def draw(data: ParallelCoordinates, axes: Any) -> None:
    """Draw the lines, the best on top."""
    lines = np.stack([axis.places for axis in data.axes], axis=1)
    colors = colormaps["cividis"](0.85 - 0.6 * data.goodness)
    for row in reversed(range(len(lines))):
        axes.plot(
            range(len(data.axes)), lines[row], color=colors[row], alpha=0.35 + 0.6 * data.goodness[row], linewidth=1
        )
    for place, axis in enumerate(data.axes):
        axes.axvline(place, color=GREY, linewidth=0.8)
        for height, label in axis.ticks:
            axes.text(
                place + (0.03 if place else -0.03),
                height,
                shorten(label, 16),
                fontsize=7.5,
                ha="left" if place else "right",
                va="center",
            )
    axes.set_xticks(range(len(data.axes)), [shorten(axis.column, 18) for axis in data.axes])
    axes.tick_params(axis="x", rotation=12)
    axes.set(xlim=(-0.45, len(data.axes) - 0.7))
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_title(data.remark)


def chart(data: ParallelCoordinates) -> dict[str, Any]:
    """Return the same for Plotly, which names a trial and its values where one points."""
    colors = [to_hex(colormaps["cividis"](0.85 - 0.6 * good)) for good in data.goodness]
    lines = np.round(np.stack([axis.places for axis in data.axes], axis=1), 4)
    columns = [axis.column for axis in data.axes]
    texts = [[f"{name} = {_said(value)}" for name, value in zip(columns, row, strict=True)]
             for row in data.points.filter(items=columns).itertuples(index=False, name=None)]  # fmt: skip
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "x": list(range(len(columns))),
            "y": [None if math.isnan(place) else place for place in lines[row].tolist()],
            "name": f"trial {data.points['trial'].iloc[row]}",
            "text": texts[row],
            "hoverinfo": "name+text",
            "line": {"color": colors[row], "width": 1.2},
            "marker": {"color": colors[row], "size": 4},
            "opacity": round(0.35 + 0.6 * float(data.goodness[row]), 3),
            "connectgaps": True,  # over what a trial has not searched
            "showlegend": False,
        }
        for row in reversed(range(len(lines)))
    ]
    labels = [
        {
            "x": place,
            "y": height,
            "text": label if len(label) <= 16 else f"{label[:15]}…",
            "showarrow": False,
            "xanchor": "left" if place else "right",
            "xshift": 5 if place else -5,
            "font": {"size": 10},
        }
        for place, axis in enumerate(data.axes)
        for height, label in axis.ticks
    ]
    ticks = {"tickvals": list(range(len(columns))), "ticktext": columns, "range": [-0.45, len(columns) - 0.4]}
    hidden = {"showticklabels": False, "range": [-0.06, 1.06], "showgrid": False, "zeroline": False}
    layout = {"xaxis": {**ticks, "zeroline": False}, "yaxis": hidden, "annotations": labels, "hovermode": "closest"}
    return {"data": traces, "layout": layout}


def _said(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
