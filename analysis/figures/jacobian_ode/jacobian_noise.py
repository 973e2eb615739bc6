"""The error of the learned Jacobian by the noise of the training data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.drawing.columns import completed_with_value
from analysis.drawing.figure import NothingToShowError
from analysis.drawing.style import COLORS, GREY, scale
from analysis.search import Search

TITLE = "Error of the Jacobian by noise"
SENTENCE = (
    "The error of the Jacobian on test trajectories by the noise of the training data, every completed trial a point "
    "(hollow if it is not feasible); lines join the feasible trials with the best objective, and local regression on "
    "the same data is dotted."
)
ERROR, LOCAL = "test_frobenius_error_pct", "test_lwlr_frobenius_error_pct"
MODELS = {"jacobian": "learned Jacobian", "neural_ode": "neural ODE"}


@dataclass(frozen=True)
class JacobianNoise:
    """Errors by noise and model."""

    points: pd.DataFrame
    """trial, noise, model, feasible, error_pct, local_regression_pct, is_chosen; best objective first."""

    def table(self) -> pd.DataFrame:
        """Return the errors."""
        return self.points


def info(search: Search, trials: Sequence[int] | None = None) -> JacobianNoise:
    """Return the errors of completed trials, and which of each noise and model the search would choose."""
    frame = completed_with_value(search, trials)
    if ERROR not in frame.columns or not frame[ERROR].notna().to_numpy().any():
        raise NothingToShowError("no exact Jacobian is known of recordings")
    frame = frame.loc[frame[ERROR].notna()].sort_values(
        search.objective.column, ascending=search.objective.mode == "min", kind="stable"
    )
    feasible = frame["feasible"].astype(bool) if "feasible" in frame.columns else pd.Series(True, frame.index)
    points = frame.reindex(columns=["trial", "noise", "model"]).assign(feasible=feasible, error_pct=frame[ERROR])
    points["local_regression_pct"] = frame[LOCAL] if LOCAL in frame.columns else float("nan")
    first = ~points.loc[feasible].duplicated(["noise", "model"])
    points["is_chosen"] = first.reindex(points.index, fill_value=False)
    return JacobianNoise(points.reset_index(drop=True))


def draw(data: JacobianNoise, axes: Any) -> None:
    """Draw the errors by noise."""
    levels = sorted({*data.points["noise"]})
    for place, (model, name) in enumerate(MODELS.items()):
        part = data.points.loc[data.points["model"] == model]
        if part.empty:
            continue
        at = part["noise"].map(levels.index) + (-0.08, 0.08)[place]
        for kind, face in ((True, COLORS[place]), (False, "none")):
            own = (part["feasible"] == kind).to_numpy()
            axes.scatter(at[own], part["error_pct"][own], s=16, facecolors=face, edgecolors=COLORS[place], alpha=0.6)
        chosen = part.loc[part["is_chosen"]].sort_values("noise")
        x = chosen["noise"].map(levels.index) + (-0.08, 0.08)[place]
        axes.plot(x, chosen["error_pct"], "D-", color=COLORS[place], label=f"{name}, chosen")
    local = data.points.groupby("noise")["local_regression_pct"].first().reindex(levels)
    if local.notna().to_numpy().any():
        axes.plot(range(len(levels)), local, color=GREY, linestyle=":", label="local regression")
    axes.scatter([], [], s=16, facecolors="none", edgecolors=GREY, label="not feasible")
    axes.set(xlabel="noise of the training data (%)", ylabel="error of J on test trajectories (%)")
    axes.set_yscale(scale([*data.points["error_pct"], *local]))
    axes.set_xticks(range(len(levels)), [f"{100 * noise:g}" for noise in levels])
    axes.set_xlim(-0.5, len(levels) - 0.5)
    axes.figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
