"""How near the solutions of the best model come to the test poses, by sampling steps, and polished."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.drawing.models import pictures
from analysis.drawing.style import COLORS, GREY
from analysis.search import Search

TITLE = "How near the solutions come"
SENTENCE = (
    "The share of the best model's solutions of the test poses within a distance of them: sampled in one step and in "
    "more, polished, and joint angles drawn at random and polished likewise (grey). Further left is better."
)
SUFFIX = "_position_mm"
LEAST_MM = 1e-4
"""Distances below are drawn there: float32 resolves no less."""
NUM_POINTS = 200


@dataclass(frozen=True)
class Solutions:
    """Distances by how solutions were made."""

    trial: int
    shares: pd.DataFrame
    """how, position_mm, share (of the solutions within that distance, 0 to 1)."""
    remark: str

    def table(self) -> pd.DataFrame:
        """Return the shares."""
        return self.shares


def info(search: Search, trials: Sequence[int] | None = None) -> Solutions:
    """Return the distances of the solutions of the best kept model, or of the first named one."""
    found, remark = pictures(search, trials, "errors", 1)
    ((number, arrays),) = found.items()
    return Solutions(number, shares_of(arrays), remark)


def shares_of(arrays: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return the distances (mm) within which equal shares of the solutions are, by how they were made."""
    parts = []
    for name, errors in arrays.items():
        if name.endswith(SUFFIX):
            shares = (np.arange(NUM_POINTS) + 1) / NUM_POINTS
            errors = np.maximum(np.quantile(errors, shares, method="inverted_cdf"), LEAST_MM)
            how = name.removesuffix(SUFFIX).replace("_", " ")
            parts.append(pd.DataFrame({"how": how, "position_mm": errors, "share": shares}))
    return pd.concat(parts, ignore_index=True)


def draw(data: Solutions, axes: Any) -> None:
    """Draw the distribution of the distances of each kind of solutions."""
    hues = iter(COLORS)
    for how, part in data.shares.groupby("how", sort=False):
        finite = part.loc[np.isfinite(part["position_mm"])]
        color = GREY if how == "random polished" else next(hues)
        axes.step(finite["position_mm"], 100 * finite["share"], where="post", color=color, label=how)
    axes.set(xlabel="distance of the flange from its target (mm)", ylabel="solutions within it (%)", xscale="log")
    axes.legend()
