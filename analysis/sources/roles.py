"""Which columns of a table are what: as the caller says, else guessed from their names and values.

The rules, which `docs/analysis.md` tells users:

- objective: a column of numbers that varies and is called like a metric; one of validation before one of no part of the
  data, before tests, before training; the first of equals. Its name says whether small or large is good.
- seed: a column of whole numbers that is called a seed.
- steps, seconds: what is called like how far and how long a trial trained.
- trial, outcome: by their names, if their values fit.
- parameters: what varies and is none of these, no metric, and no description of the run (name, host, times, ids). If a
  tool has marked its parameters (`params_`, `config/`), those and no others.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from analysis.sources import names
from analysis.sources.errors import SourceError, no_such
from analysis.sources.table_file import RawTable
from analysis.sources.trial_rows import OUR_COLUMNS
from cluster.state.outcomes import Outcome

RUNNING = "running"
OUTCOME_WORDS: dict[str, str] = {
    **{outcome.value: outcome.value for outcome in Outcome},
    **dict.fromkeys(("finished", "complete", "done", "success", "succeeded", "ok", "terminated"), "completed"),
    **dict.fromkeys(("failed", "fail", "failure", "error", "errored"), "crashed"),
    **dict.fromkeys(("killed", "cancelled", "canceled", "preempted", "preempting", "aborted"), "stopped"),
    **dict.fromkeys(("early_stopped", "early-stopped"), "pruned"),
    **dict.fromkeys((RUNNING, "pending", "queued", "waiting", "paused", "scheduled"), RUNNING),
}
"""What tables say of how a trial ended, in small letters, and what we call it."""
LONGEST_TEXT = 200


@dataclass(frozen=True)
class Told:
    """What the caller has said; None is to be guessed."""

    objective: str | Sequence[str] | None = None
    mode: str | Sequence[str] | None = None
    parameters: str | Sequence[str] | None = None
    seed: str | None = None
    steps: str | None = None
    trial: str | None = None
    outcome: str | None = None


@dataclass
class Roles:
    """The columns in their roles."""

    objectives: list[tuple[str, names.Mode]] = field(default_factory=list)
    seed: str | None = None
    steps: str | None = None
    seconds: str | None = None
    trial: str | None = None
    outcome: str | None = None
    created: str | None = None
    parameters: list[str] = field(default_factory=list)
    guessed: list[str] = field(default_factory=list)
    """What was guessed, one sentence each."""

    @property
    def not_searched(self) -> set[str]:
        """The columns that have a role other than a parameter's."""
        own = {self.seed, self.steps, self.seconds, self.trial, self.outcome, self.created}
        return {name for name in own if name is not None} | {name for name, _ in self.objectives}


def find_roles(table: RawTable, told: Told) -> Roles:
    """Return the roles of a table's columns.

    Raises SourceError if a column that the caller named is not there or does not fit, and if none can be the objective.
    """
    roles = Roles()
    for role in ("seed", "steps", "trial", "outcome"):
        if (name := getattr(told, role)) is not None:
            _check(table, role, [name])
            setattr(roles, role, name)
    _objectives(table, told, roles)
    taken = roles.not_searched | set(_listed(told.parameters))
    free = [name for name in table.columns if name not in taken]
    _guess_run(table, roles, free)
    _guess_seed(table, roles, free)
    _parameters(table, told, roles)
    return roles


def _listed(value: str | Sequence[str] | None) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def _check(table: RawTable, role: str, wanted: Iterable[str]) -> None:
    for name in wanted:
        if name not in table.columns:
            raise no_such(f"{table.name} has no column {name!r} ({role})", name, table.columns)


def is_numeric(column: pd.Series) -> bool:
    """Return whether a column holds numbers, and not truth values."""
    return pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)


def is_whole(column: pd.Series) -> bool:
    """Return whether a column holds whole numbers, none missing."""
    return is_numeric(column) and bool(np.all(np.equal(np.mod(column.to_numpy(dtype=float), 1), 0)))


# -- the objective ----------------------------------------------------------------------------------------------------


def _objectives(table: RawTable, told: Told, roles: Roles) -> None:
    wanted, modes = _listed(told.objective), _listed(told.mode)
    for mode in modes:
        if mode not in ("min", "max"):
            raise SourceError(f"mode = {mode!r}: must be min (small is good) or max (large is good)")
    _check(table, "objective", wanted)
    if not wanted:
        wanted = [_guess_objective(table, roles)]
    if modes and len(modes) not in (1, len(wanted)):
        raise SourceError(f"mode has {len(modes)} entries, but there are {len(wanted)} objectives: say one for each")
    for place, name in enumerate(wanted):
        _check_numbers(table, name)
        mode = modes[place % len(modes)] if modes else names.mode_of(name)
        if not modes:
            known = "its name says so" if mode else "its name does not say; mode='max' if large is"
            roles.guessed.append(f"{'large' if mode == 'max' else 'small'} is good for {name} ({known})")
        roles.objectives.append((name, "max" if mode == "max" else "min"))


