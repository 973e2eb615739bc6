"""Makes a search of an Optuna study, in any storage that Optuna opens: SQLite, other databases, journal files."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.search import Bound, Factor, Objective, Search, no_histories
from analysis.sources import names
from analysis.sources.errors import SourceError, no_such
from analysis.sources.factors import conditions_of
from analysis.sources.ranking import with_ranks
from analysis.sources.table_file import is_missing
from analysis.sources.trial_rows import OUR_COLUMNS, config_column
from cluster.wording import count
from search_spaces.errors import hide_passwords

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

OUTCOMES = {"COMPLETE": "completed", "PRUNED": "pruned", "FAIL": "crashed", "RUNNING": "running"}
OUR_NOTES = frozenset({"assigned", "result", "attempts", "failures", "redone", "orphaned", "owner"})
"""What a study of a search of ours notes of its trials: a search directory shows it better."""


def search_of_study(storage: str | Path, study_name: str | None = None) -> Search:
    """Return the search in an Optuna study; it is opened to read.

    Raises SourceError if the storage cannot be opened, if it has no such study, or if it has several and none is named.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    where = hide_passwords(str(storage))
    with _opened(str(storage), where) as opened:
        found = sorted(study.study_name for study in opened.get_all_studies())
        if study_name is None and len(found) > 1:
            raise SourceError(f"{where} has {len(found)} studies: say which one. There are: {', '.join(found)}")
        if not found:
            raise SourceError(f"{where} has no study")
        if study_name is not None and study_name not in found:
            raise no_such(f"{where} has no study {study_name!r}", study_name, found)
        study = optuna.load_study(study_name=study_name or found[0], storage=opened)
        return _search(study, study.get_trials(deepcopy=False))


@contextmanager
def _opened(storage: str, where: str) -> Iterator["BaseStorage"]:
    """Open a storage to read: a file that is not there is not made, and no tables are."""
    from optuna.exceptions import StorageInternalError
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend
    from sqlalchemy.exc import SQLAlchemyError

    file = _file(storage)
    if file is not None and not file.is_file():
        raise SourceError(f"there is no file {file}")
    is_journal = "://" not in storage and file is not None and not file.read_bytes()[:16].startswith(b"SQLite format 3")
    database = None
    try:
        if is_journal:
            yield JournalStorage(JournalFileBackend(storage))
            return
        url = storage if "://" in storage else f"sqlite:///{storage}"
        database = RDBStorage(url, skip_table_creation=True)
        yield database
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = error.__cause__ or error
        said = " ".join(str(getattr(cause, "orig", None) or cause).split())
        raise SourceError(f"{where} cannot be read as Optuna's storage: {hide_passwords(said)[:300]}") from None
    except (ImportError, RuntimeError) as error:  # no driver for the database; a schema of another version
        raise SourceError(f"{where} cannot be opened: {' '.join(hide_passwords(str(error)).split())[:300]}") from None
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        if not is_journal:
            raise
        raise SourceError(f"{where} is no journal of Optuna's, or a damaged one ({error})") from None
    finally:
        if database is not None:
            database.remove_session()
            database.engine.dispose()


def _file(storage: str) -> Path | None:
    """Return the file that a storage is; None if it is a server's."""
    if storage.startswith("sqlite"):
        path = storage.partition(":///")[2].partition("?")[0]
        return Path(path) if path and path != ":memory:" else None
    return None if "://" in storage else Path(storage)


def _search(study: "Study", trials: Sequence["FrozenTrial"]) -> Search:
    remarks = []
    waiting = [trial for trial in trials if trial.state.name == "WAITING"]
    if waiting:
        remarks.append(f"{count(len(waiting), 'trial')} enqueued and not begun: left out")
    trials = [trial for trial in trials if trial.state.name in OUTCOMES]
    if any("assigned" in trial.user_attrs for trial in trials):
        remarks.append("this study is a search of swell's: analysis.load on its directory shows more of it")
    if study.metric_names is None:
        remarks.append("the study does not name its objectives: they are called value here")
    columns = _columns(study, trials)
    objectives = tuple(
        Objective(column, "min" if direction.name == "MINIMIZE" else "max")
        for column, direction in zip(columns.objectives, study.directions, strict=True)
    )
    frame = pd.DataFrame([columns.row(trial) for trial in trials], columns=list(columns.every))
    frame = frame.astype({"trial": "int64", "configuration": "int64", "outcome": "str"})
    factors = _factors(trials, columns)
    conditions = conditions_of(frame, factors)
    factors = [replace(factor, conditions=conditions.get(factor.column, {})) for factor in factors]
    frame, factors, seed, seeds = _tie_seeds(frame, factors, remarks)
    excess = frame.reindex(columns=columns.constraints).clip(lower=0).sum(axis=1, skipna=False)
    frame = with_ranks(frame, objectives, excess, seed)
    if columns.constraints:
        kept = frame.reindex(columns=columns.constraints).max(axis=1, skipna=False)
        frame.insert(4, "feasible", [None if math.isnan(most) else most <= 0 for most in kept])
    configs = {trial.number: dict(trial.params) for trial in trials}
    return Search(
        name=study.study_name,
        trials=frame,
        factors=tuple(factors),
        objectives=objectives,
        constraints=tuple(Bound(column, max=0.0) for column in columns.constraints),
        seed=seed,
        seeds=seeds,
        remarks=tuple(remarks),
        read_histories=lambda: _histories(trials, objectives),
        read_config=configs.__getitem__,
    )


