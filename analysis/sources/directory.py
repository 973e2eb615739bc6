"""Reads a search directory of ours, running or finished."""

from collections.abc import Container, Sequence
from typing import Any

import pandas as pd

from analysis.kept_evaluations import all_kept, table_of
from analysis.search import Bound, Factor, Objective, Search, no_histories
from analysis.sources.trial_rows import config_column
from analysis.sources.trial_table import TrialTable, make_table
from cluster.state.paths import SearchPaths, find_search
from cluster.state.records import TrialRecord, load_history, load_spec, load_trials
from search_spaces.parameters import FloatRange, IntRange, labels
from search_spaces.spec import Spec


def load_search(search: str | SearchPaths) -> Search:
    """Return a search by its name, its path, or its paths.

    Raises SearchNotFoundError if there is none, and DamagedFileError if its spec cannot be read.
    """
    paths = search if isinstance(search, SearchPaths) else find_search(search)
    spec, records = load_spec(paths), load_trials(paths)
    table = make_table(spec, records)
    configs = {record.number: record.config for record in records}
    remarks = [table.mixture, "" if paths.journal.exists() or records else _lost(paths)]
    return Search(
        name=paths.name,
        trials=_whole(table, records),
        factors=_factors(spec),
        objectives=tuple(Objective(_metric(table, one.metric), one.mode) for one in spec.objectives),
        constraints=tuple(Bound(_metric(table, one.metric), one.min, one.max) for one in spec.constraints),
        seed=config_column("seed") if spec.repeats else None,
        seeds=tuple(spec.seeds) if spec.repeats else (),
        remarks=tuple(filter(None, remarks)),
        paths=paths,
        spec=spec,
        read_evaluations=lambda: table_of(list(all_kept(paths))),
        read_histories=lambda: _histories(paths, configs),
        read_config=lambda trial: dict(configs[trial]),
    )


def load_searches(searches: Sequence[str]) -> list[Search]:
    """Return searches by their names or paths, each once however often it is named; raises as `load_search` does."""
    found = {paths.root: paths for paths in map(find_search, searches)}
    return [load_search(paths) for paths in found.values()]


def _whole(table: TrialTable, records: Sequence[TrialRecord]) -> pd.DataFrame:
    """Return the table with the columns that every search has, also if it has no trials yet."""
    frame = table.frame
    if frame.empty:
        frame = pd.DataFrame({"rank": [], "trial": [], "configuration": [], "outcome": []})
        frame = frame.astype({"rank": "Int64", "trial": "int64", "configuration": "int64", "outcome": "str"})
    times = {record.number: (record.began_at, record.ended_at) for record in records}
    for place, name in enumerate(("began_at", "ended_at")):
        found = [times[number][place] for number in frame["trial"]]
        frame = frame.assign(**{name: pd.Series(found, index=frame.index, dtype="float64")})
    wanted = [*map(config_column, table.spec.space), *(one.metric for one in table.spec.objectives)]
    absent = [name for name in wanted if name not in frame.columns and name not in table.judged]
    return frame.assign(**{name: pd.Series([None] * len(frame), dtype="float64") for name in absent})


def _metric(table: TrialTable, metric: str) -> str:
    return table.judged.get(metric, metric)


def _factors(spec: Spec) -> tuple[Factor, ...]:
    factors = []
    for name, parameter in spec.space.items():
        is_range = isinstance(parameter, FloatRange | IntRange)
        given = None if is_range else labels(parameter)
        factors.append(
            Factor(
                column=config_column(name),
                levels=None if given is None else tuple(given),
                is_log=is_range and parameter.log,
                conditions={config_column(other): tuple(values) for other, values in parameter.when.items()},
                low=parameter.low if is_range else None,
                high=parameter.high if is_range else None,
                step=parameter.step if is_range else None,
                is_whole=isinstance(parameter, IntRange),
            )
        )
    return tuple(factors)


def _lost(paths: SearchPaths) -> str:
    """Return what to say if a search has reports of trials and no study that knows them; empty if it has none."""
    if next(load_history(paths), None) is None:
        return ""
    return "its study is missing: histories/ has reports of trials, of which nothing else is known"


def _histories(paths: SearchPaths, known: Container[int]) -> pd.DataFrame:
    """Return all reports of the known trials; a running search may have begun others since its trials were read."""
    rows: list[dict[str, Any]] = []
    for entry in load_history(paths):
        if entry["trial"] in known and "step" in entry and isinstance(entry.get("metrics"), dict):
            own = {name: entry[name] for name in ("trial", "step", "seconds") if name in entry}
            rows.append({**{f"metric.{n}" if n in own else n: v for n, v in entry["metrics"].items()}, **own})
    if not rows:
        return no_histories()
    frame = pd.DataFrame(rows)
    first = ["trial", "step", "seconds"]
    frame = frame.reindex(columns=[*first, *(name for name in frame.columns if name not in first)])
    return frame.sort_values(["trial", "step"], kind="stable", ignore_index=True)
