"""A heat map of the mean objective over two factors, with a test of a monotonic trend along each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.drawing.columns import completed_with_value, numbers, two_factors
from analysis.drawing.style import scale, shorten
from analysis.mattered.levels import level_labels
from analysis.search import Search

TITLE = "Heat map of two factors"
SENTENCE = (
    "The mean objective of the completed trials for each pair of levels; below each axis, whether the objective rises "
    "or falls with an ordered factor (Kendall's rank correlation over the trials, two-sided)."
)


@dataclass(frozen=True)
class HeatMap:
    """Means by two factors' levels, and the trends along ordered ones."""

    objective: str
    x: str
    y: str
    columns: list[str]
    rows: list[str]
    means: np.ndarray
    counts: np.ndarray
    trends: dict[str, str]
    """By factor, a sentence about its trend; not for factors without an order."""

    def table(self) -> pd.DataFrame:
        """Return a row per cell with trials."""
        return pd.DataFrame(
            [
                {self.y: self.rows[row], self.x: self.columns[column], "mean": self.means[row, column], "trials": num}
                for (row, column), num in np.ndenumerate(self.counts)
                if num
            ]
        )


def info(search: Search, trials: Sequence[int] | None = None, x: str = "", y: str = "") -> HeatMap:
    """Return the means by two factors, by default the first two that vary."""
    frame = completed_with_value(search, trials, 2)
    first, second = two_factors(search, frame, x, y)
    values = numbers(frame, search.objective.column)
    places, names = [], []
    for factor in (second, first):
        labels = level_labels(search, factor, frame)
        codes = np.asarray(labels.cat.codes)
        kept = np.unique(codes[codes >= 0])
        places.append(np.where(codes >= 0, np.searchsorted(kept, codes), -1))
        names.append([str(labels.cat.categories[place]) for place in kept])
    known = (places[0] >= 0) & (places[1] >= 0)
    shape = (len(names[0]), len(names[1]))
    flat = places[0][known] * shape[1] + places[1][known]
    counts = np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape)
    sums = np.bincount(flat, values[known], shape[0] * shape[1]).reshape(shape)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    trends = {}
    for factor in (first, second):
        ordered = numbers(frame, factor.column)
        if np.isfinite(ordered).all() and len(np.unique(ordered)) > 2:
            trends[factor.column] = trend(ordered, values, search.objective.column)
    return HeatMap(search.objective.column, first.column, second.column, names[1], names[0], means, counts, trends)


def trend(x: np.ndarray, values: np.ndarray, objective: str) -> str:
    """Return a sentence about whether an objective rises or falls with a number: Kendall's tau-b and its p value."""
    found: Any = stats.kendalltau(x, values)
    tau, p = float(found.statistic), float(found.pvalue)
    if not np.isfinite(tau) or p >= 0.05:
        return f"no monotonic trend is supported (tau {tau:.2f}, p {p:.2g}, {len(x)} trials)"
    return f"{objective} {'rises' if tau > 0 else 'falls'} with it (tau {tau:.2f}, p {p:.2g}, {len(x)} trials)"


def draw(data: HeatMap, axes: Any) -> None:
    """Draw the cells with their means."""
    is_log = scale(data.means[np.isfinite(data.means)]) == "log"
    shown = np.log10(data.means) if is_log else data.means
    image = axes.imshow(shown, aspect="auto")
    low, high = np.nanmin(shown), np.nanmax(shown)
    for place in np.argwhere(data.counts > 0):
        share = (shown[tuple(place)] - low) / (high - low) if high > low else 0.0
        axes.text(
            place[1],
            place[0],
            f"{data.means[tuple(place)]:.3g}",
            ha="center",
            va="center",
            fontsize=8,
            color="black" if share > 0.5 else "white",
        )
    axes.grid(visible=False)
    axes.set_xticks(range(len(data.columns)), [shorten(name, 20) for name in data.columns])
    axes.set_yticks(range(len(data.rows)), [shorten(name, 24) for name in data.rows])
    notes = {name: f"\n{shorten(data.trends[name], 90)}" if name in data.trends else "" for name in (data.x, data.y)}
    axes.set_xlabel(f"{shorten(data.x)}{notes[data.x]}")
    axes.set_ylabel(f"{shorten(data.y)}{notes[data.y]}")
    axes.figure.colorbar(image, ax=axes).set_label(f"{'log10 of ' if is_log else ''}mean {shorten(data.objective)}")
