"""What the machine did over time: slots in use, memory of the trials, and disk that had to be freed."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.drawing.columns import chosen, numbers
from analysis.drawing.figure import NothingToShowError
from analysis.drawing.style import COLORS, GREY, time_unit
from analysis.search import Search
from cluster.state.records import load_waves

TITLE = "Slots, memory and disk over time"
SENTENCE = (
    "From above: how many trials ran at once, with the slots that there were as a dashed line; the memory that they "
    "took together, each counted with its peak; and what our scratch took at most in each wave. Gaps are idle time."
)


@dataclass(frozen=True)
class Machine:
    """What was in use, over time in hours since the first trial began."""

    usage: pd.DataFrame
    """hours, trials, memory_gb: from then until the next row."""
    waves: pd.DataFrame
    """began, ended, slots."""
    disk: pd.DataFrame
    """hours, peak_gb, freed_gb: at each clean-up."""

    def table(self) -> pd.DataFrame:
        """Return what was in use."""
        return self.usage


def info(search: Search, trials: Sequence[int] | None = None) -> Machine:
    """Return slots, memory and disk over time; of a search directory alone, as other sources know no times."""
    frame = chosen(search, trials)
    began, ended = numbers(frame, "began_at"), numbers(frame, "ended_at")
    known = np.isfinite(began)
    if search.paths is None or not known.any():
        raise NothingToShowError("it does not know when its trials ran")
    waves = load_waves(search.paths)
    now = max([*ended[np.isfinite(ended)], *began[known]])
    start, ended = float(began[known].min()), np.where(np.isfinite(ended), ended, now)
    memory = np.nan_to_num(numbers(frame, "peak_memory_mb")) / 1e3
    moments = np.concatenate([began[known], ended[known]])
    steps = np.concatenate([np.ones(known.sum()), -np.ones(known.sum())])
    amounts = np.concatenate([memory[known], -memory[known]])
    order = np.argsort(moments, kind="stable")
    usage = pd.DataFrame(
        {
            "hours": (moments[order] - start) / 3600,
            "trials": np.cumsum(steps[order]),
            "memory_gb": np.cumsum(amounts[order]),
        }
    )
    of_waves = [
        ((w["began_at"] - start) / 3600, (w["ended_at"] - start) / 3600, w["slots"]) for w in waves if "began_at" in w
    ]
    return Machine(usage, pd.DataFrame(of_waves, columns=["began", "ended", "slots"]), _disk(search, start))


def _disk(search: Search, start: float) -> pd.DataFrame:
    assert search.paths is not None
    rows = []
    for paths in [search.paths, *search.paths.of_jobs()]:
        for file in sorted(paths.logs.glob("guard*.jsonl")):
            for line in file.read_text(errors="replace").splitlines():
                try:
                    entry = json.loads(line)
                    rows.append(((entry["at"] - start) / 3600, entry["peak_bytes"] / 1e9, entry["freed_bytes"] / 1e9))
                except (ValueError, KeyError, TypeError):
                    continue  # torn by a kill, or no clean-up
    return pd.DataFrame(sorted(rows), columns=["hours", "peak_gb", "freed_gb"])


def panels(data: Machine) -> tuple[int, int]:
    """Return slots, memory and disk below each other."""
    return 3, 1


def draw(data: Machine, axes: Any) -> None:
    """Draw the three over the same time."""
    slots, memory, disk = axes
    factor, unit = time_unit(data.usage["hours"].to_numpy())
    slots.fill_between(factor * data.usage["hours"], data.usage["trials"], step="post", color=COLORS[0], alpha=0.6)
    for began, ended, count in data.waves.itertuples(index=False):
        slots.plot([factor * began, factor * ended], [count, count], "--", color=GREY)
    slots.set_ylabel("trials running")
    memory.fill_between(factor * data.usage["hours"], data.usage["memory_gb"], step="post", color=COLORS[2], alpha=0.6)
    memory.set_ylabel("memory in GB")
    disk.vlines(factor * data.disk["hours"], 0, data.disk["peak_gb"], color=COLORS[1], linewidth=2)
    disk.plot(factor * data.disk["hours"], data.disk["peak_gb"], "o", color=COLORS[1])
    disk.set(ylabel="scratch in GB", xlabel=f"{unit} since the first trial began")
    for one in (memory, disk):
        one.sharex(slots)
    for one in axes:
        one.set_ylim(bottom=0)
