"""Columns of a search's table as figures need them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.drawing.figure import NothingToShowError
from analysis.mattered.comparable import feasible
from analysis.search import Factor, Search


def chosen(search: Search, trials: Sequence[int] | None) -> pd.DataFrame:
    """Return the rows of some trials, or of all."""
    return search.trials if trials is None else search.trials.loc[search.trials["trial"].isin(list(trials))]


def numbers(frame: pd.DataFrame, column: str) -> np.ndarray:
    """Return a column as floats; NaN if a value, or the whole column, is not there or no number."""
    if column not in frame.columns:
        return np.full(len(frame), np.nan)
    return np.asarray(pd.to_numeric(frame[column], errors="coerce"), dtype=float)


def is_compared(search: Search, frame: pd.DataFrame) -> np.ndarray:
    """Return which trials are compared: completed ones with a finite objective that keep all constraints."""
    finite = np.isfinite(numbers(frame, search.objective.column))
    return (frame["outcome"] == "completed").to_numpy() & finite & feasible(search, frame).to_numpy()


def completed_with_value(search: Search, trials: Sequence[int] | None, least: int = 1) -> pd.DataFrame:
    """Return the completed trials that have a finite objective and keep all constraints.

    Raises NothingToShowError if there are fewer than `least`.
    """
    frame = chosen(search, trials)
    found = frame.loc[is_compared(search, frame)]
    if len(found) < least:
        wanted = "no trial has" if least == 1 else f"fewer than {least} trials have"
        within = ", keeping all constraints" if search.constraints else ""
        raise NothingToShowError(f"{wanted} completed with a finite {search.objective.column}{within}")
    return found


def cpus_per_trial(search: Search) -> int:
    """Return the CPUs that each trial holds; one if the source does not know."""
    return search.spec.resources.cpus_per_trial if search.spec else 1


def varied(search: Search, frame: pd.DataFrame) -> list[Factor]:
    """Return the factors that have more than one value among some trials."""
    present = [factor for factor in search.factors if factor.column in frame.columns]
    return [factor for factor in present if len({str(value) for value in frame[factor.column].dropna()}) > 1]


def two_factors(
    search: Search, frame: pd.DataFrame, x: str, y: str, *, are_numbers: bool = False
) -> tuple[Factor, Factor]:
    """Return the factors named `x` and `y`; of those that are not named, the first that vary.

    Raises NothingToShowError if fewer than two vary, and NotThereError if there is none of a name.
    """
    named = [search.factor(name) if name else None for name in (x, y)]
    others = [one for one in varied(search, frame) if one not in named and (one.is_number or not are_numbers)]
    missing = sum(one is None for one in named)
    if len(others) < missing:
        what = "ranges of numbers" if are_numbers else "factors"
        raise NothingToShowError(f"it needs two {what} that vary")
    first, second = (one or others.pop(0) for one in named)
    return first, second


def best_and_some(num: int, most: int) -> list[int]:
    """Return the places of `most` of `num` trials, best first: the best half, and some of the others at equal steps."""
    if num <= most:
        return list(range(num))
    return [*range(most // 2), *np.linspace(most // 2, num - 1, most - most // 2).astype(int).tolist()]
