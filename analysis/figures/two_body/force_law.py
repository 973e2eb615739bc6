"""How the learned force falls with the distance: its slope, and the radius at which it no longer attracts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.drawing.models import pictures
from analysis.drawing.style import GREY, color
from analysis.search import Search

TITLE = "Force law"
SENTENCE = (
    "The strength of the learned acceleration against the radius, both logarithmic; the truth falls with slope -2 "
    "(dashed). The grey area is the radii of the training data; a cross marks the nearest radius outside them at which "
    "the field no longer attracts in every direction."
)


@dataclass(frozen=True)
class Law:
    """The force law of one trial."""

    slope: float
    """Of log |a| against log r, fitted over the radii of the training data."""
    trained: tuple[float, float]
    fails_inside: float | None
    """The largest radius below those of the training data at which some direction is not attracted."""
    fails_outside: float | None
    """The smallest such radius above them."""
    fails_within: float
    """The share of the trained radii, in percent, at which some direction is not attracted."""


@dataclass(frozen=True)
class ForceLaw:
    """Strengths by radius, and the law of each trial."""

    laws: dict[int, Law]
    curves: pd.DataFrame
    """trial, radius, strength, low and high (median and range over directions), attracts (share of them, percent)."""
    remark: str

    def table(self) -> pd.DataFrame:
        """Return the strengths, with each trial's slope beside them."""
        return self.curves.assign(slope=[self.laws[number].slope for number in self.curves["trial"]])


def info(search: Search, trials: Sequence[int] | None = None) -> ForceLaw:
    """Return the force laws of trials whose models are kept."""
    found, remark = pictures(search, trials, "radii")
    return force_law(found, remark)


def force_law(found: Mapping[int, Mapping[str, np.ndarray]], remark: str = "") -> ForceLaw:
    """Return force laws from fields on circles."""
    curves = [
        pd.DataFrame(
            {
                "trial": number,
                "radius": one["radius"],
                "strength": np.median(one["strength"], axis=1),
                "low": one["strength"].min(axis=1),
                "high": one["strength"].max(axis=1),
                "attracts": 100 * np.mean(one["radial"] < 0, axis=1),
            }
        )
        for number, one in found.items()
    ]
    return ForceLaw({number: law(one) for number, one in found.items()}, pd.concat(curves, ignore_index=True), remark)


def law(one: Mapping[str, np.ndarray]) -> Law:
    """Return the fitted slope, and where attraction fails."""
    radius, (low, high) = one["radius"], one["trained"]
    within = (radius >= low) & (radius <= high)
    if within.sum() < 2:  # a circular orbit: the radii next to it
        within = np.isin(np.arange(len(radius)), np.argsort(np.abs(np.log(radius / np.sqrt(low * high))))[:3])
    strength = np.median(one["strength"], axis=1)
    usable = within & (strength > 0) & np.isfinite(strength)
    slope = np.polyfit(np.log(radius[usable]), np.log(strength[usable]), 1)[0] if usable.sum() > 1 else np.nan
    fails = np.any(one["radial"] >= 0, axis=1) | np.isnan(one["radial"]).any(axis=1)
    inside, outside = radius[fails & (radius < low)], radius[fails & (radius > high)]
    return Law(
        float(slope),
        (float(low), float(high)),
        float(inside.max()) if len(inside) else None,
        float(outside.min()) if len(outside) else None,
        100 * float(np.mean(np.extract(within, fails))),
    )


def draw(data: ForceLaw, axes: Any) -> None:
    """Draw the strengths, the truth, the training data's radii and where attraction fails."""
    r = np.array([data.curves["radius"].min(), data.curves["radius"].max()])
    axes.plot(r, r**-2.0, color=GREY, linestyle="--", linewidth=1.2, label="truth: slope -2")
    trained = {one.trained for one in data.laws.values()}
    for place, (low, high) in enumerate(sorted(trained)):
        axes.axvspan(
            low, high, color=GREY, alpha=0.15, linewidth=0, label="" if place else "radii of the training data"
        )
    for place, (number, curve) in enumerate(data.curves.groupby("trial", sort=False)):
        one = data.laws[int(str(number))]
        label = f"trial {number}: slope {one.slope:.2f}"
        if one.fails_within > 0:
            label += f", fails at {one.fails_within:.0f} % of trained radii"
        axes.plot(curve["radius"], curve["strength"], color=color(place), label=label)
        axes.fill_between(curve["radius"], curve["low"], curve["high"], color=color(place), alpha=0.15, linewidth=0)
        for fails in (one.fails_inside, one.fails_outside):
            if fails is not None:
                y = float(np.interp(fails, curve["radius"], curve["strength"]))
                axes.plot([fails], [y], "X", color=color(place), markersize=9, markeredgecolor=GREY)
    if any(one.fails_inside or one.fails_outside for one in data.laws.values()):
        axes.plot([], [], "X", color=GREY, markersize=8, linestyle="none", label="attraction fails")
    strengths = data.curves["strength"].to_numpy()
    positive = np.extract(strengths > 0, strengths)
    bottom, top = min(positive.min(), r[1] ** -2.0), max(positive.max(), r[0] ** -2.0)
    axes.set(xscale="log", yscale="log", xlim=tuple(r), ylim=(max(bottom / 2, 1e-6), min(top * 2, 1e6)))
    axes.set(xlabel="radius (geostationary radii)", ylabel="|a| (median over directions)", title=data.remark)
    axes.legend(loc="lower left")
