"""The trials as the page's script reads them: the table's columns, and the curves of every trial."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.report.packing import shown
from analysis.report.tables import text_of
from analysis.search import Search

MOST_NUMBERS = 1_200_000
"""Numbers of all curves together: with more, each curve gets fewer points."""
POINTS = (12, 300)
"""The fewest and the most points of one curve."""
MOST_METRICS = 12
MOST_CHARACTERS = 300
"""Of one text in the table."""
_OF_A_TRIAL = ("steps_trained", "wall_time_s")


def trial_data(search: Search, failures: Mapping[int, str]) -> dict[str, Any]:
    """Return what the page's script needs of a search: columns, what they are, and which of them is seen at first.

    `failures` say why a trial failed.
    """
    trials = search.trials
    configured = _configured(search)
    judged = [*(one.column for one in search.objectives), *(one.column for one in search.constraints)]
    factors = [one.column for one in search.factors]
    repeated = [search.seed] if search.seed else []
    seen = ["rank", "trial", "outcome", "feasible", *judged, *factors, *repeated, *_OF_A_TRIAL]
    if not search.constraints:
        seen.remove("feasible")
    order = list(dict.fromkeys([*seen, *map(str, trials.columns)]))
    columns = [_column(name, trials, configured, name in seen) for name in order if name in trials.columns]
    return {
        "name": shown(search.name),
        "objectives": [{"column": shown(one.column), "mode": one.mode} for one in search.objectives],
        "factors": list(map(shown, [*factors, *repeated])),
        "best": _best(search),
        "columns": [column for column in columns if column is not None],
        "failures": {str(number): shown(why) for number, why in failures.items()},
        "isDirectory": search.paths is not None,
    }


def _best(search: Search) -> int | None:
    return int(search.completed["trial"].iloc[0]) if len(search.completed) else None


def _configured(search: Search) -> set[str]:
    """Return the columns that are fields of the configuration."""
    names = {one.column for one in search.factors} | ({search.seed} if search.seed else set())
    if len(search.trials):
        fields = search.config(int(search.trials["trial"].iloc[0]))
        names |= {name if f"config.{name}" not in search.trials.columns else f"config.{name}" for name in fields}
    return names


def _column(name: str, trials: pd.DataFrame, configured: set[str], is_seen: bool) -> dict[str, Any] | None:
    """Return a column: numbers with eight digits, or texts; None if it is empty."""
    values = trials[name].tolist()
    if all(map(_is_missing, values)) and name not in configured and not is_seen:
        return None
    kinds = {type(value) for value in values if not _is_missing(value)}
    is_number = bool(kinds) and not any(issubclass(kind, str | bool | np.bool_ | list | dict | tuple) for kind in kinds)
    return {
        "name": shown(name),
        "isNumber": is_number,
        "isConfig": name in configured,
        "isSeen": is_seen,
        "values": [_number(value) if is_number else _text(value) for value in values],
    }


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _number(value: Any) -> float | int | str | None:
    """Return a number for JSON, which knows no infinities: these become texts; what is missing is None."""
    if _is_missing(value):
        return None
    if isinstance(value, int | np.integer):
        return int(value)
    return float(f"{value:.8g}") if math.isfinite(value) else ("inf" if value > 0 else "-inf")


def _text(value: Any) -> str:
    if _is_missing(value):
        return ""
    text = shown(text_of(value) if not isinstance(value, int | float) or isinstance(value, bool) else f"{value:.8g}")
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]} [...]"


def curves(search: Search) -> dict[str, Any]:
    """Return the curves of every trial: its steps and its metrics, thinned so that all of them fit into the page.

    What is left of a thinned curve always has its first and its last report.
    """
    histories = search.histories
    own = {"trial", "step", "seconds"}
    numeric = [name for name in histories.columns if name not in own and pd.api.types.is_numeric_dtype(histories[name])]
    first = [one.column for one in search.objectives if one.column in numeric]
    metrics = [*first, *(name for name in numeric if name not in first)][:MOST_METRICS]
    if histories.empty or not metrics:
        return {"metrics": [], "trials": {}, "points": 0, "isThinned": False}
    numbers = histories["trial"].to_numpy()
    starts = np.flatnonzero(np.r_[True, numbers[1:] != numbers[:-1]])
    ends = np.r_[starts[1:], len(numbers)]
    most = int(np.clip(MOST_NUMBERS // (len(starts) * (len(metrics) + 1)), *POINTS))
    kept = np.concatenate([_thinned(*ends_of, most) for ends_of in zip(starts.tolist(), ends.tolist(), strict=True)])
    thin = histories.iloc[kept]
    series = [thin["step"].tolist(), *(_rounded(thin[name]) for name in metrics)]
    numbers = thin["trial"].to_numpy()
    starts = np.flatnonzero(np.r_[True, numbers[1:] != numbers[:-1]])
    ends = np.r_[starts[1:], len(numbers)]
    return {
        "metrics": list(map(shown, metrics)),
        "trials": {
            str(numbers[start]): [values[start:end] for values in series]
            for start, end in zip(starts, ends, strict=True)
        },
        "points": most,
        "isThinned": len(thin) < len(histories),
    }


def _thinned(start: int, end: int, most: int) -> np.ndarray:
    if end - start <= most:
        return np.arange(start, end)
    return np.unique(np.linspace(start, end - 1, most).round().astype(int))


def _rounded(values: pd.Series) -> list[float | None]:
    return [float(f"{value:.4g}") if math.isfinite(value) else None for value in values.astype("float64")]
