"""Test haloes, and what the best emulator and the baselines predict of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.drawing.models import pictures
from analysis.drawing.style import COLORS, GREY
from analysis.search import Search

TITLE = "Test haloes"
SENTENCE = (
    "Test haloes at the quartiles of one emulator's error: the truth (points), its mean with the 68 and 95 % intervals "
    "(blue), and the baselines' means (lines), all less the mean profile of training haloes of like mass."
)
LEVEL = "mean_profile_mean"
"""What is subtracted: profiles fall by orders of magnitude, beside which no error could be seen."""


@dataclass(frozen=True)
class ShownProfiles:
    """Three haloes."""

    trial: int
    baselines: list[str]
    bins: pd.DataFrame
    """halo, log_mass, radius, truth, model, std and each baseline's mean, in dex less the mean profile."""
    in_r200: bool
    remark: str
    size: tuple[float, float] = (9.6, 4.0)

    def table(self) -> pd.DataFrame:
        """Return the bins."""
        return self.bins


def info(search: Search, trials: Sequence[int] | None = None) -> ShownProfiles:
    """Return test haloes as the best kept model, or the first named one, predicts them."""
    found, remark = pictures(search, trials, "profiles", 1)
    ((number, arrays),) = found.items()
    return shown_profiles(number, arrays, remark)


def shown_profiles(number: int, arrays: Mapping[str, np.ndarray], remark: str = "") -> ShownProfiles:
    """Return the haloes at the quartiles of the model's error."""
    order = np.argsort(np.mean((arrays["mean"] - arrays["target"]) ** 2, axis=1))
    names = [key.removesuffix("_mean") for key in arrays if key.endswith("_mean") and key != LEVEL]
    parts = []
    for place in sorted({len(order) // 4, len(order) // 2, 3 * len(order) // 4}):
        halo = int(order[place])
        shown = {"truth": "target", "model": "mean", **{name: f"{name}_mean" for name in names}}
        columns = {name: arrays[key][halo] - arrays[LEVEL][halo] for name, key in shown.items()}
        own = {"halo": halo, "log_mass": float(arrays["log_mass"][halo]), "radius": arrays["radius"]}
        parts.append(pd.DataFrame({**own, **columns, "std": arrays["std"][halo]}))
    in_r200 = bool(arrays["radius"][0] < 1)
    return ShownProfiles(number, names, pd.concat(parts, ignore_index=True), in_r200, remark)


def panels(data: ShownProfiles) -> tuple[int, int]:
    """Return a panel for each halo."""
    return (1, len(set(data.bins["halo"])))


def draw(data: ShownProfiles, axes: Any) -> None:
    """Draw the haloes, all on the same scale."""
    flat = np.atleast_1d(axes).ravel()
    for axis, (_, part) in zip(flat, data.bins.groupby("halo", sort=False), strict=True):
        radius, model = part["radius"], part["model"]
        axis.axhline(0, color=GREY, linewidth=1, linestyle=":")
        for width, alpha in ((1.96, 0.15), (0.994, 0.3)):
            low, high = model - width * part["std"], model + width * part["std"]
            axis.fill_between(radius, low, high, color=COLORS[0], alpha=alpha, linewidth=0)
        axis.plot(radius, model, color=COLORS[0], label=f"trial {data.trial}")
        for index, name in enumerate(data.baselines, start=1):
            axis.plot(radius, part[name], color=COLORS[index], linestyle="--", label=name.replace("_", " "))
        axis.plot(radius, part["truth"], color=GREY, linestyle="none", marker="o", markersize=3, label="truth")
        if data.in_r200:
            axis.set_xscale("log")
        axis.set_title(f"$10^{{{part['log_mass'].iloc[0]:.1f}}}$ solar masses")
        axis.set_xlabel("radius (R200c)" if data.in_r200 else "radial bin")
    shown = [data.bins["truth"], *(data.bins["model"] + width * data.bins["std"] for width in (-1.96, 1.96))]
    low, high = min(one.min() for one in shown), max(one.max() for one in shown)
    for axis in flat:
        axis.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
    flat[0].set_ylabel("less the mean profile (dex)")
    flat[0].figure.legend(*flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    if data.remark:
        flat[0].set_title(f"{flat[0].get_title()} ({data.remark})")