def _guess_objective(table: RawTable, roles: Roles) -> str:
    numeric = [name for name in table.columns if is_numeric(table.cells(name))]
    places = {name: names.objective_place(name) for name in numeric}
    found = [name for name in numeric if places[name] is not None and table.cells(name).notna().any()]
    found.sort(key=lambda name: (table.cells(name).nunique() == 1, places[name] or 0))  # one that varies, if any does
    if not found:
        some = ", ".join(numeric) or "none"
        raise SourceError(
            f"{table.name}: no column is called like an objective; say which with objective=. "
            f"Columns of numbers: {some}"
        )
    others = f"; other metrics: {', '.join(found[1:6])}" if found[1:] else ""
    roles.guessed.append(f"the objective is {found[0]}{others}")
    return found[0]


def _check_numbers(table: RawTable, name: str) -> None:
    """Raise SourceError unless a column holds numbers; it names the first cell that is none."""
    cells = table.cells(name)
    if is_numeric(cells):
        if not cells.notna().any():
            raise SourceError(f"{table.name}: the objective {name} has no value in any row")
        return
    bad = [place for place, cell in enumerate(cells) if isinstance(cell, str) and not _is_number(cell)]
    if not bad:
        raise SourceError(f"{table.name}: {name} holds no numbers, and an objective must")
    raise SourceError(
        f"{table.places[bad[0]]}: {name} = {cells.iloc[bad[0]][:LONGEST_TEXT]!r} is no number, and an objective must "
        f"be one; leave the cell empty if nothing was measured"
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# -- the run ----------------------------------------------------------------------------------------------------------


def _guess_run(table: RawTable, roles: Roles, free: list[str]) -> None:
    """Find what describes the run: its outcome, how far and how long it went, its number and when it began."""
    by_key = {names.key(name): name for name in reversed(free)}
    if roles.outcome is None:
        fits = [name for key in names.OUTCOMES if (name := by_key.get(key)) and _are_outcomes(table.cells(name))]
        roles.outcome = fits[0] if fits else None
        if fits:
            roles.guessed.append(f"{fits[0]} says how a trial ended")
    if roles.steps is None:
        fits = [name for key in names.STEPS if (name := by_key.get(key)) and is_numeric(table.cells(name))]
        roles.steps = fits[0] if fits else None
        if fits:
            roles.guessed.append(f"{fits[0]} is how far a trial trained, in steps")
    fits = [name for key in names.SECONDS if (name := by_key.get(key)) and is_numeric(table.cells(name))]
    roles.seconds = fits[0] if fits else None
    if fits:
        roles.guessed.append(f"{fits[0]} is how long a trial ran, in seconds")
    roles.created = next((by_key[key] for key in names.CREATED if key in by_key), None)
    if roles.trial is None:
        _guess_trial(table, roles, by_key)


def _are_outcomes(column: pd.Series) -> bool:
    return not is_numeric(column) and all(str(cell).lower() in OUTCOME_WORDS for cell in column.dropna())


def _guess_trial(table: RawTable, roles: Roles, by_key: dict[str, str]) -> None:
    for key in names.TRIALS:
        name = by_key.get(key)
        if name is None or not is_whole(table.cells(name)):
            continue
        if table.cells(name).is_unique:
            roles.trial = name
        elif roles.steps and not table.frame.duplicated([name, roles.steps]).any():
            roles.trial = name
            roles.guessed.append(f"each row is a report of the trial in {name}: its last row is its result")
        if roles.trial:
            return


def _guess_seed(table: RawTable, roles: Roles, free: list[str]) -> None:
    if roles.seed is not None:
        return
    for name in free:
        bare = next((name.removeprefix(prefix) for prefix in names.PREFIXES if name.startswith(prefix)), name)
        fits = names.key(bare) in names.SEEDS or names.words(bare)[-1:] == ["seed"]
        if fits and is_whole(table.cells(name)) and table.cells(name).nunique() > 1:
            roles.seed = name
            roles.guessed.append(f"{name} is the seed: trials of equal parameters repeat one configuration")
            return


# -- parameters -------------------------------------------------------------------------------------------------------


def _parameters(table: RawTable, told: Told, roles: Roles) -> None:
    wanted = _listed(told.parameters)
    if told.parameters is not None:
        _check(table, "parameters", wanted)
        for name in wanted:
            if name in roles.not_searched:
                raise SourceError(f"{name!r} is given as a parameter, but it has another role already")
        roles.parameters = list(dict.fromkeys(wanted))
        return
    free = [name for name in table.columns if name not in roles.not_searched]
    marked = [name for name in free if name.startswith(names.PREFIXES)]
    candidates = marked or [name for name in free if not _describes(table, name)]
    roles.parameters = [name for name in candidates if table.cells(name).nunique() > 1]
    some = ", ".join(roles.parameters) or "none: no other column varies"
    roles.guessed.append(f"the parameters are {some}")


def _describes(table: RawTable, name: str) -> bool:
    """Return whether a column describes the run or was measured, and is nothing that was chosen."""
    cells = table.cells(name)
    if names.is_description(name) or (name in OUR_COLUMNS and "outcome" in table.columns):
        return True
    if is_numeric(cells):
        return names.is_metric(name)
    if pd.api.types.is_datetime64_any_dtype(cells.dtype):
        return True
    known = cells.dropna()
    is_id = len(known) > 2 and known.is_unique and not pd.api.types.is_bool_dtype(cells.dtype)
    return is_id or bool(known.astype(str).str.len().max() > LONGEST_TEXT)
