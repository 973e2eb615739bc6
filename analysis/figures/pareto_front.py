"""The Pareto front of a search with several objectives."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from analysis.drawing.columns import chosen, numbers
from analysis.drawing.figure import NothingToShowError
from analysis.drawing.style import COLORS, GREY, scale, shorten
from analysis.search import Search

TITLE = "Pareto front"
SENTENCE = (
    "Completed trials by pairs of the objectives; those in colour are on the front: no other trial is better by one "
    "objective without being worse by another. Those that break a constraint are crosses and never on it."
)


@dataclass(frozen=True)
class ParetoFront:
    """Completed trials by their objectives."""

    objectives: list[str]
    points: pd.DataFrame
    """trial, the objectives, is_feasible, is_on_front."""

    def table(self) -> pd.DataFrame:
        """Return the points."""
        return self.points


def info(search: Search, trials: Sequence[int] | None = None) -> ParetoFront:
    """Return the completed trials of a search with several objectives, and which are on the front."""
    if not search.is_multi_objective:
        raise NothingToShowError("it has one objective")
    frame = chosen(search, trials)
    frame = frame.loc[frame["outcome"] == "completed"]
    names = [one.column for one in search.objectives]
    values = np.column_stack([numbers(frame, name) for name in names]) if len(frame) else np.empty((0, len(names)))
    known = np.isfinite(values).all(axis=1)
    if not known.any():
        raise NothingToShowError("no trial has completed with all objectives")
    frame, values = frame.loc[known], values[known]
    feasible = np.asarray(frame["feasible"], dtype=bool) if "feasible" in frame.columns else np.ones(len(frame), bool)
    front = on_front(values * [one.sign for one in search.objectives], feasible)
    points = {"trial": frame["trial"].to_numpy(), **{name: values[:, place] for place, name in enumerate(names)}}
    return ParetoFront(names, pd.DataFrame({**points, "is_feasible": feasible, "is_on_front": front}))


def on_front(costs: np.ndarray, feasible: np.ndarray) -> np.ndarray:
    """Return which rows of costs, small is good, no other feasible row dominates; infeasible ones never count."""
    front = feasible.copy()
    for row in np.flatnonzero(feasible):
        better = (costs <= costs[row]).all(axis=1) & (costs < costs[row]).any(axis=1) & feasible
        front[row] = not better.any()
    return front


def panels(data: ParetoFront) -> tuple[int, int]:
    """Return a panel per pair of objectives."""
    return 1, len(list(combinations(data.objectives, 2)))


def draw(data: ParetoFront, axes: Any) -> None:
    """Draw the pairs."""
    points = data.points
    flat = np.ravel(np.asarray(axes, dtype=object))
    for (first, second), one in zip(combinations(data.objectives, 2), flat, strict=True):
        others = points.loc[~points["is_on_front"] & points["is_feasible"]]
        outside = points.loc[~points["is_feasible"]]
        front = points.loc[points["is_on_front"]].sort_values(by=first)
        one.plot(others[first], others[second], "o", color=GREY, alpha=0.5, label="completed trial")
        one.plot(
            outside[first],
            outside[second],
            "x",
            color=GREY,
            alpha=0.7,
            label="breaks a constraint" if len(outside) else None,
        )
        one.plot(front[first], front[second], "o-", color=COLORS[1], label="on the front")
        one.set(
            xlabel=shorten(first), ylabel=shorten(second), xscale=scale(points[first]), yscale=scale(points[second])
        )
    flat[0].legend()
