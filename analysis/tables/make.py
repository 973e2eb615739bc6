"""Makes the table that a user asked for, of one search or of several."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.search import Search
from analysis.tables.columns import chosen_columns, names_in, plain, sorted_by
from analysis.tables.configurations import by_configuration
from analysis.tables.errors import TableError
from analysis.tables.grouped import grouped
from analysis.tables.request import Request
from analysis.tables.several import Trials, trials_of
from analysis.tables.where import rows_where


@dataclass(frozen=True)
class Made:
    """A table, and what a reader must know of it."""

    frame: pd.DataFrame
    warnings: tuple[str, ...]
    """What the searches say of their trials: several versions of the code, guessed columns."""
    notes: tuple[str, ...]
    """Which trials the numbers are of, texts that no row has, why ranks are apart."""


def make(searches: Sequence[Search], request: Request, *, is_short: bool = False) -> Made:
    """Return the table that was asked for; if `is_short`, a table of trials has the columns that fit on a page.

    Raises TableError if it cannot be made; ExpressionError points at the place in the condition.
    """
    if all(search.trials.empty for search in searches):
        raise TableError("; ".join(map(_no_trials, searches)))
    if request.by and request.by_configuration:
        raise TableError("--by and --by-configuration are two kinds of tables: ask for one of them")
    trials = trials_of(searches)
    frame, notes = trials.frame, list(trials.notes)
    if request.by_configuration:
        if len(searches) > 1:
            raise TableError("--by-configuration is of one search; of several, group with --by search,configuration")
        frame = by_configuration(searches[0])
    if request.where is not None:
        chosen = rows_where(frame, request.where)
        frame = frame.loc[chosen.rows].reset_index(drop=True)
        notes += chosen.remarks
        if frame.empty:
            notes.append(f"the condition holds for no row: {request.where}")
    if request.by:
        frame, said = _grouped(trials, frame, request.by)
        notes += said
    if request.sort:
        frame = sorted_by(frame, request.sort).reset_index(drop=True)
    return Made(_with_columns(frame, trials, request, is_short), trials.warnings, tuple(notes))


def _no_trials(search: Search) -> str:
    return ": ".join([f"{search.name} has no trials yet", *search.remarks])


def _grouped(trials: Trials, frame: pd.DataFrame, by: str) -> tuple[pd.DataFrame, list[str]]:
    chosen = Trials(frame, trials.short, trials.objectives, trials.constraints)
    return grouped(chosen, list(map(plain, names_in(by, "by"))))


def _with_columns(frame: pd.DataFrame, trials: Trials, request: Request, is_short: bool) -> pd.DataFrame:
    top = frame.head(request.top) if request.top else frame
    if request.columns and request.columns != "all":
        return chosen_columns(top, request.columns)
    if request.columns == "all" or request.by or request.by_configuration or not is_short:
        return top
    return top.filter(items=list(trials.short))
