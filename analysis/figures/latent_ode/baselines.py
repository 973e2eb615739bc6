"""The extrapolation error of the best latent ODEs beside those of the baselines."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.drawing.columns import completed_with_value
from analysis.drawing.figure import NothingToShowError
from analysis.drawing.style import COLORS, GREY, scale
from analysis.search import Search

TITLE = "Beside the baselines"
SENTENCE = (
    "The error beyond the observed span on the test series: of the best trials (blue), and of what a sceptic would try "
    "first on the same series (grey). Smaller is better. The true law, where it is known, has only each start to find "
    "in the noisy samples: the floor."
)
NUM_BEST = 5
PREFIX, SUFFIX, OWN = "test_baseline_", "_error_pct", "test_extrapolation_error_pct"
FLOOR = "test_true_law_error_pct"
HUES = {"trial": COLORS[0], "baseline": GREY, "floor": COLORS[2]}


@dataclass(frozen=True)
class Baselines:
    """Errors of trials and of baselines."""

    errors: pd.DataFrame
    """what, error_pct, kind (trial, baseline or floor); the trials first."""

    def table(self) -> pd.DataFrame:
        """Return the errors."""
        return self.errors


def info(search: Search, trials: Sequence[int] | None = None) -> Baselines:
    """Return the best trials' errors, and those of the baselines on the best one's series."""
    best = completed_with_value(search, trials).head(NUM_BEST)
    names = [name for name in best.columns if name.startswith(PREFIX) and name.endswith(SUFFIX)]
    if not names or OWN not in best.columns:
        raise NothingToShowError("the trials have no errors on test series")
    rows = [(f"trial {one['trial']}", one[OWN], "trial") for one in best.to_dict("records")]
    rows += [
        (name.removeprefix(PREFIX).removesuffix(SUFFIX).replace("_", " "), best.iloc[0][name], "baseline")
        for name in names
    ]
    # A search of before the floor was measured has none.
    if FLOOR in best.columns and pd.notna(best.iloc[0][FLOOR]):
        rows.append(("true law (floor)", best.iloc[0][FLOOR], "floor"))
    return Baselines(pd.DataFrame(rows, columns=["what", "error_pct", "kind"]))


def draw(data: Baselines, axes: Any) -> None:
    """Draw a bar for each error."""
    colors = [HUES[kind] for kind in data.errors["kind"]]
    places = range(len(data.errors))
    axes.barh(places, data.errors["error_pct"], color=colors, alpha=0.75)
    for place, error in zip(places, data.errors["error_pct"], strict=True):
        axes.annotate(
            f"{error:.3g}", (error, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8.5
        )
    axes.set_yticks(places, data.errors["what"])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set(xlabel="extrapolation error (%)", xscale=scale(data.errors["error_pct"]))
    axes.grid(axis="y", visible=False)
