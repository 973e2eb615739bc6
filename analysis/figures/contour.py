"""The objective over two numeric parameters, as a filled contour."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.drawing.columns import completed_with_value, numbers, two_factors
from analysis.drawing.figure import NothingToShowError
from analysis.drawing.style import GREY, scale, shorten
from analysis.search import Search

TITLE = "Objective over two parameters"
SENTENCE = (
    "Completed trials as points over two searched numbers; the colour between them is linear interpolation, and says "
    "nothing where there are no points. All other parameters vary too."
)
LEAST = 5


@dataclass(frozen=True)
class Contour:
    """Completed trials by two numbers."""

    x: str
    y: str
    objective: str
    x_log: bool
    y_log: bool
    points: pd.DataFrame
    """trial, x, y, value; trials at the same place are one point with their mean."""

    def table(self) -> pd.DataFrame:
        """Return the points."""
        return self.points


def info(search: Search, trials: Sequence[int] | None = None, x: str = "", y: str = "") -> Contour:
    """Return completed trials by two parameters; by default the first two ranges of numbers."""
    frame = completed_with_value(search, trials, LEAST)
    first, second = two_factors(search, frame, x, y, are_numbers=True)
    x_values, y_values = numbers(frame, first.column), numbers(frame, second.column)
    known = np.isfinite(x_values) & np.isfinite(y_values)
    places, group = np.unique(np.column_stack([x_values, y_values])[known], axis=0, return_inverse=True)
    sums = np.bincount(group, numbers(frame, search.objective.column)[known], len(places))
    points = pd.DataFrame(
        {"x": places[:, 0], "y": places[:, 1], "value": sums / np.bincount(group, minlength=len(places))}
    )
    if len(points) < LEAST or _on_a_line(places[:, 0], places[:, 1], first.is_log, second.is_log):
        raise NothingToShowError(f"fewer than {LEAST} completed trials at places that are not on one line")
    return Contour(first.column, second.column, search.objective.column, first.is_log, second.is_log, points)


def _on_a_line(x: np.ndarray, y: np.ndarray, x_log: bool, y_log: bool) -> bool:
    shown = np.column_stack([_position(x, x_log), _position(y, y_log)])
    spread = np.ptp(shown, axis=0)
    return bool((spread == 0).any() or np.linalg.matrix_rank((shown - shown.mean(axis=0)) / spread, tol=1e-6) < 2)


def _position(values: Any, is_log: bool) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    return np.log10(array) if is_log else array


def draw(data: Contour, axes: Any) -> None:
    """Draw the interpolated objective, and the trials."""
    x, y = _position(data.points["x"], data.x_log), _position(data.points["y"], data.y_log)
    value = data.points["value"].to_numpy()
    is_log = scale(value) == "log"
    level = np.log10(value) if is_log else value
    filled = axes.tricontourf(x, y, level, levels=12, alpha=0.85)
    axes.plot(x, y, "o", color=GREY, markeredgecolor="white", markersize=5)
    bar = axes.figure.colorbar(filled, ax=axes)
    bar.set_label(f"log10 of {shorten(data.objective)}" if is_log else shorten(data.objective))
    for name, log, label in (("x", data.x_log, data.x), ("y", data.y_log, data.y)):
        axes.set(**{f"{name}label": f"log10 of {shorten(label)}" if log else shorten(label)})
