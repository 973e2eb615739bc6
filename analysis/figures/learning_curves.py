"""Learning curves of trials: the objective, and the parts of the training loss, against steps or seconds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from analysis.drawing.columns import best_and_some
from analysis.drawing.figure import NothingToShowError
from analysis.drawing.style import GREY, color, scale, shorten
from analysis.search import Search

TITLE = "Learning curves"
SENTENCE = (
    "The objective of each trial as it trained, as joined points at its reports, the best trials in colour and the "
    "others in grey; below, the losses that the best trial trained on. Dashed lines mark where a phase begins."
)
NUM_COLORED = 5
MOST = 200
"""Trials drawn: of more, the best ones and a regular choice of the others."""


@dataclass(frozen=True)
class LearningCurves:
    """The reports of some trials."""

    x: Literal["step", "seconds"]
    objective: str
    reports: pd.DataFrame
    """trial, step, seconds, the objective, and the losses; by trial and step."""
    order: list[int]
    """The trials, best first."""
    losses: list[str]
    """The columns of the training losses."""
    phases: list[int]
    """The steps at which the best trial's phases begin, without the first."""
    remark: str

    def table(self) -> pd.DataFrame:
        """Return the reports."""
        return self.reports


def info(search: Search, trials: Sequence[int] | None = None, x: Literal["step", "seconds"] = "step") -> LearningCurves:
    """Return the reports of a search's trials, best first."""
    objective = search.objective.column
    reports = search.histories
    if len(reports) == 0 or objective not in reports.columns:
        raise NothingToShowError("no trial has reported its objective yet")
    wanted = {*reports["trial"]} if trials is None else {*reports["trial"]} & {*trials}
    order = [number for number in _best_first(search, reports) if number in wanted]
    if not order:
        raise NothingToShowError("none of these trials has reported anything")
    if x == "seconds" and not len(reports["seconds"].dropna()):
        raise NothingToShowError("it does not know when its trials reported")
    shown = [order[place] for place in best_and_some(len(order), MOST)]
    remark = "" if len(shown) == len(order) else f"{len(shown)} of {len(order)} trials: the best and a regular choice"
    losses = [name for name in reports.columns if name.startswith("train_") and len(reports[name].dropna())]
    columns = [name for name in ("trial", "step", "seconds", objective, *losses) if name in reports.columns]
    chosen = reports.loc[reports["trial"].isin(shown)].reindex(columns=columns)
    return LearningCurves(x, objective, chosen, shown, losses, _phases(search, order[0]), remark)


def _best_first(search: Search, reports: pd.DataFrame) -> list[int]:
    """Return the completed trials by rank, then the others by the last objective that they reported."""
    objective = search.objective
    last = dict(zip(reports["trial"], objective.sign * reports[objective.column], strict=True))
    ranks = dict(zip(search.trials["trial"], search.trials["rank"], strict=True))
    worst = math.inf

    def place(number: int) -> tuple[float, float]:
        rank, value = ranks.get(number), last[number]
        return (worst if rank is None or rank is pd.NA else float(rank), worst if math.isnan(value) else value)

    return sorted(last, key=place)


def _phases(search: Search, trial: int) -> list[int]:
    """Return where the phases of a trial's curriculum begin, as far as its config says so."""
    phases = search.config(trial).get("phases") or search.config(trial).get("curriculum") or []
    steps = [one["steps"] for one in phases if isinstance(one, dict) and isinstance(one.get("steps"), int)]
    starts: list[int] = []
    for count in steps[:-1]:
        starts.append((starts[-1] if starts else 0) + count)
    return starts


def panels(data: LearningCurves) -> tuple[int, int]:
    """Return one panel for the objective, and one for the losses if there are any."""
    return (2, 1) if data.losses else (1, 1)


def draw(data: LearningCurves, axes: Any) -> None:
    """Draw the curves."""
    top = axes[0] if data.losses else axes
    label = "optimiser step" if data.x == "step" else "seconds"
    by_trial = dict(list(data.reports.groupby("trial")))
    for place in reversed(range(len(data.order))):
        number, is_best = data.order[place], place < NUM_COLORED
        curve = by_trial[number].dropna(subset=data.objective)
        style = {"color": color(place), "label": f"trial {number}", "zorder": 3} if is_best else {"color": GREY}
        top.plot(curve[data.x], curve[data.objective], marker="o", alpha=1.0 if is_best else 0.3, **style)
    top.set(ylabel=shorten(data.objective), yscale=scale(data.reports[data.objective]), xlabel=label)
    handles, labels = top.get_legend_handles_labels()
    top.legend(handles[::-1], labels[::-1], loc="best")
    if data.remark:
        top.set_title(data.remark)
    if data.x == "step":
        for start in data.phases:
            for one in axes if data.losses else [axes]:
                one.axvline(start, color=GREY, linestyle="--", linewidth=1)
    if not data.losses:
        return
    best, below = by_trial[data.order[0]], axes[1]
    values = np.concatenate([best[name].dropna().to_numpy() for name in data.losses])
    is_log = scale(values[values > 0]) == "log" and bool((values >= 0).all())
    for place, name in enumerate(data.losses):
        shown = best[name].where(best[name] > 0) if is_log else best[name]
        dash = "-" if place % 2 == 0 else "--"  # a loss and its only part are the same line
        below.plot(best[data.x], shown, dash, marker="o", color=color(place), label=shorten(name))
    hidden = int((values == 0).sum()) if is_log else 0
    note = f"; {hidden} values of zero are not on a logarithmic axis" if hidden else ""
    below.set(yscale="log" if is_log else "linear", ylabel="training loss", xlabel=label)
    below.set_title(f"trial {data.order[0]}{note}")
    below.legend(ncols=2)


def chart(data: LearningCurves) -> dict[str, Any]:
    """Return the objective's curves for Plotly."""
    by_trial = dict(list(data.reports.groupby("trial")))
    traces = []
    for place, number in enumerate(data.order):
        curve = by_trial[number].dropna(subset=data.objective)
        is_best = place < NUM_COLORED
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if len(curve) < 60 else "lines",
                "x": curve[data.x].tolist(),
                "y": curve[data.objective].tolist(),
                "name": f"trial {number}",
                "line": {"color": color(place) if is_best else GREY, "width": 2 if is_best else 1},
                "opacity": 1.0 if is_best else 0.35,
                "showlegend": is_best,
            }
        )
    return {
        "data": traces[::-1],
        "layout": {
            "xaxis": {"title": {"text": "optimiser step" if data.x == "step" else "seconds"}},
            "yaxis": {"title": {"text": data.objective}, "type": scale(data.reports[data.objective])},
        },
    }
