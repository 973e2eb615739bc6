"""Makes a search of any table of trials: a csv file, a W&B export of runs, a data frame."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from analysis.search import Factor, Objective, Search, no_histories
from analysis.sources.errors import SourceError
from analysis.sources.factors import conditions_of, factor_of
from analysis.sources.ranking import with_ranks
from analysis.sources.roles import OUTCOME_WORDS, Roles, Told, find_roles, is_numeric, is_whole
from analysis.sources.table_file import RawTable, read_table
from cluster.state.outcomes import Outcome
from cluster.wording import count

OURS = ("rank", "trial", "configuration", "outcome", "feasible")
"""Columns that every search has, or that follow from others: a table's own of these names are made anew."""
STEPS, SECONDS = "steps_trained", "wall_time_s"
SAY_SO = "Guessed, as nothing else was said (objective=, mode=, parameters=, seed=, steps=, trial=, outcome=): "


def search_of_table(source: str | Path | pd.DataFrame, told: Told, name: str | None = None) -> Search:
    """Return the search in a table with a row per trial, or per report of a trial.

    Raises SourceError if the table cannot be read, or if its columns do not fit.
    """
    table = read_table(source)
    _refuse_charts(table)
    roles = find_roles(table, told)
    reports = None
    if roles.trial is not None and roles.steps is not None and table.frame[roles.trial].duplicated().any():
        table, reports = _last_rows(table, roles)
    own_name = name or (Path(source).stem if isinstance(source, str | Path) else "table")
    return _Builder(table, roles, own_name, reports).search()


def _refuse_charts(table: RawTable) -> None:
    """Raise SourceError if a table is W&B's export of a chart, which has a column per run."""
    charted = [name for name in table.columns if name.endswith(("__MIN", "__MAX")) and " - " in name]
    if charted:
        raise SourceError(
            f"{table.name} is W&B's export of a chart, with a column per run: export the table of runs instead "
            f"(Runs, then the download button above the table)"
        )


def _last_rows(table: RawTable, roles: Roles) -> tuple[RawTable, pd.DataFrame]:
    """Return the last report of each trial as a table, and all reports by trial and step."""
    assert roles.trial is not None
    assert roles.steps is not None
    by_step = table.frame.sort_values(roles.steps, kind="stable")
    last = sorted(by_step.drop_duplicates(roles.trial, keep="last").index)
    places = [table.places[row] for row in last]
    whole = replace(table, frame=table.frame.loc[last].reset_index(drop=True), places=places)
    return whole, by_step


