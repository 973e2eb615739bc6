"""Box plots of the field's error: per time step, per orbit, and across trials."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection, PolyCollection

from analysis.drawing.figure import NothingToShowError
from analysis.drawing.models import pictures
from analysis.drawing.style import COLORS, GREY, scale
from analysis.figures.two_body._errors import error_pct, orbit_medians
from analysis.search import Search

TITLE = "Errors of the acceleration on test orbits"
SENTENCE = (
    "Boxes of the error of the acceleration, in percent: along the orbit over all test orbits, of each test orbit "
    "sorted by its median (both of the first trial), and of whole trials. Whiskers: 5th to 95th percentile."
)
NUM_TRIALS = 8
NUM_BOXES = 24
WIDTH = 0.6
"""Boxes along the orbit, and orbits that get one: a regular choice if there are more."""
MARKS = (5, 25, 50, 75, 95)


@dataclass(frozen=True)
class ErrorBoxes:
    """Percentiles of errors."""

    trial: int
    boxes: pd.DataFrame
    """kind ("time", "orbit" or "trial"), place (share of the orbit in percent, orbit, trial), and the percentiles."""
    remark: str
    size: tuple[float, float] = (7.2, 9.0)

    def table(self) -> pd.DataFrame:
        """Return the percentiles."""
        return self.boxes


def info(search: Search, trials: Sequence[int] | None = None) -> ErrorBoxes:
    """Return the percentiles of the errors of trials whose models are kept."""
    found, remark = pictures(search, trials, "orbits", NUM_TRIALS)
    return boxes({number: error_pct(one) for number, one in found.items()}, remark)


def boxes(errors: dict[int, np.ndarray], remark: str = "") -> ErrorBoxes:
    """Return the percentiles of errors, by trial an array of orbits and samples."""
    first = next(iter(errors))
    if not any(np.isfinite(values).any() for values in errors.values()):
        raise NothingToShowError("no error is finite")
    own, rows = errors[first], []
    for place, part in zip(
        np.linspace(0, 100, NUM_BOXES, endpoint=False), np.array_split(own, NUM_BOXES, 1), strict=True
    ):
        rows.append(("time", place + 50 / NUM_BOXES, part))
    order = np.argsort(orbit_medians(own))
    for place in np.unique(np.linspace(0, len(order) - 1, min(NUM_BOXES, len(order))).astype(int)):
        rows.append(("orbit", int(order[place]), own[order[place]]))
    rows += [("trial", number, values) for number, values in errors.items()]
    table = [
        {"kind": kind, "place": place, **_percentiles(values)}
        for kind, place, values in rows
        if np.isfinite(values).any()
    ]
    return ErrorBoxes(first, pd.DataFrame(table), remark)


def _percentiles(values: np.ndarray) -> dict[str, float]:
    return dict(zip((f"p{mark}" for mark in MARKS), np.percentile(values[np.isfinite(values)], MARKS), strict=True))


def panels(data: ErrorBoxes) -> tuple[int, int]:
    """Return a panel for each kind."""
    return (3, 1)


def draw(data: ErrorBoxes, axes: Any) -> None:
    """Draw the boxes."""
    labels = {
        "time": "share of the orbit (%)",
        "orbit": "test orbit, by its median",
        "trial": "trial, best first",
    }
    for axis, (kind, label) in zip(axes, labels.items(), strict=True):
        part = data.boxes.loc[data.boxes["kind"] == kind]
        _boxes(axis, part)
        names = [f"{place:.0f}" for place in part["place"]]
        every = 1 if len(names) <= 12 else 3
        axis.set_xticks(range(1, len(names) + 1)[::every], names[::every])
        axis.set(xlabel=label, ylabel="error (%)", yscale=scale([*part["p5"], *part["p95"]]))
        axis.grid(axis="x", visible=False)
        axis.set_title("" if kind == "trial" else f"trial {data.trial}")
    if data.remark:
        axes[2].set_title(data.remark)


def _boxes(axis: Any, part: pd.DataFrame) -> None:
    """Draw what `Axes.bxp` draws, which makes a line of each of a box's seven: drawing them takes ten times as long."""
    low, first, middle, third, high = (part[f"p{mark}"].to_numpy() for mark in MARKS)
    at = np.arange(1.0, len(part) + 1)
    whiskers = [_lines(at, at, low, first), _lines(at, at, third, high)]
    caps = [_lines(at - WIDTH / 4, at + WIDTH / 4, ends, ends) for ends in (low, high)]
    left, right = at - WIDTH / 2, at + WIDTH / 2
    corners = [(left, first), (right, first), (right, third), (left, third)]
    boxes = np.stack([np.stack(corner, axis=-1) for corner in corners], axis=1)
    axis.add_collection(LineCollection([*np.concatenate(whiskers + caps)], colors=GREY, linewidths=1.0, zorder=2))
    axis.add_collection(
        PolyCollection([*boxes], facecolors=COLORS[0], edgecolors=GREY, alpha=0.55, linewidths=1.0, zorder=2)
    )
    axis.add_collection(
        LineCollection([*_lines(left, right, middle, middle)], colors=COLORS[1], linewidths=2, zorder=2.1)
    )
    axis.set_xlim(0.5, len(part) + 0.5)


def _lines(x0: np.ndarray, x1: np.ndarray, y0: np.ndarray, y1: np.ndarray) -> np.ndarray:
    """Return lines as a collection has them: axes line, end, coordinate."""
    return np.stack([np.stack([x0, y0], axis=-1), np.stack([x1, y1], axis=-1)], axis=1)
