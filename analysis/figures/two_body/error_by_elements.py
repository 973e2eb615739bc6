"""The error of each test orbit against its shape and size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.drawing.models import pictures
from analysis.drawing.style import color, scale
from analysis.figures.two_body._errors import error_pct
from analysis.search import Search

TITLE = "Error against eccentricity and semi-major axis"
SENTENCE = (
    "The mean error of the acceleration on each test orbit against its eccentricity and its semi-major axis; the "
    "legend has Spearman's rank correlation with each."
)


@dataclass(frozen=True)
class ErrorByElements:
    """Mean errors of test orbits."""

    points: pd.DataFrame
    """trial, orbit, semi_major_axis, eccentricity, error_pct."""
    correlations: dict[tuple[int, str], float]
    """Spearman's, by trial and element; NaN if the element does not vary."""
    remark: str

    def table(self) -> pd.DataFrame:
        """Return the errors."""
        return self.points


def info(search: Search, trials: Sequence[int] | None = None) -> ErrorByElements:
    """Return the errors of test orbits, for trials whose models are kept."""
    found, remark = pictures(search, trials, "orbits")
    return by_elements(found, remark)


def by_elements(found: Mapping[int, Mapping[str, np.ndarray]], remark: str = "") -> ErrorByElements:
    """Return mean errors from fields over orbits."""
    parts, correlations = [], {}
    for number, one in found.items():
        a, e = one["elements"][:, 0], one["elements"][:, 1]
        columns = {"orbit": np.arange(len(a)), "semi_major_axis": a, "eccentricity": e}
        part = pd.DataFrame({"trial": number, **columns, "error_pct": error_pct(one).mean(axis=1)})
        parts.append(part)
        for name in ("eccentricity", "semi_major_axis"):
            correlations[number, name] = _spearman(part[name].to_numpy(), part["error_pct"].to_numpy())
    return ErrorByElements(pd.concat(parts, ignore_index=True), correlations, remark)


def _spearman(x: np.ndarray, y: np.ndarray) -> float:
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = (pd.Series(values[finite]).rank().to_numpy() for values in (x, y))
    return float(np.corrcoef(x, y)[0, 1]) if len(x) > 2 and np.ptp(x) > 0 and np.ptp(y) > 0 else float("nan")


def panels(data: ErrorByElements) -> tuple[int, int]:
    """Return a panel for each of the two elements."""
    return (1, 2)


def draw(data: ErrorByElements, axes: Any) -> None:
    """Draw the errors against both elements."""
    for axis, name in zip(axes, ("eccentricity", "semi_major_axis"), strict=True):
        for place, (number, part) in enumerate(data.points.groupby("trial", sort=False)):
            rho = data.correlations[int(str(number)), name]
            label = f"trial {number}" + (f" (rho {rho:.2f})" if np.isfinite(rho) else "")
            axis.plot(part[name], part["error_pct"], "o", color=color(place), alpha=0.6, label=label)
        axis.set(xlabel=name.replace("_", " "), yscale=scale(data.points["error_pct"]))
        axis.legend(fontsize=7.5)
    axes[0].set(ylabel="mean error of an orbit (%)")
    axes[1].set_title(data.remark)
