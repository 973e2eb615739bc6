"""Chooses columns of a table by the names that a user gives, and sorts its rows by them."""

import re
from collections.abc import Iterable, Sequence

import pandas as pd

from analysis.search import Search
from analysis.sources.trial_rows import columns_on_a_page
from analysis.sources.trial_table import mixed_origins
from analysis.tables.cells import cells, sort_key
from analysis.tables.errors import TableError
from search_spaces.errors import nearest

LISTED = 30
"""The most columns that an error lists."""
_COMMA = re.compile(r",(?=(?:[^`]*`[^`]*`)*[^`]*$)")
"""A comma that is in no name in backticks."""


def short_columns(search: Search) -> list[str]:
    """Return the columns of a search's table that fit on a page: what was judged, what was searched, what it took."""
    judged = [one.column for one in (*search.objectives, *search.constraints)]
    searched = [factor.column for factor in search.factors] + ([search.seed] if search.seed else [])
    there = list(search.trials.columns)
    return columns_on_a_page(judged, searched, mixed_origins(search.trials), there)


def names_in(text: str, option: str) -> list[str]:
    """Return the names in a list such as "rank,`val error`"; raises TableError if there is none."""
    names = [name.strip() for name in _COMMA.split(text)]
    names = list(dict.fromkeys(name for name in names if name))
    if not names:
        raise TableError(f"--{option} {text!r}: give names of columns, separated by commas")
    return names


def plain(name: str) -> str:
    """Return a name without its backticks, if it has any."""
    return name[1:-1] if len(name) > 2 and name[0] == name[-1] == "`" else name


def must_be_there(name: str, there: Iterable[object]) -> None:
    """Raise TableError, with the nearest spelling, if there is no such column."""
    columns = [str(column) for column in there]
    if name not in columns:
        near = nearest(name, columns)
        raise TableError(no_column(name, columns, f"Did you mean {near!r}?" if near else ""))


def no_column(name: str, columns: Sequence[str], hint: str) -> str:
    """Return what to say of a column that is not there, with a hint and the first ones of those that are."""
    more = f" and {len(columns) - LISTED} more (--columns all)" if len(columns) > LISTED else ""
    parts = [f"no column {name!r}.", hint, f"Columns: {', '.join(columns[:LISTED])}{more}"]
    return " ".join(filter(None, parts))


def chosen_columns(frame: pd.DataFrame, text: str) -> pd.DataFrame:
    """Return the columns of a frame that a text names, separated by commas; raises TableError if one is not there."""
    names = list(map(plain, names_in(text, "columns")))
    for name in names:
        must_be_there(name, frame.columns)
    return frame.filter(items=names)


def sorted_by(frame: pd.DataFrame, text: str) -> pd.DataFrame:
    """Return the rows sorted by the columns that a text names: "a,-b" is by a, equal ones by b, the largest first.

    Missing values come last; rows that are equal in all columns stay in their order. Raises TableError if a column is
    not there.
    """
    order = list(range(len(frame)))
    for name in reversed(names_in(text, "sort")):
        is_falling = name.startswith("-") and name not in frame.columns
        column = plain(name.removeprefix("-").strip() if is_falling else name)
        must_be_there(column, frame.columns)
        values = cells(frame.loc[:, column])
        known = [row for row in order if values[row] is not None]
        known.sort(key=lambda row: sort_key(values[row]), reverse=is_falling)
        order = known + [row for row in order if values[row] is None]
    return frame.iloc[order]
