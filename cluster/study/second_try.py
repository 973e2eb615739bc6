"""Reopens failed trials under their own numbers, and checks that the method still takes trials that have begun."""

import time
from collections.abc import Collection, Iterator
from typing import Any

import optuna
from optuna.trial import Trial
from pydantic import ValidationError

from cluster.state.notes import ATTEMPTS, FAILURES, ORPHANED, REDONE, RESULT, Redone
from cluster.state.outcomes import Outcome, Told
from cluster.state.paths import SearchPaths
from cluster.state.records import TrialRecord, load_trials, record_of
from cluster.state.reopening import reopen_in_database, reopen_in_journal
from cluster.state.storage import JOURNAL, Storage, open_storage
from search_spaces.spec import Spec
from search_spaces.validation import explain_validation
from trainables._shared.config import MethodConfig
from trainables._shared.extras import MissingPackageError, require_needed

CAN_FAIL = tuple(outcome for outcome in Outcome if outcome.is_failure)
BY_DEFAULT = tuple(outcome for outcome in CAN_FAIL if outcome.told is Told.FAILED)
"""The outcomes taken up again by default: not those of trials whose numbers stopped being finite in training."""


def reopen_failed(paths: SearchPaths, spec: Spec, outcomes: Collection[Outcome]) -> list[int]:
    """Reopen every trial that ended with one of the outcomes, as a further attempt; return their numbers.

    A trial keeps its number and its configuration, so that a grid or a random search ends with the table that it would
    have had. Samplers see it as running. The study keeps a note of how it failed. May only be called while nobody works
    on the search.
    """
    storage = open_storage(paths, spec.storage, to_write=True)
    assert storage is not None
    try:
        return _reopen(paths, spec, storage, outcomes)
    finally:
        storage.close()


def _reopen(paths: SearchPaths, spec: Spec, storage: Storage, outcomes: Collection[Outcome]) -> list[int]:
    try:
        study = optuna.load_study(study_name=storage.study_name, storage=storage.optuna)
    except KeyError:
        return []  # the search has never begun
    found: dict[int, TrialRecord] = {}
    for trial in study.get_trials(deepcopy=False):
        record = record_of(trial)
        if not record.is_open and record.outcome in outcomes:
            found[trial._trial_id] = record
    if not found:
        return []
    worst = [one for one, record in found.items() if _was_told_worst(spec, record)]
    if spec.storage != JOURNAL:
        reopen_in_database(storage, list(found), worst)
    else:
        reopen_in_journal(paths.journal, list(found), worst)
    storage.close()
    again = open_storage(paths, spec.storage, to_write=True)  # the first has read the old ends
    assert again is not None
    try:
        study = optuna.load_study(study_name=again.study_name, storage=again.optuna)
        for one, record in found.items():
            _note(Trial(study, one), record)
    finally:
        again.close()
    return sorted(record.number for record in found.values())


def _was_told_worst(spec: Spec, record: TrialRecord) -> bool:
    assert record.outcome is not None
    return record.outcome.told is Told.WORST and not spec.is_multi_objective


def _note(trial: Trial, record: TrialRecord) -> None:
    assert record.outcome is not None
    result: dict[str, Any] = {**RESULT.of(trial), "outcome": Outcome.STOPPED.value, "metrics": {}}
    error = result.pop("error", "")
    now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    before = Redone(outcome=record.outcome.value, error=error, failures=record.failures, at=now)
    REDONE.write(trial, [*REDONE.of(trial), before])
    FAILURES.write(trial, [])  # it gets all its retries again
    ORPHANED.write(trial, None)
    ATTEMPTS.write(trial, ATTEMPTS.of(trial) + 1)
    RESULT.write(trial, result)


def has_begun(paths: SearchPaths) -> bool:
    """Return whether a search has trials that have begun and not ended."""
    return bool(_begun(paths))


def begun_problems(paths: SearchPaths, config_type: type[MethodConfig]) -> Iterator[str]:
    """Yield, for each open trial that has begun, why the method no longer takes its configuration, if it does not."""
    for trial in _begun(paths):
        values = config_type.recorded(trial.config)
        try:
            require_needed(config_type.of_values(values))
        except ValidationError as error:
            said = "; ".join(map(str, explain_validation(error, config_type, values)))
            yield f"trial {trial.number}: {said}"
        except (ValueError, MissingPackageError) as error:
            yield f"trial {trial.number}: {error}"


def _begun(paths: SearchPaths) -> list[TrialRecord]:
    """Return the trials that have a configuration and have not ended."""
    return [record for record in load_trials(paths) if record.is_open and record.config]
