"""Makes factors of columns: whether one is a range or a choice, and when it applies."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.search import Factor
from analysis.sources.roles import is_numeric
from analysis.sources.table_file import is_missing

MOST_LEVELS = 6
"""A column of numbers with no more different values than this, each seen twice on average, is a choice."""
LOG_RATIO = 100.0
"""A range of positive numbers over at least this ratio was searched over orders of magnitude."""


def factor_of(column: pd.Series, name: str) -> Factor:
    """Return what a column of a table's parameters is, judged by its values."""
    known = [value for value in column.tolist() if not is_missing(value)]
    values = sorted(set(known), key=_natural)
    if not is_numeric(column):
        return Factor(name, levels=tuple(values))
    whole = all(math.isfinite(value) and value % 1 == 0 for value in values)
    if len(values) <= MOST_LEVELS and len(known) >= 2 * len(values):
        return Factor(name, levels=tuple(int(value) if whole else value for value in values))
    is_log = values[0] > 0 and values[-1] >= LOG_RATIO * values[0]
    return Factor(name, is_log=is_log, is_whole=whole)


def _natural(value: Any) -> tuple[Any, ...]:
    """Return a key that sorts numbers by size, and texts by their words and the numbers in them."""
    if not isinstance(value, str):
        return (0, value)
    parts = re.split(r"(\d+)", value)
    return (1, tuple((0, int(part), "") if part.isdecimal() else (1, 0, part.lower()) for part in parts if part), value)


def conditions_of(trials: pd.DataFrame, factors: Sequence[Factor]) -> dict[str, Mapping[str, tuple[Any, ...]]]:
    """Return when each factor that not all trials have applies: the first choice whose levels decide it."""
    found: dict[str, Mapping[str, tuple[Any, ...]]] = {}
    cells = {factor.column: list(trials[factor.column]) for factor in factors}
    choices = [factor for factor in factors if factor.levels and len(factor.levels) > 1]
    choices.sort(key=lambda factor: not isinstance((factor.levels or [""])[0], str))  # a name is what mostly decides
    for factor in factors:
        is_there = [not is_missing(value) for value in cells[factor.column]]
        if all(is_there) or not any(is_there):
            continue
        for choice in choices:
            if choice.column != factor.column and (levels := _deciding(cells[choice.column], is_there, choice)):
                found[factor.column] = {choice.column: levels}
                break
    return found


def _deciding(chosen: Sequence[Any], is_there: Sequence[bool], choice: Factor) -> tuple[Any, ...]:
    """Return the levels of a choice with which something is there, if with all others it is not; else nothing."""
    with_it = {value for value, there in zip(chosen, is_there, strict=True) if there}
    without = {value for value, there in zip(chosen, is_there, strict=True) if not there and not is_missing(value)}
    if any(map(is_missing, with_it)) or with_it & without or not without:
        return ()
    return tuple(level for level in choice.levels or () if level in with_it)
