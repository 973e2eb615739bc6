"""The data that a trial was trained, validated and tested on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.drawing.models import pictures
from analysis.drawing.style import COLORS, GREY, shorten
from analysis.search import Search

TITLE = "The data sets"
SENTENCE = (
    "The data of one trial in the x-y plane: the segments of each phase of training with a dot where each begins, and "
    "the orbits of validation and of the test sets."
)
NUM_SHOWN = 400
"""Segments or orbits of a panel that are drawn: a regular choice if there are more."""


@dataclass(frozen=True)
class DataSets:
    """Positions by set."""

    trial: int
    sets: dict[str, np.ndarray]
    """Positions (segments, samples, 3); NaN if missing."""
    remark: str

    def table(self) -> pd.DataFrame:
        """Return a row per segment or orbit: its set, its samples, where it begins, and its radii."""
        rows = []
        for name, places in self.sets.items():
            radius = np.linalg.norm(places, axis=-1)
            there = np.isfinite(radius)
            starts = {"set": name, "samples": there.sum(1), "x": places[:, 0, 0], "y": places[:, 0, 1]}
            low = np.where(there, radius, np.inf).min(1)
            rows.append(
                pd.DataFrame({**starts, "least_radius": low, "largest_radius": np.where(there, radius, 0.0).max(1)})
            )
        return pd.concat(rows, ignore_index=True)


def info(search: Search, trials: Sequence[int] | None = None) -> DataSets:
    """Return the data of the best trial whose model is kept, or of the first named one."""
    found, remark = pictures(search, trials, "data_sets", 1)
    ((number, sets),) = found.items()
    return DataSets(number, dict(sets), remark)


def panels(data: DataSets) -> tuple[int, int]:
    """Return a panel for each set, three in a row."""
    columns = min(len(data.sets), 3)
    return (math.ceil(len(data.sets) / columns), columns)


def draw(data: DataSets, axes: Any) -> None:
    """Draw the segments and orbits."""
    flat = np.atleast_1d(axes).ravel()
    reach = 1.05 * max(float(np.nanmax(np.abs(places[..., :2]))) for places in data.sets.values())
    for axis, (name, places) in zip(flat, data.sets.items(), strict=False):
        chosen = np.unique(np.linspace(0, len(places) - 1, min(NUM_SHOWN, len(places))).astype(int))
        shown = places[chosen]
        is_training = name.startswith("phase_")
        broken = np.concatenate([shown, np.full_like(shown[:, :1], np.nan)], axis=1)
        face = COLORS[0] if is_training else COLORS[2]
        axis.plot(broken[..., 0].ravel(), broken[..., 1].ravel(), color=face, linewidth=0.8, alpha=0.8, rasterized=True)
        if is_training:
            axis.plot(shown[:, 0, 0], shown[:, 0, 1], "o", color=COLORS[1], markersize=2.2, rasterized=True)
        axis.plot([0], [0], "o", color=GREY, markersize=5)
        what = "segments" if is_training else "orbits"
        axis.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xlabel="x", ylabel="y")
        title = f"training, {name.replace('_', ' ')}" if is_training else shorten(name, 34)
        axis.set_title(f"{title}\n{len(places)} {what}")
    for axis in flat[len(data.sets) :]:
        axis.set_axis_off()
    if data.remark:
        flat[0].set_title(f"{flat[0].get_title()} ({data.remark})")
