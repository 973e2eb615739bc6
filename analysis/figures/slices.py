"""The objective against every searched parameter."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.drawing.columns import completed_with_value, numbers, varied
from analysis.drawing.figure import NothingToShowError
from analysis.drawing.style import COLORS, GREY, scale, shorten
from analysis.search import Search

TITLE = "Objective against each parameter"
SENTENCE = (
    "One panel per searched parameter with every completed trial as a point. The others vary at the same time, so a "
    "cloud without a slope may still hide an effect: see what mattered."
)
MOST = 12
COLUMNS = 3


@dataclass(frozen=True)
class Slices:
    """Completed trials by their parameters."""

    objective: str
    columns: list[str]
    levels: dict[str, list[str] | None]
    """By column: the texts of its choices in order; None for a range of numbers."""
    logarithmic: list[str]
    points: pd.DataFrame

    def table(self) -> pd.DataFrame:
        """Return the trials."""
        return self.points


def info(search: Search, trials: Sequence[int] | None = None) -> Slices:
    """Return the completed trials with the parameters that vary among them, at most twelve."""
    frame = completed_with_value(search, trials)
    factors = varied(search, frame)[:MOST]
    if not factors:
        raise NothingToShowError("no searched parameter varies among the completed trials")
    columns = [factor.column for factor in factors]
    levels: dict[str, list[str] | None] = {}
    for factor in factors:
        given = None if factor.levels is None else [str(level) for level in factor.levels]
        if given is not None:
            given += sorted({str(value) for value in frame[factor.column].dropna()} - {*given})
        levels[factor.column] = given
    logarithmic = [factor.column for factor in factors if factor.is_log]
    objective = search.objective.column
    points = frame.filter(items=list(dict.fromkeys(["trial", *columns, objective])))
    return Slices(objective, columns, levels, logarithmic, points)


def panels(data: Slices) -> tuple[int, int]:
    """Return a panel per parameter."""
    count = len(data.columns)
    return math.ceil(count / COLUMNS), min(count, COLUMNS)


def draw(data: Slices, axes: Any) -> None:
    """Draw a panel per parameter."""
    flat = np.ravel(np.asarray(axes, dtype=object))
    values = numbers(data.points, data.objective)
    for place, one in enumerate(flat):
        if place >= len(data.columns):
            one.set_axis_off()
            continue
        column = data.columns[place]
        levels = data.levels[column]
        if levels is None:
            one.plot(numbers(data.points, column), values, "o", color=COLORS[0], alpha=0.6)
            one.set_xscale("log" if column in data.logarithmic else "linear")
        else:
            _strips(one, [str(value) for value in data.points[column]], levels, values)
        one.set(xlabel=shorten(column), yscale=scale(values))
        if place % COLUMNS == 0:
            one.set_ylabel(shorten(data.objective))


def _strips(axes: Any, found: Sequence[str], levels: Sequence[str], values: np.ndarray) -> None:
    for place, level in enumerate(levels):
        here = values[[name == level for name in found]]
        spread = 0.24 * np.sin(2.4 * np.arange(len(here)))  # beside each other, and the same in every drawing
        axes.plot(place + spread, here, "o", color=COLORS[0], alpha=0.6)
        if len(here):
            axes.plot([place - 0.32, place + 0.32], [np.median(here)] * 2, color=GREY, linewidth=2)
    axes.set_xticks(range(len(levels)), [shorten(level, 20) for level in levels])
    if max(map(len, levels), default=0) * len(levels) > 30:
        axes.tick_params(axis="x", rotation=20)
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")


def chart(data: Slices) -> dict[str, Any]:
    """Return the same for Plotly: one parameter at a time, chosen from a list."""
    values = [value if math.isfinite(value) else None for value in numbers(data.points, data.objective).tolist()]
    axes = {column: _axis(data, column) for column in data.columns}
    along = {column: _along(data, column) for column in data.columns}
    first = data.columns[0]
    buttons = [
        {
            "label": shorten(column),
            "method": "update",
            "args": [{"x": [along[column]]}, {f"xaxis.{key}": value for key, value in axes[column].items()}],
        }
        for column in data.columns
    ]
    menus = [{"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"}]
    return {
        "data": [
            {
                "type": "scatter",
                "mode": "markers",
                "x": along[first],
                "y": values,
                "text": [f"trial {number}" for number in data.points["trial"]],
                "marker": {"color": COLORS[0], "opacity": 0.8, "size": 7},
            }
        ],
        "layout": {
            "xaxis": axes[first],
            "yaxis": {"title": {"text": data.objective}, "type": scale(numbers(data.points, data.objective))},
            "margin": {"l": 60, "r": 15, "t": 50, "b": 50},
            **({"updatemenus": menus} if len(data.columns) > 1 else {}),
        },
    }


def _axis(data: Slices, column: str) -> dict[str, Any]:
    levels = data.levels[column]
    if levels is None:
        kind = "log" if column in data.logarithmic else "linear"
        return {
            "title": {"text": column},
            "type": kind,
            "categoryorder": "trace",
            "categoryarray": [],
            "autorange": True,
        }
    return {
        "title": {"text": column},
        "type": "category",
        "categoryorder": "array",
        "categoryarray": levels,
        "autorange": True,
    }


def _along(data: Slices, column: str) -> list[Any]:
    if data.levels[column] is not None:
        return [str(value) for value in data.points[column]]
    return [value if math.isfinite(value) else None for value in numbers(data.points, column).tolist()]