class _Builder:
    """Makes the search of a table whose columns' roles are known."""

    def __init__(self, table: RawTable, roles: Roles, name: str, reports: pd.DataFrame | None) -> None:
        self._table, self._roles, self._name, self._reports = table, roles, name, reports
        self._frame = table.frame
        self._remarks = [*table.remarks]
        self._objectives = tuple(Objective(self._column(one), mode) for one, mode in roles.objectives)

    def search(self) -> Search:
        """Return the search."""
        trials = self._own_columns()
        for name in self._roles.parameters:
            trials[self._column(name)] = self._table.cells(name)
        factors = [factor_of(self._table.cells(name), self._column(name)) for name in self._roles.parameters]
        factors = [factor for factor in factors if factor.levels is None or factor.levels]
        conditions = conditions_of(trials, factors)
        factors = [replace(factor, conditions=conditions.get(factor.column, {})) for factor in factors]
        seed, seeds = self._seeds(trials, factors)
        trials = pd.concat([trials, self._rest(trials)], axis=1)
        ranked = with_ranks(trials, self._objectives, seed=seed)
        self._say_guesses(factors)
        columns = [factor.column for factor in factors] + ([seed] if seed else [])
        configs = {row["trial"]: _config(row, columns) for row in ranked.to_dict("records")}
        return Search(
            name=self._name,
            trials=ranked,
            factors=tuple(factors),
            objectives=self._objectives,
            seed=seed,
            seeds=seeds,
            remarks=tuple(self._remarks),
            read_histories=self._histories,
            read_config=configs.__getitem__,
        )

    def _column(self, name: str) -> str:
        """Return what a column is called in the search's table."""
        if name == self._roles.steps and name not in [one for one, _ in self._roles.objectives]:
            return STEPS
        return f"config.{name}" if name in OURS else name

    def _own_columns(self) -> pd.DataFrame:
        """Return the columns that every search has, with the objectives and what a trial used."""
        self._numbers = self._trial_numbers()
        trials = pd.DataFrame({"trial": self._numbers, "configuration": self._numbers, "outcome": self._outcomes()})
        for name, _ in self._roles.objectives:
            trials[self._column(name)] = self._table.cells(name)
        for name, column in ((self._roles.steps, STEPS), (self._roles.seconds, SECONDS)):
            if name is not None and column not in trials.columns:
                trials[column] = self._table.cells(name)
        if self._roles.seed is not None:
            trials[self._column(self._roles.seed)] = self._table.cells(self._roles.seed)
        return trials

    def _trial_numbers(self) -> pd.Series:
        """Return each trial's number: the table's own, else by when it began, else by its row."""
        name, created = self._roles.trial, self._roles.created
        if name is not None and is_whole(self._table.cells(name)):
            numbers = self._table.cells(name).astype("int64")
            twice = np.flatnonzero(numbers.duplicated())
            if len(twice):
                raise SourceError(
                    f"{self._table.places[twice[0]]}: {name} = {numbers.iloc[twice[0]]} is there a second time; "
                    f"if rows are reports of a trial, say which column has the steps with steps="
                )
            return numbers
        order = pd.Series(range(len(self._frame)), dtype="int64")
        if created is not None:
            began = self._table.cells(created)
            if not is_numeric(began):
                began = pd.to_datetime(began, errors="coerce", format="mixed", utc=True)
            if began.notna().all():
                self._remarks.append(f"trials are numbered from 0 in the order of {created}")
                return began.rank(method="first").astype("int64") - 1
        if name is not None:
            self._remarks.append(f"trials are numbered from 0 in the order of the rows; {name} has their names")
        return order

    def _outcomes(self) -> list[str]:
        objectives = self._frame.filter(items=[name for name, _ in self._roles.objectives]).to_numpy(dtype=float)
        is_finite = [bool(np.isfinite(row).all()) for row in objectives]
        name = self._roles.outcome
        if name is None:
            if not all(is_finite):
                absent = count(is_finite.count(False), "row")
                self._remarks.append(f"{absent} without a finite objective: taken as crashed trials")
            return [Outcome.COMPLETED.value if good else Outcome.CRASHED.value for good in is_finite]
        found = []
        for row, cell in enumerate(self._table.cells(name)):
            said = OUTCOME_WORDS.get(str(cell).strip().lower()) if isinstance(cell, str) else None
            if said is None:
                raise SourceError(
                    f"{self._table.places[row]}: {name} = {cell!r} is no outcome. Allowed: {', '.join(OUTCOME_WORDS)}"
                )
            found.append(said)
        without = [row for row, said in enumerate(found) if said == Outcome.COMPLETED.value and not is_finite[row]]
        for row in without:
            found[row] = Outcome.DIVERGED.value
        if without:
            said = count(len(without), "completed trial")
            self._remarks.append(f"{said} without a finite objective: taken as diverged")
        return found

    def _seeds(self, trials: pd.DataFrame, factors: Sequence[Factor]) -> tuple[str | None, tuple[Any, ...]]:
        """Tie the trials of equal parameters; return the seed's column and the seeds, if something was repeated."""
        if self._roles.seed is None:
            return None, ()
        seed = self._column(self._roles.seed)
        by_number = trials.sort_values("trial")
        columns = [factor.column for factor in factors]
        if columns:
            ids = by_number.groupby(columns, sort=False, dropna=False).ngroup()
        else:
            ids = pd.Series(0, index=by_number.index)
        sets: dict[int, set[Any]] = {}
        for key, value in zip(ids, by_number[seed], strict=True):
            sets.setdefault(key, set()).add(value)
        most = max(map(len, sets.values()))
        if most < 2:
            self._remarks.append(f"no parameters were tried with more than one {seed}: nothing was repeated")
            return None, ()
        trials["configuration"] = ids.astype("int64")
        seeds = sorted(set(trials[seed]))
        return seed, tuple(seeds) if len(seeds) == most else ()

    def _rest(self, trials: pd.DataFrame) -> pd.DataFrame:
        """Return the other columns, as they are."""
        known = {*self._roles.parameters, *self._roles.not_searched, *OURS, *trials.columns}
        if self._roles.created is not None:
            known.discard(self._roles.created)
        if self._roles.trial is not None and not is_whole(self._table.cells(self._roles.trial)):
            renamed = {self._roles.trial: self._column(self._roles.trial)}
            return self._frame.filter(items=[*renamed]).rename(columns=renamed).join(self._others(known | {*renamed}))
        return self._others(known)

    def _others(self, known: set[str]) -> pd.DataFrame:
        others = self._frame.filter(items=[name for name in self._table.columns if name not in known])
        return others.dropna(axis=1, how="all")

    def _say_guesses(self, factors: Sequence[Factor]) -> None:
        guessed = [one for one in self._roles.guessed if not one.startswith("the parameters are")]
        if len(guessed) < len(self._roles.guessed):
            some = ", ".join(map(_described, factors)) or "none: no other column varies"
            guessed.append(f"the parameters are {some}")
        if guessed:
            self._remarks.append(SAY_SO + "; ".join(guessed))

    def _histories(self) -> pd.DataFrame:
        reports, trial, steps = self._reports, self._roles.trial, self._roles.steps
        if reports is None or trial is None or steps is None:
            return no_histories()
        number_of = dict(zip(self._table.cells(trial), self._numbers, strict=True))
        seconds = self._roles.seconds
        own = {
            "trial": pd.Series([number_of[one] for one in reports[trial]], index=reports.index),
            "step": reports[steps].astype("int64"),
        }
        own["seconds"] = reports[seconds].astype("float64") if seconds else pd.Series(np.nan, index=reports.index)
        left_out = {trial, steps, seconds, *self._roles.parameters, self._roles.seed}
        columns = [(name, cast("pd.Series", reports[name])) for name in self._table.columns if name not in left_out]
        metrics = {name: cells for name, cells in columns if is_numeric(cells) and len(set(cells)) > 1}
        frame = pd.DataFrame(own | metrics)
        return frame.sort_values(["trial", "step"], kind="stable", ignore_index=True)


def _described(factor: Factor) -> str:
    """Return a factor with what was guessed of it, as a remark says it."""
    if factor.levels is not None:
        kind = f"choice of {len(factor.levels)}"
    else:
        kind = f"range{' of whole numbers' if factor.is_whole else ''}{', log' if factor.is_log else ''}"
    when = ", ".join(f"{name} is {' or '.join(map(str, values))}" for name, values in factor.conditions.items())
    return f"{factor.column} ({kind}{f', if {when}' if when else ''})"


def _config(row: dict[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    return {name: row[name] for name in columns if not pd.isna(row[name])}
