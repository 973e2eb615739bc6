"""The error of the learned field over the test orbits."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm

from analysis.drawing.models import pictures
from analysis.drawing.style import GREY
from analysis.figures.two_body._errors import error_pct
from analysis.search import Search

TITLE = "Residual field over the test orbits"
SENTENCE = (
    "Test orbits in the x-y plane, coloured by the error of the acceleration in percent; arrows show the direction of "
    "the residual a - exact, and the grey disc the central body's place. A panel for each trial."
)
NUM_TRIALS = 4
EVERY = 6
"""Of the samples of an orbit, each sixth is shown."""
NUM_ARROWS = 160


@dataclass(frozen=True)
class ResidualField:
    """Residuals by place."""

    points: pd.DataFrame
    """trial, orbit, x, y, residual_x, residual_y, error_pct."""
    remark: str

    def table(self) -> pd.DataFrame:
        """Return the residuals."""
        return self.points


def info(search: Search, trials: Sequence[int] | None = None) -> ResidualField:
    """Return the residuals of trials whose models are kept."""
    found, remark = pictures(search, trials, "orbits", NUM_TRIALS)
    return residuals(found, remark)


def residuals(found: Mapping[int, Mapping[str, np.ndarray]], remark: str = "") -> ResidualField:
    """Return residuals from fields over orbits."""
    parts = []
    for number, one in found.items():
        residual, places = (one["a"] - one["exact"])[:, ::EVERY], one["y"][:, ::EVERY]
        parts.append(
            pd.DataFrame(
                {
                    "trial": number,
                    "orbit": np.repeat(np.arange(len(places)), places.shape[1]),
                    "x": places[..., 0].ravel(),
                    "y": places[..., 1].ravel(),
                    "residual_x": residual[..., 0].ravel(),
                    "residual_y": residual[..., 1].ravel(),
                    "error_pct": error_pct(one)[:, ::EVERY].ravel(),
                }
            )
        )
    return ResidualField(pd.concat(parts, ignore_index=True), remark)


def panels(data: ResidualField) -> tuple[int, int]:
    """Return a panel for each trial, two in a row."""
    num = len({*data.points["trial"]})
    return (1, 1) if num == 1 else (math.ceil(num / 2), 2)


def draw(data: ResidualField, axes: Any) -> None:
    """Draw the orbits and the residuals' directions."""
    error = data.points["error_pct"].to_numpy()
    usable = error[np.isfinite(error) & (error > 0)]
    low, high = np.percentile(usable, [2, 98]) if len(usable) else (1e-3, 1.0)
    norm = LogNorm(max(low, 1e-6), max(high, 1.01 * max(low, 1e-6)))
    flat = np.atleast_1d(axes).ravel()
    parts = list(data.points.groupby("trial", sort=False))
    drawn = None
    for axis, (number, part) in zip(flat, parts, strict=False):
        shown = part["error_pct"].clip(lower=norm.vmin)
        drawn = axis.scatter(part["x"], part["y"], c=shown, norm=norm, s=4, linewidths=0, rasterized=True)
        some = part.iloc[:: max(len(part) // NUM_ARROWS, 1)]
        length = np.hypot(some["residual_x"], some["residual_y"]).replace(0.0, 1.0)
        arrows = some["residual_x"] / length, some["residual_y"] / length
        axis.quiver(some["x"], some["y"], *arrows, color=GREY, scale=34, width=0.003, alpha=0.8)
        axis.plot([0], [0], "o", color=GREY, markersize=7)
        axis.set(aspect="equal", xlabel="x", ylabel="y", title=f"trial {number}")
        axis.grid(visible=False)
    for axis in flat[len(parts) :]:
        axis.set_axis_off()
    if drawn is not None:
        flat[0].figure.colorbar(
            drawn, ax=list(flat[: len(parts)]), label="error of the acceleration (%)", extend="both"
        )
    if data.remark:
        flat[0].set_title(f"{flat[0].get_title()}  ({data.remark})")
