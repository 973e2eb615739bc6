"""What is compared: trials, specs and searches, each as its values by part and path."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.differences.values import by_path
from analysis.search import Search
from analysis.sources.directory import load_search
from analysis.sources.trial_rows import FIGURES, OUR_COLUMNS, config_column
from analysis.yardsticks import yardsticks
from cluster.machine.files import read_object
from cluster.state.paths import SearchNotFoundError, find_search
from search_spaces.errors import UserError
from search_spaces.spec import Spec, load_spec

USAGE = "usage"
"""The part with what a trial has used, which no two trials have in common: it is shown on request alone."""
_VERSIONS = ("code", "settings", "inputs")
_LAUNCH = ("created_at", "command", "working_directory", "host", "user")

Parts = Mapping[str, Mapping[str, Any]]
"""Values by part ("configuration", "metrics", ...) and path."""


class DiffError(UserError):
    """Such things cannot be compared; the message says which can."""


@dataclass(frozen=True)
class Side:
    """One of the things that are compared."""

    label: str
    kind: str
    """What it is: a trial, a spec, a search."""
    parts: Parts = field(repr=False)
    as_spec: Callable[[], "Side"] | None = field(default=None, repr=False)
    """Of a search: the side of its spec, to be compared with the specs of others."""
    measured_by: Callable[[], frozenset[str] | None] = field(default=lambda: None, repr=False)
    """What its objectives are measured by; None if that cannot be told."""


def read_side(what: "str | Path | Search | tuple[Search, int]") -> Side:
    """Return what a user has named: `quickstart/3` is a trial, a file is a spec, any other name or path is a search.

    Raises SearchNotFoundError, SpecError, or NotThereError if there is no such thing.
    """
    if isinstance(what, Search):
        return side_of_search(what, what.name)
    if isinstance(what, tuple):
        search, number = what
        return side_of_trial(search, number, f"{search.name}/{number}")
    text = str(what)
    if Path(what).is_file():
        return _side_of_spec(load_spec(Path(what)).spec, text)
    try:
        paths = find_search(text)
    except SearchNotFoundError as error:
        name, _, number = text.rstrip("/").rpartition("/")
        if not name or not number.isdecimal():
            raise SearchNotFoundError(f"{error}; of trials: SEARCH/NUMBER; of specs: their files") from None
        return side_of_trial(load_search(find_search(name)), int(number), text)
    return side_of_search(load_search(paths), text)


def _side_of_spec(spec: Spec, label: str) -> Side:
    return Side(label, "spec", {"spec": by_path(spec.model_dump(mode="json"))})


def side_of_trial(search: Search, number: int, label: str) -> Side:
    """Return a trial's configuration, outcome, metrics, versions and usage; raises NotThereError if it is not there."""
    row, config = search.row(number), search.config(number)
    configuration: dict[str, Any] = {}
    for name, value in config.items():
        shown = row.get(config_column(name))
        if isinstance(value, list | dict) and isinstance(shown, str) and shown != str(value):
            configuration[name] = shown  # the name of a structured choice, beside its content
        configuration |= by_path({name: value})
    ours = {*OUR_COLUMNS, *map(config_column, config)}
    metrics = {str(name): _plain(value) for name, value in row.items() if name not in ours}
    known = {name: _plain(row[name]) for name in OUR_COLUMNS if name in row.index}
    error = str(known.get("error") or "").strip()
    outcome = {"outcome": known.get("outcome"), "rank": known.get("rank"), "steps_trained": known.get("steps_trained")}
    parts = {
        "configuration": {name: _plain(value) for name, value in configuration.items()},
        "outcome": outcome | {"error": error.splitlines()[-1] if error else None},
        "metrics": metrics,
        "versions": {name: known[name] for name in _VERSIONS if known.get(name)} | _provenance(search)["versions"],
    }
    used = [one.column for one in FIGURES if one.column not in (*_VERSIONS, *outcome, "error")]
    parts |= {USAGE: {name: known[name] for name in used if name in known}}
    return Side(label, "trial", parts, measured_by=lambda: yardsticks(search, number))


def side_of_search(search: Search, label: str) -> Side:
    """Return a search's spec, outcomes, best trial, versions and launch."""
    spec = by_path(search.spec.model_dump(mode="json")) if search.spec else {}
    counts = Counter(search.trials["outcome"])
    outcomes = {"trials": len(search.trials), **{str(name): number for name, number in sorted(counts.items())}}
    parts = {"spec": spec, "outcomes": outcomes, "best": _best(search), **_provenance(search)}
    searched = search.spec
    as_spec = None if searched is None else lambda: _side_of_spec(searched, label)
    return Side(label, "search", parts, as_spec, lambda: yardsticks(search))


def _best(search: Search) -> dict[str, Any]:
    """Return the best trial with what was searched; with several objectives, the best value of each alone."""
    done = search.completed
    if done.empty:
        return {}
    names = [one.column for one in search.objectives if one.column in done.columns]
    if search.is_multi_objective:
        best = {one.column: min if one.mode == "min" else max for one in search.objectives}
        return {name: _plain(best[name](done[name].dropna(), default=None)) for name in names}
    first = done.iloc[0]
    searched = [factor.column for factor in search.factors] + ([search.seed] if search.seed else [])
    return {name: _plain(first.get(name)) for name in ["trial", *names, *searched]}


def _provenance(search: Search) -> dict[str, dict[str, Any]]:
    """Return what a search directory notes of its launch: versions, settings, and who launched it where."""
    noted = read_object(search.paths.provenance) or {} if search.paths else {}
    launch = {name: noted[name] for name in _LAUNCH if name in noted}
    rest = {name: value for name, value in noted.items() if name not in _LAUNCH}
    libraries = rest.pop("versions", {})
    return {"versions": by_path(libraries if isinstance(libraries, dict) else {}) | by_path(rest), "launch": launch}


def _plain(value: Any) -> Any:
    """Return a table's value as a plain one: None if it is missing."""
    if isinstance(value, list | dict | tuple | str):
        return value
    if value is None or pd.isna(value):
        return None
    return value.item() if isinstance(value, np.generic) else value
