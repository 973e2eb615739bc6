"""The trials of several searches in one table."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from analysis.search import Bound, Objective, Search
from analysis.sources.ranking import with_ranks
from analysis.sources.trial_rows import FIGURES, TIMES
from analysis.tables.columns import short_columns
from analysis.tables.constraints import excess
from analysis.yardsticks import differ, yardsticks
from cluster.wording import count

SEARCH = "search"
"""The column that says which search a trial is of."""


@dataclass(frozen=True)
class Trials:
    """The trials of one search or of several."""

    frame: pd.DataFrame
    """One row per trial, best first; of several searches with the column `search` first."""
    short: tuple[str, ...]
    """The columns that fit on a page."""
    objectives: tuple[Objective, ...]
    """Those of all searches."""
    constraints: tuple[Bound, ...]
    """Likewise."""
    warnings: tuple[str, ...] = ()
    """What the searches say of their trials."""
    notes: tuple[str, ...] = ()
    """Which searches have no trials, and why they are not ranked together."""


def trials_of(searches: Sequence[Search]) -> Trials:
    """Return the trials of searches, with the columns that any of them has.

    Searches with the same objectives, measured by the same yardstick, are ranked together; others keep their own ranks,
    and a remark says so.
    """
    if len(searches) == 1:
        (only,) = searches
        judged = (only.objectives, only.constraints)
        return Trials(only.trials, tuple(short_columns(only)), *judged, only.remarks)
    names = _distinct_names(searches)
    frames = [_named(search, name) for search, name in zip(searches, names, strict=True)]
    frame = _joined([one for one in frames if len(one)] or frames[:1])
    warnings = [f"{name}: {text}" for name, search in zip(names, searches, strict=True) for text in search.remarks]
    notes: list[str] = []
    empty = [name for name, search in zip(names, searches, strict=True) if search.trials.empty]
    if empty:
        notes.append(f"without trials yet: {', '.join(empty)}")
    moved = [_moved(search) for search in searches]
    why = _why_apart(moved, names)
    if why:
        notes.append(f"{why}: rank is each search's own")
    else:
        frame = _ranked_together(frame, moved[0])
    short = dict.fromkeys(_renamed(name) for search in searches for name in short_columns(search))
    last = [name for name in ("steps_trained", "wall_time_s") if name in short]
    order = [SEARCH, *(name for name in short if name not in last), *last]
    return Trials(
        frame,
        tuple(order),
        tuple(dict.fromkeys(one for search in moved for one in search.objectives)),
        tuple(dict.fromkeys(one for search in moved for one in search.constraints)),
        tuple(warnings),
        tuple(notes),
    )


def _distinct_names(searches: Sequence[Search]) -> list[str]:
    """Return the searches' names, with their folders or numbers if two have the same."""
    names = [search.name for search in searches]
    if len(set(names)) < len(names):
        names = [str(one.paths.root) if one.paths and names.count(one.name) > 1 else one.name for one in searches]
    seen: list[str] = []
    for name in names:
        seen.append(f"{name} ({seen.count(name) + 1})" if name in seen else name)
    return seen


def _renamed(name: str) -> str:
    return f"config.{SEARCH}" if name == SEARCH else name


def _moved(search: Search) -> Search:
    """Return a search whose objectives, constraints and seed have the names that the joined table gives them."""
    objectives = tuple(replace(one, column=_renamed(one.column)) for one in search.objectives)
    constraints = tuple(replace(one, column=_renamed(one.column)) for one in search.constraints)
    seed = _renamed(search.seed) if search.seed else None
    return replace(search, objectives=objectives, constraints=constraints, seed=seed)


def _named(search: Search, name: str) -> pd.DataFrame:
    frame = search.trials.rename(columns=_renamed)
    frame.insert(0, SEARCH, name)
    return frame


def _joined(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return frames below each other with the columns of all; whole numbers stay whole where others have none."""
    columns = list(dict.fromkeys(name for frame in frames for name in frame.columns))
    used = [one.column for one in FIGURES if one.column in columns] + [name for name in TIMES if name in columns]
    columns = [name for name in columns if name not in used] + used
    whole = [name for name in columns if all(_is_whole(one, name) for one in frames if name in one.columns)]
    parts = [frame.astype({name: "Int64" for name in whole if name in frame.columns}) for frame in frames]
    rows = [row for frame in parts for row in frame.to_dict("records")]
    joined = {name: [row.get(name) for row in rows] for name in columns}
    return pd.DataFrame({name: pd.Series(joined[name], dtype="Int64" if name in whole else None) for name in columns})


def _is_whole(frame: pd.DataFrame, name: str) -> bool:
    return pd.api.types.is_integer_dtype(frame.dtypes[name])


def _why_apart(searches: Sequence[Search], names: Sequence[str]) -> str:
    """Return why trials of these searches cannot be ranked together; empty if they can."""
    first = searches[0]
    for search, name in zip(searches[1:], names[1:], strict=True):
        if search.objectives != first.objectives:
            return f"{names[0]} {_aims(first)}, {name} {_aims(search)}"
        if search.constraints != first.constraints:
            return f"{names[0]} and {name} have different constraints"
        if (search.seed, len(search.seeds)) != (first.seed, len(first.seeds)):
            return f"{names[0]} has {_seeds(first)}, {name} {_seeds(search)}"
        if differ(yardsticks(first), yardsticks(search)):
            return f"{names[0]} and {name} were measured by different yardsticks (other validation data, or weights)"
    return ""


def _aims(search: Search) -> str:
    parts = [f"{one.column} {'small' if one.mode == 'min' else 'large'}" for one in search.objectives]
    return f"makes {' and '.join(parts)}"


def _seeds(search: Search) -> str:
    return count(len(search.seeds) or 1, "seed") + " of each configuration"


def _ranked_together(frame: pd.DataFrame, first: Search) -> pd.DataFrame:
    """Return the trials of searches with the same objectives, best first over all of them."""
    ids = frame.groupby([SEARCH, "configuration"], sort=False).ngroup()
    own = ["trial", "configuration", "rank"]
    numbered = frame.drop(columns=own).assign(trial=range(len(frame)), configuration=ids)
    ranked = with_ranks(numbered, first.objectives, excess(numbered, first.constraints), first.seed)
    placed = frame.iloc[list(ranked["trial"])].reset_index(drop=True)
    return placed.assign(rank=ranked["rank"])
