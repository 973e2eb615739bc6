"""Four factors in one picture: two as the cells' rows and columns, two as panels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from analysis.drawing.columns import completed_with_value, numbers, varied
from analysis.drawing.figure import NothingToShowError
from analysis.drawing.style import scale, shorten
from analysis.mattered.levels import level_labels
from analysis.search import Factor, Search

TITLE = "Four factors at once"
SENTENCE = (
    "A cell is a combination of two factors, a panel one of two more; its colour and number are the best, the mean or "
    "the spread of the objective over the completed trials there. An empty cell has none."
)
MOST_CELLS = 12
MOST_PANELS = 5


@dataclass(frozen=True)
class FourFactors:
    """Cells by rows, columns, and rows and columns of panels."""

    objective: str
    cell: str
    names: list[str]
    """The factors: columns of cells, rows of cells, columns of panels, rows of panels; one that is absent is empty."""
    levels: list[list[str]]
    values: np.ndarray
    """By panel row, panel column, cell row, cell column; NaN if no trial is there."""
    counts: np.ndarray

    @property
    def size(self) -> tuple[float, float]:
        """Inches of the figure, for its number of cells."""
        columns, rows, panel_columns, panel_rows = (len(one) for one in self.levels)
        return 2.6 + max(0.62 * columns, 1.8) * panel_columns, 1.5 + max(0.42 * rows, 1.0) * panel_rows

    def table(self) -> pd.DataFrame:
        """Return a row per cell with trials."""
        rows = []
        for place in np.argwhere(self.counts > 0):
            where = dict(
                zip(self.names[::-1], (self.levels[3 - axis][index] for axis, index in enumerate(place)), strict=True)
            )
            where.pop("", None)
            rows.append({**where, self.cell: self.values[tuple(place)], "trials": int(self.counts[tuple(place)])})
        return pd.DataFrame(rows)


def info(
    search: Search,
    trials: Sequence[int] | None = None,
    cell: Literal["best", "mean", "spread"] = "best",
    factors: str = "",
) -> FourFactors:
    """Return the cells; `factors` names up to four, separated by commas: cells' columns and rows, panels' likewise.

    Without names the factors with the most levels become the cells, as long as they can be told apart.
    """
    frame = completed_with_value(search, trials, 2)
    used = [search.factor(name.strip()) for name in factors.split(",")] if factors else _automatic(search, frame)
    if len(used) < 2:
        raise NothingToShowError("it needs two factors that vary among the completed trials")
    values = numbers(frame, search.objective.column)
    labels = [level_labels(search, factor, frame) for factor in used[:4]]
    codes = [np.asarray(label.cat.codes) for label in labels]
    kept = [np.unique(code[code >= 0]) for code in codes]
    names = [[str(label.cat.categories[place]) for place in places] for label, places in zip(labels, kept, strict=True)]
    while len(names) < 4:
        names.append([""])
        codes.append(np.zeros(len(frame), int))
        kept.append(np.zeros(1, int))
    shape = tuple(len(one) for one in names[::-1])
    cells, counts = np.full(shape, np.nan), np.zeros(shape, int)
    for place in np.ndindex(shape):
        here = np.all([codes[axis] == kept[axis][place[3 - axis]] for axis in range(4)], axis=0)
        found = values[here]
        counts[place] = len(found)
        if len(found):
            cells[place] = _summary(found, cell, search.objective.sign)
    if cell == "spread" and np.isnan(cells).all():
        raise NothingToShowError("no cell has two trials, so none has a spread")
    columns = [factor.column for factor in used[:4]] + [""] * (4 - len(used[:4]))
    return FourFactors(search.objective.column, cell, columns, names, cells, counts)


def _summary(values: np.ndarray, cell: str, sign: int) -> float:
    if cell == "best":
        return float(sign * np.min(sign * values))
    if cell == "mean":
        return float(np.mean(values))
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def _automatic(search: Search, frame: pd.DataFrame) -> list[Factor]:
    found = []
    for factor in varied(search, frame):
        codes = np.asarray(level_labels(search, factor, frame).cat.codes)
        found.append((len(np.unique(codes[codes >= 0])), factor))
    fitting = [one for one in found if 2 <= one[0] <= MOST_CELLS]
    fitting.sort(key=lambda one: -one[0])
    cells, panels_of = fitting[:2], [one for one in fitting[2:] if one[0] <= MOST_PANELS][:2]
    return [factor for _, factor in cells + panels_of]


def panels(data: FourFactors) -> tuple[int, int]:
    """Return the panels of the third and fourth factor."""
    return len(data.levels[3]), len(data.levels[2])


def draw(data: FourFactors, axes: Any) -> None:
    """Draw the cells with their numbers."""
    shown = np.log10(data.values) if scale(data.values[np.isfinite(data.values)]) == "log" else data.values
    low, high = np.nanmin(shown), np.nanmax(shown)
    grid = np.array(axes, dtype=object).reshape(len(data.levels[3]), len(data.levels[2]))
    for (row, column), one in np.ndenumerate(grid):
        one.imshow(shown[row, column], vmin=low, vmax=high, aspect="auto")
        for place in np.argwhere(np.isfinite(data.values[row, column])):
            share = (shown[row, column][tuple(place)] - low) / (high - low) if high > low else 0.0
            text = f"{data.values[row, column][tuple(place)]:.3g}"
            one.text(
                place[1],
                place[0],
                text,
                ha="center",
                va="center",
                fontsize=7.5,
                color="black" if share > 0.5 else "white",
            )
        one.grid(visible=False)
        is_last, is_first = row == len(grid) - 1, column == 0
        one.set_xticks(range(len(data.levels[0])), [shorten(name, 14) for name in data.levels[0]] if is_last else [])
        one.set_yticks(range(len(data.levels[1])), [shorten(name, 22) for name in data.levels[1]] if is_first else [])
        if is_last:
            one.tick_params(axis="x", rotation=30)
            one.set_xlabel(shorten(data.names[0]))
        if is_first:
            one.set_ylabel(shorten(data.names[1]))
        where = [f"{shorten(data.names[2])} = {shorten(data.levels[2][column], 16)}" if data.names[2] else ""]
        where += [f"{shorten(data.names[3])} = {shorten(data.levels[3][row], 16)}" if data.names[3] else ""]
        one.set_title("\n".join(filter(None, where)), fontsize=8)
    label = f"{'log10 of ' if shown is not data.values else ''}{data.cell} {shorten(data.objective)}"
    grid[0, 0].figure.colorbar(grid[0, 0].images[0], ax=list(grid.flat)).set_label(label)
