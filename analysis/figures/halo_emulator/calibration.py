"""How often predicted intervals cover the truth, of the best emulator and of the baselines."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import erf

from analysis.drawing.models import pictures
from analysis.drawing.style import COLORS, GREY
from analysis.search import Search

TITLE = "Calibration"
SENTENCE = (
    "The share of test bins within the central predicted interval, against the interval's nominal share: on the "
    "diagonal an emulator is as sure as it may be, below it is too sure."
)
LEVELS = np.linspace(0.05, 0.95, 19)


@dataclass(frozen=True)
class Calibration:
    """Coverage of one trial and of the baselines."""

    trial: int
    coverage: pd.DataFrame
    """what ("model" or a baseline), nominal, found."""
    remark: str = ""

    def table(self) -> pd.DataFrame:
        """Return the coverage."""
        return self.coverage


def info(search: Search, trials: Sequence[int] | None = None) -> Calibration:
    """Return the coverage of the best kept model, or of the first named one."""
    found, remark = pictures(search, trials, "profiles", 1)
    ((number, arrays),) = found.items()
    names = ["", *(key.removesuffix("mean") for key in arrays if key.endswith("_mean"))]
    parts = []
    for name in names:
        inside = erf(np.abs(arrays[f"{name}mean"] - arrays["target"]) / (np.sqrt(2) * arrays[f"{name}std"]))
        what = name.rstrip("_").replace("_", " ") or "model"
        rows = {"what": what, "nominal": LEVELS, "found": [float((inside <= level).mean()) for level in LEVELS]}
        parts.append(pd.DataFrame(rows))
    return Calibration(number, pd.concat(parts, ignore_index=True), remark)


def draw(data: Calibration, axes: Any) -> None:
    """Draw a line for the model and for each baseline."""
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
    for index, (what, part) in enumerate(data.coverage.groupby("what", sort=False)):
        label = f"trial {data.trial}" if what == "model" else str(what)
        width = 2.0 if what == "model" else 1.0
        axes.plot(part["nominal"], part["found"], color=COLORS[index], linewidth=width, label=label)
    axes.set(xlabel="nominal share", ylabel="share of bins found inside", xlim=(0, 1), ylim=(0, 1))
    axes.legend()
    if data.remark:
        axes.set_title(data.remark)
