"""What becomes of a trial that the machine failed, in the study alone."""

import os

import pytest

from cluster.state.outcomes import Outcome
from cluster.state.records import load_trials
from cluster.study.study import MOST_DEAD_DRIVERS
from tests.searching import result

MACHINES = [outcome for outcome in Outcome if outcome.is_machines]


def test_no_outcome_is_both_the_machines_and_the_trials_own():
    assert not [outcome for outcome in Outcome if outcome.is_own and outcome.is_machines]
    others = {outcome for outcome in Outcome if not outcome.is_own and not outcome.is_machines}
    assert others == {Outcome.STOPPED}


@pytest.mark.parametrize("outcome", MACHINES)
def test_a_failure_of_the_machine_is_retried_then_final(make_search, outcome):
    search = make_search(retries=1, budget={"trials": 2})
    study = search.open()
    study.ask()
    first = study.tell(0, outcome, {**result(), "error": "the first time"})
    assert first.is_open
    assert study.finished() == ""
    assert study.ask().number == 0
    assert load_trials(search.paths)[0].attempts == 2
    last = study.tell(0, outcome, {**result(), "error": "the second time"})
    assert (last.is_open, last.outcome, last.error, last.attempts) == (False, outcome, "the second time", 2)
    assert [failure["error"] for failure in last.failures] == ["the first time", "the second time"]
    assert last.seconds == 2.0
    assert study.ask().number == 1


@pytest.mark.parametrize("outcome", [one for one in Outcome if one.is_own])
def test_a_trials_own_end_is_final_at_once(make_search, outcome):
    study = make_search(retries=5).open()
    study.ask()
    assert not study.tell(0, outcome, result(val_error=1.0)).is_open


def test_failures_of_earlier_drivers_count(make_search):
    search = make_search(retries=2)
    for _ in range(3):
        study = search.open()
        study.ask()
        record = study.tell(0, Outcome.WORKER_LOST, result())
    assert (record.outcome, record.attempts, len(record.failures)) == (Outcome.WORKER_LOST, 3, 3)


def test_what_was_not_its_fault_is_not_held_against_it(make_search):
    study = make_search(retries=0).open()
    for _ in range(5):
        study.ask()
        record = study.tell(0, Outcome.DISK_FULL, result(), is_its_fault=False)
        assert (record.outcome, record.is_open, record.attempts, record.failures) == (Outcome.DISK_FULL, True, 1, [])


def test_a_trial_that_brings_down_one_driver_after_the_other_is_given_up(make_search):
    search = make_search(retries=0)
    for attempt in range(1, MOST_DEAD_DRIVERS + 1):
        assert search.open().ask().number == 0  # and its driver dies
        assert load_trials(search.paths)[0].attempts == attempt
    assert search.open().ask().number == 1
    record = load_trials(search.paths)[0]
    assert record.attempts == MOST_DEAD_DRIVERS
    assert record.outcome is Outcome.WORKER_LOST
    assert (
        record.error
        == f"{MOST_DEAD_DRIVERS} wave drivers in a row died while it ran, and it came no further in between"
    )


def test_a_trial_that_comes_on_between_dead_drivers_is_not_given_up(make_search):
    search = make_search()
    for step in range(3 * MOST_DEAD_DRIVERS):
        assert search.open().ask().number == 0
        if step % 3 == 0:
            search.paths.checkpoint(0).write_bytes(b"x" * step)
            os.utime(search.paths.checkpoint(0), ns=(step, step))


def test_a_stopped_trial_was_not_brought_down(make_search):
    search = make_search()
    for _ in range(3 * MOST_DEAD_DRIVERS):
        study = search.open()
        assert study.ask().number == 0
        study.tell(0, Outcome.STOPPED, result())
    assert load_trials(search.paths)[0].attempts == 1


def test_hours_that_are_too_short_for_anything_are_used_up(make_search):
    now = 0.0
    search = make_search(budget={"hours": 1.0})
    study = search.open(clock=lambda: now)
    now = 3500.0
    study.use_up_hours()
    assert study.finished() == "hours: 1.00 of 1 used"
    assert search.open(clock=lambda: now).finished() == "hours: 1.00 of 1 used"
