"""The values of a table as plain ones, and what they are."""

import math
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd

Cell = bool | int | float | str | None
"""A value of a table; None if it is missing."""


class Kind(Enum):
    """What the values of a part are; the value is what messages call it."""

    NUMBER = "a number"
    TEXT = "text"
    TRUTH = "true or false"
    NONE = "None"
    ANY = "of several kinds"
    """Known for each row alone: a column with numbers and texts, or without any value."""


def cells(column: pd.Series) -> list[Cell]:
    """Return a column's values as plain ones: None where they are missing."""
    return [_plain(value) for value in column.tolist()]


def _plain(value: Any) -> Cell:
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return None if math.isnan(value) else value
    return value if isinstance(value, bool | int | str) else str(value)


def kind_of(value: Cell) -> Kind:
    """Return what a value is."""
    if value is None:
        return Kind.NONE
    if isinstance(value, bool):
        return Kind.TRUTH
    return Kind.TEXT if isinstance(value, str) else Kind.NUMBER


def sort_key(value: Cell) -> tuple[int, Any]:
    """Return a key that sorts values of one column: numbers by size, texts by their letters, kinds apart."""
    kind = kind_of(value)
    return list(Kind).index(kind), value


def numbers(frame: pd.DataFrame, column: str) -> np.ndarray:
    """Return a column's numbers; NaN where it has none, and everywhere if there is no such column."""
    if column not in frame.columns:
        return np.full(len(frame), np.nan)
    known = (value if kind_of(value) is Kind.NUMBER else None for value in cells(frame.loc[:, column]))
    return np.array([math.nan if value is None else float(value) for value in known])