@dataclass(frozen=True)
class _Columns:
    """What the parts of a study's trials are called in its table: no two columns have one name."""

    params: Mapping[str, str]
    metrics: Mapping[str, str]
    attributes: Mapping[str, str]
    limits: Mapping[str, str]
    has_reports: bool

    @property
    def objectives(self) -> list[str]:
        """The columns of the objectives."""
        return list(self.metrics.values())

    @property
    def constraints(self) -> list[str]:
        """The columns of the constraints; a trial is feasible if none of them is above zero."""
        return list(self.limits.values())

    @property
    def every(self) -> list[str]:
        """All columns, in their order."""
        used = [*(["steps_trained"] if self.has_reports else []), "wall_time_s"]
        measured = [*self.objectives, *self.params.values()]
        return ["trial", "configuration", "outcome", *measured, *used, *self.constraints, *self.attributes.values()]

    def row(self, trial: "FrozenTrial") -> dict[str, Any]:
        """Return a trial's row."""
        values = trial.values or [math.nan] * len(self.metrics)
        return {
            "trial": trial.number,
            "configuration": trial.number,
            "outcome": OUTCOMES[trial.state.name],
            **{column: trial.params.get(name) for name, column in self.params.items()},
            **dict(zip(self.objectives, values, strict=True)),
            "steps_trained": trial.last_step or 0,
            "wall_time_s": trial.duration.total_seconds() if trial.duration else math.nan,
            **{column: trial.constraints.get(name, math.nan) for name, column in self.limits.items()},
            **{column: trial.user_attrs.get(name) for name, column in self.attributes.items()},
        }


def _columns(study: "Study", trials: Sequence["FrozenTrial"]) -> _Columns:
    """Return the columns of a study's table; what is called like another column gets a prefix."""
    num = len(study.directions)
    given = study.metric_names or (["value"] if num == 1 else [f"value_{place}" for place in range(num)])
    attributes = [
        name
        for trial in trials
        for name, value in trial.user_attrs.items()
        if name not in OUR_NOTES and (value is None or isinstance(value, str | int | float))
    ]
    params = {name: config_column(name) for trial in trials for name in trial.params}
    taken = OUR_COLUMNS | {*params.values()}
    metrics = {name: f"metric.{name}" if name in taken else name for name in given}
    taken |= {*metrics.values()}
    return _Columns(
        params,
        metrics,
        {name: f"user_attrs.{name}" if name in taken else name for name in attributes},
        {name: f"constraint.{name}" for trial in trials for name in trial.constraints},
        any(trial.intermediate_values for trial in trials),
    )


def _factors(trials: Sequence["FrozenTrial"], columns: _Columns) -> list[Factor]:
    """Return the parameters as their distributions have them; a range that was changed, from its least to its most."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, Factor] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            column, before = columns.params[name], found.get(name)
            if isinstance(distribution, CategoricalDistribution):
                known = (before.levels if before else None) or ()
                levels = tuple(dict.fromkeys((*known, *distribution.choices)))
                found[name] = Factor(column, levels=levels)
                continue
            assert isinstance(distribution, FloatDistribution | IntDistribution)
            low, high = distribution.low, distribution.high
            if before is not None and before.low is not None and before.high is not None:
                low, high = min(low, before.low), max(high, before.high)
            is_whole = isinstance(distribution, IntDistribution)
            step = distribution.step if not is_whole or distribution.step != 1 else None
            found[name] = Factor(column, is_log=distribution.log, low=low, high=high, step=step, is_whole=is_whole)
    return list(found.values())


def _tie_seeds(
    frame: pd.DataFrame, factors: list[Factor], remarks: list[str]
) -> tuple[pd.DataFrame, list[Factor], str | None, tuple[Any, ...]]:
    """Tie the trials whose parameters are equal but for a seed, if one is among the parameters or the attributes."""
    seed = next((name for name in frame.columns if names.key(str(name).rpartition(".")[2]) in names.SEEDS), None)
    if seed is None or any(map(is_missing, frame[seed])):
        return frame, factors, None, ()
    others = [factor for factor in factors if factor.column != seed]
    keys = [tuple(map(str, row)) for row in frame.filter(items=[one.column for one in others]).to_numpy().tolist()]
    places = {key: place for place, key in enumerate(dict.fromkeys(keys or [()] * len(frame)))}
    seeds: dict[tuple[str, ...], set[Any]] = {}
    for key, value in zip(keys, frame[seed], strict=True):
        seeds.setdefault(key, set()).add(value)
    most = max(map(len, seeds.values()))
    if most < 2:
        return frame, factors, None, ()
    remarks.append(f"{seed} is taken as the seed: trials of otherwise equal parameters repeat one configuration")
    every = sorted(set(frame[seed]))
    tied = frame.assign(configuration=[places[key] for key in keys])
    return tied, others, seed, tuple(every) if len(every) == most else ()


def _histories(trials: Sequence["FrozenTrial"], objectives: Sequence[Objective]) -> pd.DataFrame:
    """Return the intermediate values, which Optuna keeps of a single objective."""
    rows = [
        {"trial": trial.number, "step": step, "seconds": math.nan, objectives[0].column: value}
        for trial in trials
        for step, value in sorted(trial.intermediate_values.items())
    ]
    return pd.DataFrame(rows) if rows else no_histories()
