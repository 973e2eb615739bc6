"""What a search cost: time, core-hours and memory, by how its trials ended."""

import numpy as np
import pandas as pd

from analysis.mattered.comparable import numbers
from analysis.report.asked import tally
from analysis.report.tables import Table, table_of
from analysis.search import Search
from cluster.wording import count, duration

_USED = {"core_hours": "cpu_time_s", "hours": "wall_time_s", "compile_hours": "compile_time_s"}


def cost_sentences(search: Search) -> list[str]:
    """Return what the search cost in all, in sentences; one that says so if nothing is known."""
    trials = search.trials
    cpu, wall = _sum(trials, "cpu_time_s"), _sum(trials, "wall_time_s")
    sentences = []
    if cpu:
        sentences.append(f"All trials together used {cpu / 3600:.3g} core-hours (CPU time of their workers).")
    if wall:
        compiling = _sum(trials, "compile_time_s")
        of_it = f", {compiling / wall:.0%} of it compiling" if compiling else ""
        sentences.append(f"Laid end to end, the trials ran for {duration(wall)}{of_it}.")
    memory = numbers(trials, "peak_memory_mb").fillna(0.0).to_numpy()
    if memory.max(initial=0.0) > 0:
        largest = trials["trial"].tolist()[int(memory.argmax())]
        sentences.append(f"The largest, trial {largest}, had {memory.max():.0f} MB of memory.")
    if again := int(np.count_nonzero(numbers(trials, "attempts") > 1)):
        sentences.append(f"{count(again, 'trial')} had to be started more than once.")
    hosts = sorted({host for host in _texts(trials, "host") if host})
    if hosts:
        more = f" and {len(hosts) - 6} more" if len(hosts) > 6 else ""
        sentences.append(f"They ran on {', '.join(hosts[:6])}{more}.")
    return sentences or ["Nothing is known of what the trials used."]


def cost_table(search: Search) -> Table | None:
    """Return a row per way to end: trials, core-hours and their share, hours, compiling; None if nothing is known."""
    trials = search.trials
    if trials.empty or not any(_sum(trials, column) for column in _USED.values()):
        return None
    rows = []
    total = _sum(trials, "cpu_time_s")
    for outcome, number in tally(search).items():
        group = trials.loc[trials["outcome"] == outcome]
        used = {name: _sum(group, column) / 3600 for name, column in _USED.items()}
        share = used["core_hours"] * 3600 / total if total else float("nan")
        rows.append({"outcome": outcome, "trials": number, "share": share, **used})
    names = {
        "core_hours": "core-hours", "share": "share of core-hours", "hours": "hours of trials",
        "compile_hours": "hours compiling",
    }  # fmt: skip
    return table_of(pd.DataFrame(rows), "What the trials used, by how they ended", names, bars=("share",))


def _sum(trials: pd.DataFrame, column: str) -> float:
    return float(np.nansum(numbers(trials, column)))


def _texts(trials: pd.DataFrame, column: str) -> list[str]:
    return [value for value in trials[column].tolist() if isinstance(value, str)] if column in trials.columns else []
