import pytest

from cluster.state.outcomes import Outcome
from tests.searching import result

GRID = {"shift": {"low": -1.0, "high": 1.0, "step": 0.5}, "size": [2, 3]}


def test_the_budget_of_hours_counts_the_time_of_all_drivers(make_search):
    now = 100.0
    search = make_search(budget={"hours": 2.0})
    study = search.open(clock=lambda: now)
    study.ask()
    now += 3600
    study.tell(0, Outcome.COMPLETED, result(val_error=1.0))
    study.save_active()
    now += 10**6  # nobody works on it
    study = search.open(clock=lambda: now)
    assert study.tally.spent() == ""
    assert study.ask() is not None
    now += 3599
    assert study.tally.spent() == ""
    now += 1
    assert study.tally.spent() == "hours: 2.00 of 2 used"
    assert study.ask() is None
    assert study.finished() == ""  # one is running
    study.tell(1, Outcome.STOPPED, result())
    assert study.finished() == "hours: 2.00 of 2 used"


def test_the_budget_of_core_hours_counts_the_cpus_that_trials_held(make_search):
    search = make_search(budget={"core_hours": 1.0}, resources={"cpus_per_trial": 2})
    study = search.open()
    for number, seconds in enumerate((600, 600)):
        study.ask()
        study.tell(number, Outcome.CRASHED, result(seconds=seconds))
    assert study.tally.spent() == ""
    study.ask()
    study.tell(2, Outcome.STOPPED, result(seconds=601))  # it has cost, though it is not over
    assert study.tally.spent() == search.open().tally.spent() == "core_hours: 1.00 of 1 used"
    assert search.open().ask() is None or search.open().finished()


@pytest.mark.parametrize(("mode", "values"), [("min", [2.0, 1.2, 1.0]), ("max", [0.1, 0.9, 1.0])])
def test_the_budget_ends_where_the_target_is_reached(make_search, mode, values):
    search = make_search(objective={"metric": "val_error", "mode": mode}, budget={"trials": 99, "target": 1.0})
    study = search.open()
    for number, value in enumerate(values):
        assert study.tally.spent() == ""
        study.ask()
        study.tell(number, Outcome.COMPLETED, result(val_error=value))
    assert study.tally.spent() == search.open().finished() == "target: 1 reached by trial 2"


def test_the_target_is_not_reached_by_a_trial_that_breaks_a_constraint(make_search):
    search = make_search(constraints=[{"metric": "train_loss", "max": 0.0}], budget={"trials": 9, "target": 1.0})
    study = search.open()
    study.ask()
    study.tell(0, Outcome.COMPLETED, result(val_error=0.5, train_loss=1.0))
    assert study.tally.spent() == ""


def test_patience_counts_ended_trials_since_the_best(make_search):
    search = make_search(budget={"patience_trials": 3})
    study = search.open()
    ends = [(Outcome.COMPLETED, 2.0), (Outcome.COMPLETED, 3.0), (Outcome.CRASHED, 0.0), (Outcome.COMPLETED, 1.0)]
    ends += [(Outcome.PRUNED, 0.5), (Outcome.COMPLETED, 1.0), (Outcome.COMPLETED, 1.5)]
    for number, (outcome, value) in enumerate(ends):
        assert study.tally.spent() == ""
        study.ask()
        study.tell(number, outcome, result(val_error=value))
    assert study.tally.spent() == search.open().tally.spent() == "patience_trials: no better trial among the last 3"
    assert study.tally.best == (1.0, (3,))


def test_a_grid_ends_by_itself_or_with_its_budget(make_search):
    grid = {"space": GRID, "sampler": {"name": "grid"}}
    assert make_search(**grid, budget={}, repeats={"seeds": [1, 2]}).open().max_trials == 20
    assert make_search(**grid, budget={"trials": 7}).open().max_trials == 7
    assert make_search(**grid, budget={"trials": 700}).open().max_trials == 10


def test_what_may_yet_run_are_the_trials_that_have_not_ended(make_search):
    search = make_search(budget={"trials": 3})
    study = search.open()
    for number, outcome in enumerate((Outcome.COMPLETED, Outcome.STOPPED)):
        assert (study.ask().number, study.num_left) == (number, 3 - number)
        study.tell(number, outcome, result(val_error=1.0))
    assert study.num_left == search.open().num_left == 2  # the stopped one is taken up again
    assert make_search(budget={"hours": 1}).open().num_left is None


def test_patience_goes_by_when_trials_ended_not_by_their_numbers(make_search):
    search = make_search(budget={"patience_trials": 3})
    study = search.open()
    for _ in range(5):
        study.ask()
    for number in (1, 2):
        study.tell(number, Outcome.COMPLETED, result(val_error=5.0))
    study.tell(0, Outcome.COMPLETED, result(val_error=1.0))  # asked first, ended after them
    study.tell(3, Outcome.COMPLETED, result(val_error=5.0))
    assert study.tally.since_best == search.open().tally.since_best == 1


def test_with_repeats_the_best_is_the_mean_of_a_complete_set(make_search):
    study = make_search(repeats={"seeds": [0, 1]}, budget={"target": 1.0, "trials": 6}).open()
    for value in (0.1, 9.0, 2.0, 2.0, 0.2):
        number = study.ask().number
        study.tell(number, Outcome.COMPLETED, result(val_error=value))
    assert study.tally.best == (2.0, (2, 3))
    assert study.tally.spent() == ""  # one lucky seed has not reached the target
