"""Test series that the best model goes on with: the truth, what is observed, and the best baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.drawing.models import pictures
from analysis.drawing.style import COLORS, GREY
from analysis.search import Search

TITLE = "Test series"
SENTENCE = (
    "Test series at the quartiles of one model's error, in the plane of their first two components (of one component: "
    "against the sample): the truth, what is observed, how the latent ODE goes on, and the best baseline (dotted)."
)
OWN = ("observed", "later", "seen", "model_observed", "model_later")


@dataclass(frozen=True)
class ShownSeries:
    """Three series."""

    trial: int
    baseline: str
    indices: list[int]
    samples: pd.DataFrame
    """series, sample, x and y of "truth", "seen", "model" and "baseline"; NaN if there is none."""
    remark: str
    size: tuple[float, float] = (9.6, 4.0)

    def table(self) -> pd.DataFrame:
        """Return the series."""
        return self.samples


def info(search: Search, trials: Sequence[int] | None = None) -> ShownSeries:
    """Return test series as the best kept model, or the first named one, goes on with them."""
    found, remark = pictures(search, trials, "series", 1)
    ((number, arrays),) = found.items()
    return shown_series(number, arrays, remark)


def shown_series(number: int, arrays: Mapping[str, np.ndarray], remark: str = "") -> ShownSeries:
    """Return the series at the quartiles of the model's error."""
    later = arrays["later"]
    errors = np.array([_error(one) for one in arrays["model_later"] - later])
    order = np.argsort(errors)
    indices = [int(order[place]) for place in sorted({len(order) // 4, len(order) // 2, 3 * len(order) // 4})]
    baselines = {name: _error(values - later) for name, values in arrays.items() if name not in OWN}
    least = min(baselines, key=lambda name: baselines[name])
    parts = []
    for index in indices:
        num_seen, num = arrays["seen"].shape[1], arrays["seen"].shape[1] + later.shape[1]
        none = np.full((num, later.shape[2]), np.nan)
        seen, baseline = none.copy(), none.copy()
        seen[:num_seen], baseline[num_seen:] = arrays["seen"][index], arrays[least][index]
        columns = {
            "truth": np.concatenate([arrays["observed"][index], later[index]]),
            "seen": seen,
            "model": np.concatenate([arrays["model_observed"][index], arrays["model_later"][index]]),
            "baseline": baseline,
        }
        part: dict[str, Any] = {"series": index, "sample": np.arange(num)}
        for name, values in columns.items():
            missing = np.isnan(columns["truth"])
            values = np.where(missing, np.nan, values)
            has_plane = values.shape[1] > 1
            part[f"{name}_x"] = values[:, 0] if has_plane else np.arange(num)
            part[f"{name}_y"] = values[:, 1] if has_plane else values[:, 0]
        parts.append(pd.DataFrame(part))
    return ShownSeries(number, least.replace("_", " "), indices, pd.concat(parts, ignore_index=True), remark)


def _error(difference: np.ndarray) -> float:
    finite = difference[np.isfinite(difference)]
    return float(np.sqrt(np.mean(finite**2))) if len(finite) else float("inf")


def panels(data: ShownSeries) -> tuple[int, int]:
    """Return a panel for each series."""
    return (1, len(data.indices))


def draw(data: ShownSeries, axes: Any) -> None:
    """Draw the series."""
    flat = np.atleast_1d(axes).ravel()
    styles = {
        "truth": {"color": GREY, "linewidth": 4, "alpha": 0.4, "label": "truth"},
        "baseline": {"color": COLORS[1], "linestyle": ":", "label": data.baseline},
        "model": {"color": COLORS[0], "label": f"latent ODE (trial {data.trial})"},
        "seen": {"color": GREY, "linestyle": "none", "marker": "o", "markersize": 3, "label": "observed"},
    }
    for axis, (index, part) in zip(flat, data.samples.groupby("series", sort=False), strict=True):
        for name, style in styles.items():
            there = part.dropna(subset=[f"{name}_x", f"{name}_y"])
            axis.plot(there[f"{name}_x"], there[f"{name}_y"], **style)
        room = part.filter(regex="^(truth|seen)_")
        for side, along in (("x", axis.set_xlim), ("y", axis.set_ylim)):
            values = room.filter(regex=f"_{side}$").to_numpy()
            low, high = np.nanmin(values), np.nanmax(values)
            along(low - 0.15 * (high - low), high + 0.15 * (high - low))
        axis.set_title(f"test series {index}")
    flat[0].figure.legend(*flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    if data.remark:
        flat[0].set_title(f"{flat[0].get_title()} ({data.remark})")
