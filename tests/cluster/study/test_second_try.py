import itertools
import json

import pytest
from optuna.trial import TrialState

from cluster.state.notes import REDONE
from cluster.state.outcomes import Outcome
from cluster.state.records import load_spec, load_trials, open_study
from cluster.study.second_try import BY_DEFAULT, CAN_FAIL, begun_problems, reopen_failed
from tests.methods.ripple.config import Config
from tests.searching import result
from trainables._shared.config import MethodConfig

GRID = {"shift": {"low": -1.0, "high": 1.0, "step": 0.5}, "size": [2, 3]}
STORAGES = ["journal", "jobs", "database"]


@pytest.fixture(params=STORAGES)
def stored(request, make_search):
    """Return a function that makes a search, kept in a journal, in one that jobs share, or in a database."""
    more = {"storage": request.getfixturevalue("postgres_url")} if request.param == "database" else {}
    job = None if request.param == "journal" else 0

    def make(**parts):
        search = make_search(**(more | parts))
        opened = search.open
        search.open = lambda **options: opened(job, **options)
        return search

    return make


def run(study, outcome_of):
    """End every trial that there is to run as a function of its number says."""
    while assignment := study.ask():
        study.report(assignment.number, 10, {"val_error": 1.0})
        outcome = outcome_of(assignment.number)
        metrics = {"val_error": abs(assignment.config["shift"])} if outcome is Outcome.COMPLETED else {}
        told = result(**metrics) | ({"error": f"how {assignment.number} ended"} if outcome.is_failure else {})
        study.tell(assignment.number, outcome, told, retry=False)
    study.close()


def optuna_trials(search):
    with open_study(search.paths) as (storage, study_id):
        return storage.get_all_trials(study_id, deepcopy=False)


def summary(search):
    return [(trial.number, trial.outcome, trial.params, trial.metrics) for trial in load_trials(search.paths)]


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["grid", "random"])
def test_failed_trials_are_taken_up_again_and_the_table_is_that_of_an_undisturbed_search(stored, sampler):
    parts = {"space": GRID, "sampler": {"name": sampler}, "budget": {"trials": 10}}
    undisturbed, search = stored(**parts), stored(**parts)
    run(undisturbed.open(), lambda number: Outcome.COMPLETED)
    failures = {2: Outcome.CRASHED, 5: Outcome.WORKER_LOST, 6: Outcome.DIVERGED, 9: Outcome.INVALID_CONFIG}
    run(search.open(), lambda number: failures.get(number, Outcome.COMPLETED))

    assert reopen_failed(search.paths, search.spec, BY_DEFAULT) == [2, 5, 9]
    assert [trial.number for trial in load_trials(search.paths) if trial.is_open] == [2, 5, 9]
    assert reopen_failed(search.paths, search.spec, BY_DEFAULT) == []
    assert reopen_failed(search.paths, search.spec, CAN_FAIL) == [6]
    study = search.open()
    assert study.finished() == ""
    assert (study.tally.outcomes["completed"], sum(study.tally.outcomes.values())) == (6, 6)
    run(study, lambda number: Outcome.COMPLETED)

    assert summary(search) == summary(undisturbed)
    assert [trial.attempts for trial in load_trials(search.paths)] == [1, 1, 2, 1, 1, 2, 2, 1, 1, 2]
    redone = {trial.number: REDONE.of(trial) for trial in optuna_trials(search)}
    assert [(one["outcome"], one["error"]) for one in redone[5]] == [("worker_lost", "how 5 ended")]
    assert not redone[4]


def test_nothing_is_left_of_the_worst_value_that_a_diverged_trial_was_told_with(stored):
    search = stored(early_stopping={"name": "asha", "grace_steps": 10, "reduction": 2}, budget={"trials": 3})
    run(search.open(), lambda number: Outcome.DIVERGED if number == 1 else Outcome.COMPLETED)
    assert reopen_failed(search.paths, search.spec, [Outcome.DIVERGED]) == [1]
    trial = optuna_trials(search)[1]
    assert (trial.state, trial.intermediate_values) == (TrialState.RUNNING, {10: 1.0})


def test_the_journal_keeps_its_length_and_its_lines_until_what_is_added(make_search):
    """Who follows it, and knows its place in it, keeps that."""
    search = make_search(budget={"trials": 6})
    run(search.open(), lambda number: Outcome.CRASHED if number % 2 else Outcome.COMPLETED)
    before = search.paths.journal.read_bytes()
    reopen_failed(search.paths, search.spec, [Outcome.CRASHED])
    after = search.paths.journal.read_bytes()
    lines = list(zip(before.splitlines(True), after.splitlines(True), strict=False))
    assert all(len(old) == len(new) and json.loads(new) for old, new in lines)
    assert sum(old != new for old, new in lines) == 3
    assert len(after) > len(before)


def test_a_trial_taken_up_again_has_its_retries_anew_and_no_dead_driver_behind_it(make_search):
    search = make_search(budget={"trials": 1}, retries=1)
    study = search.open()
    for _ in range(2):
        study.tell(study.ask().number, Outcome.WORKER_LOST, result())
    assert study.finished()
    assert reopen_failed(search.paths, search.spec, [Outcome.WORKER_LOST]) == [0]
    study = search.open()
    for _ in range(2):
        assert study.finished() == ""
        study.tell(study.ask().number, Outcome.WORKER_LOST, result())
    assert study.finished()
    (trial,) = load_trials(search.paths)
    assert (trial.outcome, len(trial.failures), trial.attempts, trial.seconds) == (Outcome.WORKER_LOST, 2, 4, 4.0)


def test_a_search_that_never_began_has_nothing_to_take_up(make_search):
    search = make_search()
    assert reopen_failed(search.paths, load_spec(search.paths), CAN_FAIL) == []
    assert list(begun_problems(search.paths, Config)) == []


def test_begun_trials_whose_configuration_the_method_takes_no_more_are_named(make_search):
    search = make_search()
    study = search.open()
    numbers = [study.ask().number for _ in range(3)]
    study.tell(numbers[0], Outcome.COMPLETED, result(val_error=1.0))
    study.tell(numbers[1], Outcome.STOPPED, result())

    assert list(begun_problems(search.paths, Config)) == []
    problems = list(begun_problems(search.paths, MethodConfig))  # of ripple's own fields it knows none
    assert [problem.split(":")[0] for problem in problems] == ["trial 1", "trial 2"]
    assert "shift" in problems[0]


def test_an_invalid_configuration_that_the_method_takes_again_is_recorded_whole(make_search):
    search = make_search(base={"size": 9}, budget={"trials": 2})
    assert search.open().ask() is None
    assert reopen_failed(search.paths, search.spec, [Outcome.INVALID_CONFIG]) == [0, 1]

    class Mended(Config):
        def check_data(self):
            pass

    search.config_type = Mended
    study = search.open()
    numbers = [study.ask().number for _ in itertools.repeat(None, 2)]
    assert numbers == [0, 1]
    assert all(record.config["steps"] == 30 for record in load_trials(search.paths))
