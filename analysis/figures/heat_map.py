"""A heat map of the mean objective over two factors, with a test of a monotonic trend along each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.drawing.columns import completed_with_value, numbers, two_factors
from analysis.drawing.style import scale, shorten
from analysis.mattered.levels import level_labels
from analysis.search import Factor, Search

TITLE = "Heat map of two factors"
SENTENCE = (
    "The mean objective of the completed trials for each pair of levels; below each axis, whether the objective rises "
    "or falls with an ordered factor (Kendall's rank correlation over the trials, two-sided). Of more levels than can "
    "be read, neighbouring numbers share a cell, and of other choices those with most trials are shown."
)


MOST_LEVELS = 16
"""Of one factor, that can be told apart and whose numbers can be read."""


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
    remark: str = ""
    """What became of the levels, if there were more than can be told apart."""

    @property
    def size(self) -> tuple[float, float]:
        """Inches of the figure, for its number of cells."""
        return max(7.2, 2.6 + 0.56 * len(self.columns)), max(4.4, 1.6 + 0.3 * len(self.rows))

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
    places, names, remarks = [], [], []
    for factor in (second, first):
        labels = level_labels(search, factor, frame)
        codes = np.asarray(labels.cat.codes)
        kept = np.unique(codes[codes >= 0])
        found, there = np.where(codes >= 0, np.searchsorted(kept, codes), -1), list(labels.cat.categories[kept])
        found, there, remark = _few(factor, frame, found, list(map(str, there)))
        places.append(found)
        names.append(there)
        remarks.append(remark)
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
    remark = "; ".join(filter(None, remarks[::-1]))
    return HeatMap(
        search.objective.column, first.column, second.column, names[1], names[0], means, counts, trends, remark
    )


def _few(
    factor: Factor, frame: pd.DataFrame, places: np.ndarray, names: list[str]
) -> tuple[np.ndarray, list[str], str]:
    """Return no more levels of a factor than can be told apart, each trial's place among them, and a remark.

    Of too many numbers neighbours share a level; of too many other choices those with most trials stay.
    """
    num = len(names)
    if num <= MOST_LEVELS:
        return places, names, ""
    values = numbers(frame, factor.column)
    if np.isfinite(values[places >= 0]).all():
        tried = np.unique(values[places >= 0])
        parts = np.array_split(tried, MOST_LEVELS)
        bins = np.searchsorted([part[-1] for part in parts[:-1]], values)
        joined = [f"{part[0]:.4g} to {part[-1]:.4g}" if len(part) > 1 else f"{part[0]:.4g}" for part in parts]
        return np.where(places >= 0, bins, -1), joined, f"{num} values of {factor.column} in {MOST_LEVELS} groups"
    sizes = np.bincount(places[places >= 0], minlength=num)
    kept = np.sort(np.argsort(-sizes, kind="stable")[:MOST_LEVELS])
    new = np.full(num + 1, -1)  # the last one is for -1
    new[kept] = np.arange(MOST_LEVELS)
    remark = f"the {MOST_LEVELS} of {num} levels of {factor.column} with most trials"
    return new[places], [names[place] for place in kept], remark


def trend(x: np.ndarray, values: np.ndarray, objective: str) -> str:
    """Return a sentence about whether an objective rises or falls with a number: Kendall's tau-b and its p value."""
    from scipy import stats  # only here: it takes longer to import than the figure to draw

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
    if len(data.columns) * max(map(len, data.columns)) > 80:
        axes.tick_params(axis="x", rotation=30)
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")
    axes.set_yticks(range(len(data.rows)), [shorten(name, 24) for name in data.rows])
    notes = {name: f"\n{shorten(data.trends[name], 90)}" if name in data.trends else "" for name in (data.x, data.y)}
    axes.set_xlabel(f"{shorten(data.x)}{notes[data.x]}")
    axes.set_ylabel(f"{shorten(data.y)}{notes[data.y]}")
    axes.set_title(shorten(data.remark, 120))
    axes.figure.colorbar(image, ax=axes).set_label(f"{'log10 of ' if is_log else ''}mean {shorten(data.objective)}")
