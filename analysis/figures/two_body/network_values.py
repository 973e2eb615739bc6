"""What the network sees and gives along a test orbit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.drawing.figure import NothingToShowError
from analysis.drawing.models import pictures
from analysis.drawing.style import GREY, color
from analysis.figures.two_body._errors import middle_orbit
from analysis.search import Search

TITLE = "Network inputs and outputs along an orbit"
SENTENCE = (
    "The features that the network sees and the outputs that it gives, against time, along the test orbit with the "
    "median error (or one that is named) of one trial. Rings mark where an output changes its sign: for a magnitude, "
    "where the force would turn over."
)


@dataclass(frozen=True)
class NetworkValues:
    """The values along one orbit."""

    trial: int
    orbit: int
    values: pd.DataFrame
    """t, and a column per input and output."""
    flips: pd.DataFrame
    """output, t: where its sign changes, interpolated."""
    remark: str
    size: tuple[float, float] = (7.6, 7.2)

    def table(self) -> pd.DataFrame:
        """Return the values."""
        return self.values


def info(search: Search, trials: Sequence[int] | None = None, orbit: int | None = None) -> NetworkValues:
    """Return what the network of the best trial, or of the first named one, sees and gives."""
    found, remark = pictures(search, trials, "orbits", 1)
    ((number, one),) = found.items()
    if orbit is not None and not 0 <= orbit < len(one["y"]):
        raise NothingToShowError(f"there is no orbit {orbit}: it shows test orbits 0 to {len(one['y']) - 1}")
    return network_values(number, one, middle_orbit(one) if orbit is None else orbit, remark)


def network_values(number: int, one: Mapping[str, np.ndarray], orbit: int, remark: str = "") -> NetworkValues:
    """Return the values along an orbit, and where outputs change their sign."""
    t = one["t"][orbit]
    columns = {"t": t}
    for kind in ("input", "output"):
        values = one[f"{kind}s"][orbit]
        columns |= {f"{kind}_{place + 1}": values[:, place] for place in range(values.shape[1])}
    outputs = [name for name in columns if name.startswith("output_")]
    flips = [{"output": name, "t": time} for name in outputs for time in sign_changes(t, columns[name])]
    return NetworkValues(number, orbit, pd.DataFrame(columns), pd.DataFrame(flips, columns=["output", "t"]), remark)


def sign_changes(t: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the times at which a series changes its sign, on the straight lines between its samples.

    A zero between two signs counts once; one between equal signs does not.
    """
    there = values != 0
    t, values = t[there], values[there]
    places = np.flatnonzero(np.sign(values[1:]) != np.sign(values[:-1]))
    left, right = values[places], values[places + 1]
    return t[places] + (t[places + 1] - t[places]) * left / (left - right)


def panels(data: NetworkValues) -> tuple[int, int]:
    """Return a panel for the inputs and one for the outputs."""
    return (2, 1)


def draw(data: NetworkValues, axes: Any) -> None:
    """Draw the inputs and outputs against time."""
    for axis, kind in zip(axes, ("input", "output"), strict=True):
        names = [name for name in data.values.columns if name.startswith(f"{kind}_")]
        for place, name in enumerate(names):
            style = ("-", "--", ":")[place // 8 % 3]
            axis.plot(data.values["t"], data.values[name], style, color=color(place), label=name.replace("_", " "))
            own = data.flips.loc[data.flips["output"] == name]
            axis.plot(own["t"], np.zeros(len(own)), "o", color=color(place), fillstyle="none", markersize=9, mew=1.8)
        axis.axhline(0, color=GREY, linewidth=0.8)
        axis.set(xlabel="time", ylabel=f"network {kind}s")
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    if len(data.flips):
        axes[1].set_title(f"{len(data.flips)} sign changes")
    axes[0].set_title(f"trial {data.trial}, test orbit {data.orbit}" + (f" ({data.remark})" if data.remark else ""))
