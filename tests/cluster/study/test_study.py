import json
import math

import pytest
from optuna.trial import Trial, TrialState

from cluster.state.outcomes import Outcome
from cluster.state.records import load_trials, record_of
from tests.searching import WIDE, optuna_trials, quadratic, result

GRID = {"shift": {"low": -1.0, "high": 1.0, "step": 0.5}, "size": [2, 3]}
RUNGS = {"name": "asha", "grace_steps": 10, "reduction": 2}


# -- numbers and repeats


def test_trials_are_numbered_from_zero_and_end_with_the_budget(make_search):
    search = make_search()
    assert list(search.run(quadratic)) == list(range(15))
    assert search.open().finished() == "trials: all 15 have ended"
    assert search.open().ask() is None


def test_every_field_of_the_config_is_in_the_record(make_search):
    search = make_search(base={"steps": 7}, budget={"trials": 1})
    configs = search.run(quadratic)
    (record,) = load_trials(search.paths)
    assert record.config == configs[0]
    assert record.config["steps"] == 7
    assert record.config["optional"] is None
    assert record.params == {name: configs[0][name] for name in WIDE}
    assert (record.outcome, record.step, record.seconds, record.attempts) == (Outcome.COMPLETED, 30, 1.0, 1)


@pytest.mark.parametrize("sampler", ["random", "tpe", "grid", "nsga2", "qmc"])
def test_a_repeated_configuration_has_one_trial_per_seed_with_equal_params(make_search, sampler):
    search = make_search(space=GRID, repeats={"seeds": [4, 2, 9]}, sampler={"name": sampler}, budget={"trials": 24})
    configs = search.run(lambda config: {"val_error": abs(config["shift"]) + config["seed"] / 100})
    assert [config["seed"] for config in configs.values()] == [4, 2, 9] * 8
    records = load_trials(search.paths)
    assert [record.configuration for record in records] == [number // 3 for number in range(24)]
    for first, second, third in zip(records[::3], records[1::3], records[2::3], strict=True):
        assert first.params == second.params == third.params
    assert len({json.dumps(record.params) for record in records}) > 4


def test_repeats_share_their_params_under_hyperband_too(make_search):
    stopping = {"name": "hyperband", "grace_steps": 10, "reduction": 2}
    repeats, base = {"seeds": [0, 1]}, {"steps": 80}
    search = make_search(base=base, repeats=repeats, early_stopping=stopping, budget={"trials": 40})
    study = search.open()
    while assignment := study.ask():
        for step in (10, 20, 40, 80):
            study.report(assignment.number, step, quadratic(assignment.config))
        study.tell(assignment.number, Outcome.COMPLETED, result(**quadratic(assignment.config)))
    records = load_trials(search.paths)
    assert len(study._study.pruner._pruners) == 4
    assert all(first.params == second.params for first, second in zip(records[::2], records[1::2], strict=True))


def test_repeats_asked_for_at_the_same_time_share_their_params(make_search):
    study = make_search(repeats={"seeds": [0, 1, 2]}, budget={"trials": 9}, sampler={"name": "tpe"}).open()
    asked = [study.ask() for _ in range(9)]
    shifts = [assignment.config["shift"] for assignment in asked]
    assert [len(set(shifts[index : index + 3])) for index in (0, 3, 6)] == [1, 1, 1]
    assert len(set(shifts)) == 3


# -- taking up again


@pytest.mark.parametrize("at", [0, 1, 7, 14])
def test_random_configs_are_the_same_after_a_kill_between_two_trials(make_search, at):
    straight = make_search().run(quadratic)
    search = make_search()
    first = search.run(quadratic, most=at)
    assert first | search.run(quadratic) == straight


@pytest.mark.parametrize("suggested", [[], ["learning_rate"], ["learning_rate", "shift"]])
def test_random_configs_are_the_same_after_a_kill_in_the_midst_of_suggesting(make_search, suggested):
    straight = make_search().run(quadratic)
    search = make_search()
    study = search.open()
    search.run(quadratic, study, most=4)
    trial = study._study.ask()  # what `ask` does, up to the kill
    for name in suggested:
        low, high, log = ((0.0001, 1.0, True), (-2.0, 2.0, False))[name == "shift"]
        trial.suggest_float(name, low, high, log=log)
    configs = search.run(quadratic)
    assert configs == {number: config for number, config in straight.items() if number >= 4}


def test_another_seed_gives_other_configs(make_search):
    first = make_search(sampler={"name": "random", "seed": 0}).run(quadratic)
    second = make_search(sampler={"name": "random", "seed": 1}).run(quadratic)
    assert not {c["shift"] for c in first.values()} & {c["shift"] for c in second.values()}


def test_trials_left_running_are_taken_up_first_under_their_number_and_config(make_search):
    search = make_search()
    study = search.open()
    asked = [study.ask() for _ in range(4)]
    for number in (0, 2):
        study.tell(number, Outcome.COMPLETED, result(val_error=1.0))
    again = search.open()
    assert [again.ask(), again.ask()] == [asked[1], asked[3]]
    assert again.ask().number == 4
    assert [record.attempts for record in again.records()] == [1, 2, 1, 2, 1]


def test_a_stopped_trial_is_open_and_taken_up_again_under_its_number(make_search):
    search = make_search(budget={"trials": 2})
    study = search.open()
    first, _ = study.ask(), study.ask()
    study.tell(0, Outcome.STOPPED, result(seconds=5.0, val_error=3.0))
    study.tell(1, Outcome.COMPLETED, result(val_error=1.0))
    assert study.finished() == ""
    record = load_trials(search.paths)[0]
    assert (record.outcome, record.metrics) == (Outcome.STOPPED, {"val_error": 3.0})
    again = search.open()
    assert again.ask() == first
    assert again.records()[0].outcome is None  # it runs
    again.tell(0, Outcome.COMPLETED, result(seconds=2.0, val_error=0.5))
    record = load_trials(search.paths)[0]
    assert (record.outcome, record.attempts) == (Outcome.COMPLETED, 1)
    assert record.seconds == 7.0  # what it used before it was stopped counts too
    assert again.finished() == "trials: all 2 have ended"
    assert search.open().tally.cpu_hours * 3600 == pytest.approx(8.0)
    assert again.tally.cpu_hours * 3600 == pytest.approx(8.0)


def test_a_stopped_trial_is_taken_up_by_the_same_driver_too(make_search):
    study = make_search().open()
    first = study.ask()
    study.tell(0, Outcome.STOPPED, result(val_error=3.0))
    assert study.ask() == first


def test_a_torn_last_line_of_the_journal_is_cut_off_and_the_search_goes_on(make_search):
    search = make_search()
    first = search.run(quadratic, most=5)
    with search.paths.journal.open("ab") as journal:
        journal.write(b'{"op_code": 4, "worker_id"')
    assert len(load_trials(search.paths)) == 5  # a reader does not mind
    study = search.open()
    assert study.repaired_bytes == 26
    assert first | search.run(quadratic, study) == make_search().run(quadratic)


@pytest.mark.parametrize("cut", [1, 40])
def test_a_journal_torn_within_its_last_entry_loses_that_entry_alone(make_search, cut):
    search = make_search()
    search.run(quadratic, most=5)
    content = search.paths.journal.read_bytes()
    search.paths.journal.write_bytes(content[:-cut])
    study = search.open()
    assert study.repaired_bytes == len(content.rstrip(b"\n").rpartition(b"\n")[2]) - cut + 1
    assert study.ask().number == 4  # the last trial's end was the last entry
    assert [record.number for record in study.records()] == [0, 1, 2, 3, 4]


# -- outcomes


@pytest.mark.parametrize(
    ("outcome", "state", "value"),
    [
        (Outcome.COMPLETED, TrialState.COMPLETE, 2.0),
        (Outcome.PRUNED, TrialState.PRUNED, 3.0),
        (Outcome.DIVERGED, TrialState.PRUNED, math.inf),
        (Outcome.SOLVER_FAILED, TrialState.PRUNED, math.inf),
        (Outcome.CRASHED, TrialState.FAIL, None),
        (Outcome.WORKER_LOST, TrialState.FAIL, None),
        (Outcome.OUT_OF_MEMORY, TrialState.FAIL, None),
        (Outcome.DISK_FULL, TrialState.FAIL, None),
        (Outcome.STOPPED, TrialState.RUNNING, None),
    ],
)
def test_an_outcome_is_told_with_the_state_that_the_sampler_should_see(make_search, outcome, state, value):
    search = make_search(early_stopping=RUNGS, retries=0)
    study = search.open()
    study.ask()
    study.report(0, 10, {"val_error": 3.0})
    assert study.tell(0, outcome, {**result(val_error=2.0), "error": "why"}).outcome is outcome
    (trial,) = optuna_trials(study)
    assert (trial.state, trial.value) == (state, value)
    (record,) = load_trials(search.paths)
    assert (record.outcome, record.error) == (outcome, "why")
    assert record_of(trial) == record


@pytest.mark.parametrize(("mode", "worst"), [("min", math.inf), ("max", -math.inf)])
def test_a_diverged_trial_is_told_as_pruned_with_the_worst_value(make_search, mode, worst):
    study = make_search(objective={"metric": "val_error", "mode": mode}).open()
    study.ask()
    study.tell(0, Outcome.DIVERGED, result(val_error=0.1))
    (trial,) = optuna_trials(study)
    assert (trial.state, trial.value) == (TrialState.PRUNED, worst)


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_completed_trial_without_a_finite_objective_diverged(make_search, value):
    search = make_search()
    study = search.open()
    study.ask()
    metrics = {} if value is None else {"val_error": value}
    assert study.tell(0, Outcome.COMPLETED, result(**metrics)).outcome is Outcome.DIVERGED
    assert load_trials(search.paths)[0].outcome is Outcome.DIVERGED
    assert study.tally.best is None
    assert study.tally.outcomes == {"diverged": 1}


def test_a_sampler_keeps_away_from_where_trials_diverge(make_search):
    search = make_search(sampler={"name": "tpe"}, budget={"trials": 60})
    study = search.open()
    while assignment := study.ask():
        if assignment.config["shift"] > 0:
            study.tell(assignment.number, Outcome.DIVERGED, result())
        else:
            study.tell(assignment.number, Outcome.COMPLETED, result(val_error=1.0))
    late = [record.config["shift"] for record in study.records()[30:]]
    assert sum(shift > 0 for shift in late) < 10


def test_a_ruled_out_configuration_is_told_and_the_next_is_asked(make_search):
    search = make_search(space={"size": [7, 8, 9, 10]}, sampler={"name": "grid"}, budget={})
    configs = search.run(lambda config: {"val_error": 1.0})
    assert sorted(config["size"] for config in configs.values()) == [7, 8]
    records = load_trials(search.paths)
    ruled_out = [record for record in records if record.outcome is Outcome.INVALID_CONFIG]
    assert sorted(record.config["size"] for record in ruled_out) == [9, 10]
    assert {record.error for record in ruled_out} == {
        f"size = {size}: the data has eight columns (allowed: 1 to 8)" for size in (9, 10)
    }
    assert len(records) == 4
    assert search.open().finished() == "trials: all 4 have ended"


def test_a_value_that_the_method_refuses_is_an_invalid_config_that_says_so(make_search):
    search = make_search(space={"optional": {"low": -1.0, "high": -0.5}}, budget={"trials": 2})
    assert search.run(quadratic) == {}
    for record in load_trials(search.paths):
        assert record.outcome is Outcome.INVALID_CONFIG
        assert record.error.startswith("optional = -0.")
        assert "greater than 0" in record.error


# -- the study's own notes


def test_waves_are_noted_in_the_study(make_search):
    search = make_search()
    search.open().add_wave({"wave": 1, "trials": 3})
    search.open().add_wave({"wave": 2, "trials": 5})
    assert search.open().waves == [{"wave": 1, "trials": 3}, {"wave": 2, "trials": 5}]


def test_a_trial_is_the_optuna_trial_of_its_number(make_search):
    study = make_search().open()
    study.ask()
    assert isinstance(study._running[0], Trial)
    assert study.is_running(0)
    study.tell(0, Outcome.COMPLETED, result(val_error=1.0))
    assert not study.is_running(0)
