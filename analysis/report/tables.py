"""Tables of the report: frames as rows of text, with what a column is."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Cell:
    """One value of a table, as it is read."""

    text: str
    share: float | None = None
    """How far the bar behind it reaches, from 0 to 1; None if it has none."""


@dataclass(frozen=True)
class Table:
    """A table with a caption; its first column names the rows."""

    caption: str
    head: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: list[tuple[Cell, ...]] = field(default_factory=list)


def table_of(
    frame: pd.DataFrame, caption: str, names: Mapping[str, str] | None = None, bars: Sequence[str] = ()
) -> Table:
    """Return a frame as a table; `names` are the headings of columns, and `bars` the columns of shares."""
    names = names or {}
    columns = [str(name) for name in frame.columns]
    return Table(
        caption=caption,
        head=tuple(names.get(name, name.replace("_", " ") if name in OUR_WORDS else name) for name in columns),
        numeric=tuple(_is_numeric(frame.iloc[:, place]) for place in range(len(columns))),
        rows=[
            tuple(_cell(value, name in bars) for name, value in zip(columns, row, strict=True))
            for row in frame.itertuples(index=False, name=None)
        ],
    )


OUR_WORDS = {"failed_share", "pruned_share", "core_hours", "wall_time_s", "steps_trained", "infeasible_share"}
"""Columns of ours that read better without the underscore; a user's name stays as it is."""


def _is_numeric(column: pd.Series) -> bool:
    if pd.api.types.is_bool_dtype(column.dtype):
        return False
    if pd.api.types.is_numeric_dtype(column.dtype):
        return True
    kinds = {type(value) for value in column.dropna().tolist()}
    return bool(kinds) and all(issubclass(kind, int | float | np.number) and kind is not bool for kind in kinds)


def _cell(value: Any, is_share: bool) -> Cell:
    if is_share and isinstance(value, int | float) and math.isfinite(value):
        return Cell(f"{value:.0%}", min(max(float(value), 0.0), 1.0))
    return Cell(text_of(value))


def text_of(value: Any) -> str:
    """Return a value as people read it: four digits of a number, nothing for what is missing."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool) or type(value).__name__ == "bool":
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, tuple | list):
        return ", ".join(map(text_of, value))
    return str(value)


def listed(words: Iterable[str], last: str = "and") -> str:
    """Return words as a phrase: a, b and c."""
    found = list(words)
    return f" {last} ".join([", ".join(found[:-1]), found[-1]]) if len(found) > 1 else "".join(found)
