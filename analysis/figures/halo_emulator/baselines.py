"""The likelihood and error of the best emulators beside those of the baselines."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.drawing.columns import completed_with_value
from analysis.drawing.figure import NothingToShowError
from analysis.drawing.style import COLORS, GREY
from analysis.search import Search

TITLE = "Beside the baselines"
SENTENCE = (
    "Negative log likelihood of a bin (left) and root mean square error (right) on the test simulations: of the best "
    "trials (blue), and of what the field would try first on the same simulations (grey). Smaller is better."
)
NUM_BEST = 5
PREFIX = "test_baseline_"
MEASURED = {"nll": "negative log likelihood (nats)", "rmse_dex": "error (dex)"}


@dataclass(frozen=True)
class Baselines:
    """What trials and baselines measured."""

    values: pd.DataFrame
    """what, nll, rmse_dex, is_trial; the trials first."""
    size: tuple[float, float] = (9.6, 3.6)

    def table(self) -> pd.DataFrame:
        """Return the values."""
        return self.values


def info(search: Search, trials: Sequence[int] | None = None) -> Baselines:
    """Return what the best trials measured, and the baselines on the best one's simulations."""
    best = completed_with_value(search, trials).head(NUM_BEST)
    names = [column.removeprefix(PREFIX)[:-4] for column in best.columns if column.startswith(PREFIX)]
    names = [name for name in names if f"{PREFIX}{name}_nll" in best.columns]
    if not names or "test_nll" not in best.columns:
        raise NothingToShowError("the trials have no likelihoods on test simulations")
    rows = [
        {"what": f"trial {one['trial']}", **{name: one[f"test_{name}"] for name in MEASURED}, "is_trial": True}
        for one in best.to_dict("records")
    ]
    first = best.iloc[0]
    for name in names:
        values = {measured: first[f"{PREFIX}{name}_{measured}"] for measured in MEASURED}
        rows.append({"what": name.replace("_", " "), **values, "is_trial": False})
    return Baselines(pd.DataFrame(rows))


def panels(data: Baselines) -> tuple[int, int]:
    """Return a panel for each measure."""
    return (1, len(MEASURED))


def draw(data: Baselines, axes: Any) -> None:
    """Draw a point for each trial and baseline: a likelihood may be negative, and has no zero to draw bars from."""
    places = np.arange(len(data.values))
    colors = [COLORS[0] if is_trial else GREY for is_trial in data.values["is_trial"]]
    for axis, (name, label) in zip(np.atleast_1d(axes).ravel(), MEASURED.items(), strict=True):
        axis.scatter(data.values[name], places, c=colors, zorder=3)
        for place, value in zip(places, data.values[name], strict=True):
            axis.annotate(f"{value:.3g}", (value, place), xytext=(6, 0), textcoords="offset points", va="center")
        axis.set_yticks(places, data.values["what"])
        axis.invert_yaxis()
        axis.margins(x=0.2)
        axis.set_xlabel(label)
