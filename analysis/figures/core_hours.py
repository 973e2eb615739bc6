"""Where the core-hours went."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.drawing.columns import chosen, cpus_per_trial, numbers
from analysis.drawing.figure import NothingToShowError
from analysis.drawing.style import COLORS, FAILED, GREY
from analysis.search import Search
from cluster.state.outcomes import Outcome
from cluster.state.records import load_waves

TITLE = "Where the core-hours went"
SENTENCE = (
    "The time that trials held their CPUs, in core-hours: training to the end (with its validation), training that was "
    "stopped early or goes on, compiling, work that failed, and slots of a wave in which nothing ran."
)


@dataclass(frozen=True)
class CoreHours:
    """Core-hours by what they were spent on."""

    parts: pd.DataFrame
    """part, core_hours, share."""

    def table(self) -> pd.DataFrame:
        """Return the parts."""
        return self.parts


def info(search: Search, trials: Sequence[int] | None = None) -> CoreHours:
    """Return the parts of all core-hours that trials and idle slots took."""
    frame = chosen(search, trials)
    wall, compiling = numbers(frame, "wall_time_s"), np.nan_to_num(numbers(frame, "compile_time_s"))
    if not (np.nan_to_num(wall) > 0).any():
        raise NothingToShowError("it does not know how long its trials ran")
    wall = np.nan_to_num(wall)
    outcomes = np.asarray(frame["outcome"].astype(str))
    lost = np.isin(outcomes, [one.value for one in Outcome if one.is_failure])
    pruned = outcomes == "pruned"
    rest = np.maximum(wall - compiling, 0.0)
    parts = {
        "training": rest[outcomes == "completed"].sum(),
        "training, not ended": rest[~lost & ~pruned & (outcomes != "completed")].sum(),
        "training, stopped early": rest[pruned].sum(),
        "compiling": np.minimum(compiling, wall)[~lost].sum(),
        "failed": wall[lost].sum(),
    }
    waves = load_waves(search.paths) if search.paths and trials is None else []
    if waves:
        parts["idle slots"] = sum(w["slots"] * w["trials_s"] * (1 - w["utilisation"]) for w in waves)
    hours = np.array([*parts.values()]) * cpus_per_trial(search) / 3600
    table = pd.DataFrame({"part": [*parts], "core_hours": hours, "share": hours / max(hours.sum(), 1e-12)})
    return CoreHours(table.loc[table["core_hours"] > 0])


def draw(data: CoreHours, axes: Any) -> None:
    """Draw a bar per part."""
    names = list(data.parts["part"])
    colors = {"failed": FAILED, "idle slots": GREY, "compiling": COLORS[5], "training, stopped early": COLORS[4]}
    bars = axes.barh(names, data.parts["core_hours"], color=[colors.get(name, COLORS[0]) for name in names], height=0.6)
    texts = [f"{h:.3g} h, {100 * s:.0f} %" for h, s in zip(data.parts["core_hours"], data.parts["share"], strict=True)]
    axes.bar_label(bars, texts, padding=4, color=GREY, fontsize=8.5)
    axes.set(xlabel="core-hours")
    axes.invert_yaxis()
    axes.margins(x=0.22)
