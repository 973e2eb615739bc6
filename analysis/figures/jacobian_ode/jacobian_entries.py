"""The entries of the learned Jacobian that are most wrong, along a test trajectory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.drawing.columns import chosen
from analysis.drawing.figure import NothingToShowError
from analysis.drawing.models import kept, pictures
from analysis.drawing.style import GREY, color
from analysis.search import Search

TITLE = "Entries of the Jacobian along a test trajectory"
SENTENCE = (
    "The three entries of the Jacobian with the largest errors along a test trajectory: exact (grey), and as "
    "learned at the largest noise by the best kept trial of each."
)
MOST_WRONG = 3


@dataclass(frozen=True)
class Entries:
    """The worst entries."""

    entries: list[tuple[int, int]]
    """Row and column from 0, in the matrix's order."""
    names: dict[int, str]
    """What the trials are called."""
    values: pd.DataFrame
    """t, row, column (from 1), exact, and a column per trial."""
    remark: str
    size: tuple[float, float] = (7.6, 6.6)

    def table(self) -> pd.DataFrame:
        """Return the entries."""
        return self.values


def info(search: Search, trials: Sequence[int] | None = None) -> Entries:
    """Return the worst entries of named trials, or of the best kept trial of each model at the largest noise."""
    numbers = _chosen(search) if trials is None else trials
    found, remark = pictures(search, numbers, "entries")
    frame = search.trials.set_index("trial")
    model = "model" in frame.columns
    names = {number: f"trial {number}" + (f", {frame.loc[number, 'model']}" if model else "") for number in found}
    return worst(found, names, remark)


def _chosen(search: Search) -> list[int]:
    """Return the best kept completed trial of each model, feasible if there is one, at the largest noise of any."""
    numbers, _ = kept(search, None, len(search.trials))
    frame = chosen(search, numbers)
    frame = frame.assign(feasible=frame["feasible"].astype(bool) if "feasible" in frame.columns else True)
    noise = frame["noise"] if "noise" in frame.columns else pd.Series(0.0, frame.index)
    frame = frame.loc[noise == noise.max()].sort_values("feasible", ascending=False, kind="stable")
    model = frame["model"] if "model" in frame.columns else pd.Series("", frame.index)
    return [int(one) for one in frame.loc[~model.duplicated(), "trial"]]


def worst(found: Mapping[int, Mapping[str, np.ndarray]], names: dict[int, str], remark: str = "") -> Entries:
    """Return the entries whose root mean square errors, summed over the trials, are the largest."""
    first = next(iter(found.values()))
    if "exact" not in first:
        raise NothingToShowError("no exact Jacobian is known of recordings")
    num = first["exact"].shape[-1]
    wrong = np.zeros((num, num))
    for one in found.values():
        wrong += np.sqrt(np.mean((one["learned"] - one["exact"]) ** 2, axis=0))
    places = np.sort(np.argsort(-wrong, axis=None, kind="stable")[:MOST_WRONG])
    entries = [(int(place) // num, int(place) % num) for place in places]
    parts = []
    for i, j in entries:
        columns = {"t": first["t"], "row": i + 1, "column": j + 1, "exact": first["exact"][:, i, j]}
        learned = {f"trial_{number}": one["learned"][:, i, j] for number, one in found.items()}
        parts.append(pd.DataFrame({**columns, **learned}))
    return Entries(entries, names, pd.concat(parts, ignore_index=True), remark)


def panels(data: Entries) -> tuple[int, int]:
    """Return a panel for each entry."""
    return (len(data.entries), 1)


def draw(data: Entries, axes: Any) -> None:
    """Draw the entries against time."""
    flat = np.atleast_1d(axes).ravel()
    for axis, (i, j) in zip(flat, data.entries, strict=True):
        part = data.values.loc[(data.values["row"] == i + 1) & (data.values["column"] == j + 1)]
        axis.plot(part["t"], part["exact"], color=GREY, linewidth=4, alpha=0.45, label="exact")
        for place, (number, name) in enumerate(data.names.items()):
            axis.plot(part["t"], part[f"trial_{number}"], color=color(place), linewidth=1.2, label=name)
        axis.set_ylabel(f"J[{i + 1}, {j + 1}]")
    flat[-1].set_xlabel("time")
    flat[0].set_title(data.remark)
    flat[0].figure.legend(*flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
