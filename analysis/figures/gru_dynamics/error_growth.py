"""How the error of a free run grows from step to step, the model's and the baselines'."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.drawing.models import pictures
from analysis.drawing.style import COLORS, GREY, scale
from analysis.search import Search

TITLE = "Growth of the error along free runs"
SENTENCE = (
    "The mean square error at each step of free runs from test trajectories, in which every predicted state is the "
    "next one's input: of one model, and of what a sceptic would try first. The dotted line is the horizon that "
    "trials are scored over."
)
SCORED = 9
STYLES = {
    "model": {"color": COLORS[0], "linewidth": 2.2},
    "linear": {"color": COLORS[1], "linestyle": "--"},
    "constant_velocity": {"color": GREY, "linestyle": "--"},
    # Broad and pale, beneath: it is often as wrong as constant velocity, whose line would hide it.
    "persistence": {"color": GREY, "linewidth": 5, "alpha": 0.35, "zorder": 1},
}


@dataclass(frozen=True)
class Growth:
    """Errors by step."""

    trial: int
    errors: pd.DataFrame
    """test_set, what (model or a baseline), step (from 1), time and mse."""
    remark: str

    def table(self) -> pd.DataFrame:
        """Return the errors."""
        return self.errors


def info(search: Search, trials: Sequence[int] | None = None) -> Growth:
    """Return the errors of the best kept model, or of the first named one."""
    found, remark = pictures(search, trials, "error_growth", 1)
    ((number, arrays),) = found.items()
    return growth(number, arrays, remark)


def growth(number: int, arrays: Mapping[str, np.ndarray], remark: str = "") -> Growth:
    """Return the errors that the method's picture holds, a row for each step."""
    rows = [
        (str(one), what, step, step * float(arrays["dt"]), float(mse))
        for index, one in enumerate(arrays["sets"])
        for what in STYLES
        for step, mse in enumerate(arrays[what][index], 1)
    ]
    return Growth(number, pd.DataFrame(rows, columns=["test_set", "what", "step", "time", "mse"]), remark)


def panels(data: Growth) -> tuple[int, int]:
    """Return a panel for each test set."""
    return 1, len(set(data.errors["test_set"]))


def draw(data: Growth, axes: Any) -> None:
    """Draw a line for each of model and baselines."""
    flat = np.atleast_1d(axes).ravel()
    for axis, (name, part) in zip(flat, data.errors.groupby("test_set", sort=False), strict=True):
        for what, style in STYLES.items():
            line = part.loc[part["what"] == what]
            label = f"GRU (trial {data.trial})" if what == "model" else what.replace("_", " ")
            axis.plot(line["step"], line["mse"], label=label, **style)
        axis.axvline(SCORED, color=GREY, linestyle=":", linewidth=0.8)
        axis.set(xlabel="step", ylabel="mean square error", yscale=scale(part["mse"]))
        axis.set_title(f"{name} ({data.remark})" if data.remark else str(name))
    flat[0].legend()
