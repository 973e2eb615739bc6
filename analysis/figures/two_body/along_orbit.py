"""One test orbit: as it is and as the model propagates it, with the errors of the field along it, and by phase."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.drawing.figure import NothingToShowError
from analysis.drawing.models import pictures
from analysis.drawing.style import GREY, color, scale
from analysis.figures.two_body._errors import angle_deg, error_pct, magnitude_pct, middle_orbit
from analysis.search import Search

TITLE = "Along a test orbit"
SENTENCE = (
    "The test orbit with the median error of the first trial (or one that is named), true and propagated; the errors "
    "of magnitude, direction and acceleration at its true states, the windows of the training phases in grey; and the "
    "validation errors at the end of each phase of training, of which no model is kept."
)


@dataclass(frozen=True)
class AlongOrbit:
    """One orbit, by trial."""

    orbit: int
    samples: pd.DataFrame
    """trial, sample, true and propagated places (plane of the first two axes), and the errors."""
    windows: list[tuple[int, int]]
    phases: pd.DataFrame
    """trial, phase, step (of its last report), and the validation errors that were reported then."""
    remark: str
    size: tuple[float, float] = (9.4, 9.6)

    def table(self) -> pd.DataFrame:
        """Return the orbit and its errors."""
        return self.samples


def info(search: Search, trials: Sequence[int] | None = None, orbit: int | None = None) -> AlongOrbit:
    """Return an orbit and its errors, for trials whose models are kept."""
    found, remark = pictures(search, trials, "orbits")
    trained, _ = pictures(search, list(found), "phases")
    windows = sorted({(int(first), int(last)) for one in trained.values() for first, last in one["window"]})
    reports = [
        phase_ends(search.histories.loc[search.histories["trial"] == number], trained[number]["last_step"])
        for number in found
    ]
    first = next(iter(found.values()))
    if orbit is not None and not 0 <= orbit < len(first["y"]):
        raise NothingToShowError(f"there is no orbit {orbit}: it shows test orbits 0 to {len(first['y']) - 1}")
    chosen = middle_orbit(first) if orbit is None else orbit
    return AlongOrbit(chosen, samples(found, chosen), windows, pd.concat(reports, ignore_index=True), remark)


def phase_ends(reports: pd.DataFrame, last_steps: np.ndarray) -> pd.DataFrame:
    """Return the validation errors of a trial's last report in each phase; no row for a phase without reports."""
    rows, before = [], 0
    for phase, last in enumerate(last_steps, 1):
        of_phase = reports.loc[(reports["step"] > before) & (reports["step"] <= last)]
        before = last
        if len(of_phase):
            rows.append({**of_phase.iloc[-1], "phase": phase})
    columns = ["trial", "phase", "step", "val_accel_error_pct", "val_accel_angle_deg"]
    return pd.DataFrame(rows).reindex(columns=columns)


def samples(found: Mapping[int, Mapping[str, np.ndarray]], orbit: int) -> pd.DataFrame:
    """Return one orbit of each trial with the errors along it."""
    parts = []
    for number, one in found.items():
        if orbit >= len(one["y"]):
            continue
        places = one["y"][orbit], one["propagated"][orbit]
        columns = {"trial": number, "sample": np.arange(len(places[0])), "t": one["t"][orbit]}
        columns |= {
            "x": places[0][:, 0],
            "y": places[0][:, 1],
            "x_propagated": places[1][:, 0],
            "y_propagated": places[1][:, 1],
        }
        columns |= {"magnitude_pct": magnitude_pct(one)[orbit], "angle_deg": angle_deg(one)[orbit]}
        parts.append(pd.DataFrame({**columns, "error_pct": error_pct(one)[orbit]}))
    return pd.concat(parts, ignore_index=True)


def panels(data: AlongOrbit) -> tuple[int, int]:
    """Return the orbit, four errors, and the phases."""
    return (3, 2)


def draw(data: AlongOrbit, axes: Any) -> None:
    """Draw the orbit and the errors."""
    orbit, *errors, by_phase = axes.ravel()
    wanted = {
        "magnitude_pct": "magnitude error (%)",
        "angle_deg": "direction: angle error (deg)",
        "error_pct": "error (%)",
    }
    for place, (number, part) in enumerate(data.samples.groupby("trial", sort=False)):
        if place == 0:
            orbit.plot(part["x"], part["y"], color=GREY, linewidth=4, alpha=0.4, label="truth")
        orbit.plot(part["x_propagated"], part["y_propagated"], color=color(place), label=f"trial {number}, propagated")
        for axis, column in zip(errors, wanted, strict=False):
            axis.plot(part["sample"], part[column], color=color(place))
        apart = np.hypot(part["x_propagated"] - part["x"], part["y_propagated"] - part["y"])
        errors[3].plot(part["sample"], apart, color=color(place))
        ends = data.phases.loc[data.phases["trial"] == number]
        by_phase.plot(ends["phase"], ends["val_accel_error_pct"], "o-", color=color(place))
    orbit.plot([0], [0], "o", color=GREY)
    reach = 1.25 * max(data.samples["x"].abs().max(), data.samples["y"].abs().max())
    orbit.set(
        aspect="equal",
        xlim=(-reach, reach),
        ylim=(-reach, reach),
        xlabel="x",
        ylabel="y",
        title=f"test orbit {data.orbit}",
    )
    orbit.figure.legend(*orbit.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    for axis, label in zip(errors, [*wanted.values(), "distance of the propagated orbit"], strict=True):
        axis.set(xlabel="sample of the orbit", ylabel=label)
        for first, last in data.windows:
            axis.axvspan(first, last, color=GREY, alpha=0.08, linewidth=0)
    errors[0].axhline(0, color=GREY, linewidth=0.8)
    by_phase.set(
        xlabel="end of training phase", ylabel="validation error (%)", yscale=scale(data.phases["val_accel_error_pct"])
    )
    by_phase.set_xticks(sorted(set(data.phases["phase"])))
    if data.remark:
        errors[0].set_title(data.remark)
