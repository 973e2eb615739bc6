"""The one style of all figures: its colours, and axes that suit the values on them."""

import functools
import math
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

STYLE = Path(__file__).with_name("swell.mplstyle")
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#8c6bb1", "#7a7a7a")
"""Okabe and Ito's colours (2008), which colour-blind readers tell apart, less those that are lost on white or black."""
GREY = "#7a7a7a"
"""Text, axes and whatever stands back; SVGs get the page's own text colour instead."""
OUTCOME_COLORS = {"completed": "#009E73", "pruned": "#56B4E9", "running": "#7a7a7a", "stopped": "#8c6bb1"}
"""All other outcomes are failures."""
FAILED = "#D55E00"
DECADES = 1.2
"""Values over more orders of magnitude than this are drawn on a logarithmic axis."""


def styled() -> AbstractContextManager[Any]:
    """Return a context in which matplotlib draws in the style."""
    return mpl.rc_context(rc=_parameters())


@functools.cache
def _parameters() -> Any:
    return dict(mpl.rc_params_from_file(STYLE, use_default_template=False))


def color(index: int) -> str:
    """Return the colour of a series by its place."""
    return COLORS[index % len(COLORS)]


def outcome_color(outcome: str) -> str:
    """Return the colour of an outcome: one for every kind of failure."""
    return OUTCOME_COLORS.get(outcome, FAILED)


def spans_decades(values: Iterable[float]) -> bool:
    """Return whether values are all positive and over orders of magnitude, so that a logarithmic axis suits them."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return bool(finite) and min(finite) > 0 and math.log10(max(finite) / min(finite)) > DECADES


def scale(values: Iterable[float]) -> str:
    """Return the scale of an axis for values: "log" or "linear"."""
    return "log" if spans_decades(values) else "linear"


def shorten(text: object, most: int = 28) -> str:
    """Return a label that is not too long to be drawn, and of which nothing is read as mathematics."""
    said = " ".join((f"{text:.4g}" if isinstance(text, float) else str(text)).split())
    if len(said) > most:  # names of a family differ at their ends
        said = f"{said[: most // 2 - 1]}…{said[-(most - most // 2) :]}"
    return said.replace("$", r"\$")


def finite_share(values: Sequence[float]) -> tuple[np.ndarray, int]:
    """Return the finite ones among values, and how many are not."""
    array = np.asarray(values, dtype=float)
    finite = array[np.isfinite(array)]
    return finite, len(array) - len(finite)


def time_unit(hours: Sequence[float] | np.ndarray) -> tuple[float, str]:
    """Return what hours are multiplied by for an axis that reads well, and the unit's name."""
    longest = max((abs(value) for value in hours if math.isfinite(value)), default=0.0)
    if longest < 3 / 60:
        return 3600.0, "seconds"
    return (60.0, "minutes") if longest < 3 else (1.0, "hours")
