import hashlib
import itertools
import json
import math
import statistics
from typing import Annotated, ClassVar

import pytest
from optuna.trial import Trial, TrialState
from pydantic import model_validator

from cluster.state.outcomes import Outcome
from cluster.state.records import load_trials, record_of
from cluster.study.configurations import choose_configurations, largest_num_steps
from cluster.study.samplers import Shuffle
from cluster.study.second_try import begun_problems
from tests.methods.ripple.config import Config
from tests.searching import WIDE, make_spec, result
from trainables._shared.config import NUMERIC

GRID = {"shift": {"low": -1.0, "high": 1.0, "step": 0.5}, "size": [2, 3]}
RUNGS = {"name": "asha", "grace_steps": 10, "reduction": 2}


def quadratic(config):
    """Smallest at learning_rate 0.03 and shift 0.5."""
    return {"val_error": (math.log10(config["learning_rate"]) + 1.5) ** 2 + (config["shift"] - 0.5) ** 2}


def optuna_trials(study):
    return study._study.get_trials(deepcopy=False)


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


# -- grids and conditions


def test_a_grid_is_tried_exactly_once_in_an_order_its_seed_gives(make_search):
    search = make_search(space=GRID, sampler={"name": "grid", "seed": 3}, budget={})
    configs = search.run(lambda config: {"val_error": 1.0})
    tried = [(config["shift"], config["size"]) for config in configs.values()]
    assert sorted(tried) == sorted(itertools.product([-1.0, -0.5, 0.0, 0.5, 1.0], [2, 3]))
    assert tried != sorted(tried)
    other = make_search(space=GRID, sampler={"name": "grid", "seed": 4}, budget={})
    assert [(c["shift"], c["size"]) for c in other.run(lambda config: {"val_error": 1.0}).values()] != tried


@pytest.mark.parametrize("at", range(10))
def test_a_grid_opened_again_goes_on_in_the_same_order(make_search, at):
    parts = {"space": GRID, "sampler": {"name": "grid"}, "budget": {}}
    straight = make_search(**parts).run(lambda config: {"val_error": 1.0})
    search = make_search(**parts)
    first = search.run(lambda config: {"val_error": 1.0}, most=at)
    assert first | search.run(lambda config: {"val_error": 1.0}) == straight


def test_an_inactive_parameter_is_not_sampled_and_keeps_the_methods_default(make_search):
    space = {"size": [2, 3], "optional": {"low": 1.0, "high": 2.0, "when": {"size": 3}}}
    search = make_search(space=space, budget={"trials": 20})
    configs = search.run(lambda config: {"val_error": 1.0})
    assert {config["size"] for config in configs.values()} == {2, 3}
    for record in load_trials(search.paths):
        active = record.config["size"] == 3
        assert ("optional" in record.params) == active
        assert (record.config["optional"] is not None) == active


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


# -- samplers


def medians(make_search, sampler, trials=40, **parts):
    search = make_search(sampler={"name": sampler}, budget={"trials": trials}, **parts)
    configs = search.run(quadratic)
    return statistics.median(quadratic(config)["val_error"] for config in configs.values())


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "nsga2", "qmc", "random"])
def test_a_sampler_runs_within_the_ranges_with_the_same_numbers_twice(make_search, sampler):
    first, second = (make_search(sampler={"name": sampler}).run(quadratic) for _ in range(2))
    assert first == second
    assert len(first) == 15
    assert len({config["shift"] for config in first.values()}) == 15
    assert all(0.0001 <= config["learning_rate"] <= 1 and abs(config["shift"]) <= 2 for config in first.values())


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_a_sampler_that_learns_beats_chance_by_a_factor(make_search, sampler):
    assert medians(make_search, sampler) < 0.5 * medians(make_search, "random")


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_a_sampler_goes_on_learning_where_it_was(make_search, sampler):
    straight = make_search(sampler={"name": sampler}, budget={"trials": 25}).run(quadratic)
    search = make_search(sampler={"name": sampler}, budget={"trials": 25})
    configs = {}
    while len(configs) < 25:
        configs |= search.run(quadratic, most=6)
    assert configs == straight


@pytest.mark.slow
def test_the_gaussian_process_sampler_beats_chance(make_search):
    """Needs PyTorch, which the tests' environment brings along."""
    assert medians(make_search, "gp", trials=20) < 0.5 * medians(make_search, "random", trials=20)


def test_quasi_random_points_cover_a_square_evenly(make_search):
    space = {"shift": {"low": 0.0, "high": 1.0}, "weight_decay": {"low": 0.0, "high": 1.0}}
    search = make_search(space=space, sampler={"name": "qmc"}, budget={"trials": 17})
    configs = list(search.run(lambda config: {"val_error": 1.0}).values())[1:]  # the first finds the space
    cells = {(int(config["shift"] * 4), int(config["weight_decay"] * 4)) for config in configs}
    assert len(cells) == 16


# -- constraints and several objectives


def constrained(config):
    return {"val_error": 2.0 + config["shift"], "train_loss": -config["shift"]}


def test_the_best_trial_keeps_its_constraints(make_search):
    search = make_search(constraints=[{"metric": "train_loss", "max": 1.0}], budget={"trials": 30})
    study = search.open()
    search.run(constrained, study)
    values = {record.number: record.metrics for record in study.records()}
    feasible = {number: v["val_error"] for number, v in values.items() if v["train_loss"] <= 1.0}
    assert study.tally.best == (min(feasible.values()), (min(feasible, key=feasible.get),))
    assert min(v["val_error"] for v in values.values()) < study.tally.best[0]


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_a_sampler_is_told_how_far_each_constraint_is_violated(make_search, sampler):
    constraints = [{"metric": "train_loss", "max": 1.0, "min": -1.0}]
    study = make_search(constraints=constraints, sampler={"name": sampler}, budget={"trials": 3}).open()
    for number, loss in enumerate((0.5, 3.0, None)):
        study.ask()
        metrics = {"val_error": 1.0} | ({"train_loss": loss} if loss is not None else {})
        study.tell(number, Outcome.COMPLETED, result(**metrics))
    told = [list(trial.constraints.values()) for trial in optuna_trials(study)]
    assert told == [[-0.5, -1.5], [2.0, -4.0], [math.inf, math.inf]]


def test_tpe_searches_where_the_constraints_hold(make_search):
    parts = {"budget": {"trials": 60}, "sampler": {"name": "tpe"}}
    free = make_search(**parts).run(constrained)
    bound = make_search(**parts, constraints=[{"metric": "train_loss", "max": 1.0}]).run(constrained)

    def late(configs):
        return [config["shift"] for number, config in configs.items() if number >= 30]

    assert statistics.median(late(free)) < -1.5
    assert -1.2 < statistics.median(late(bound)) < 0


@pytest.mark.parametrize("sampler", ["nsga2", "tpe", "random", "qmc"])
def test_a_search_with_two_objectives_has_a_front(make_search, sampler):
    objectives = [{"metric": "val_error"}, {"metric": "train_loss", "mode": "max"}]
    search = make_search(objective=objectives, sampler={"name": sampler})
    study = search.open()
    search.run(lambda config: {"val_error": config["shift"] ** 2, "train_loss": config["shift"]}, study)
    assert len(study._study.best_trials) >= 2
    assert all(trial.params["shift"] >= 0 for trial in study._study.best_trials[:1])
    assert study.tally.best is None
    assert study.finished() == "trials: all 15 have ended"


def test_with_two_objectives_a_trial_without_one_of_them_diverged(make_search):
    objectives = [{"metric": "val_error"}, {"metric": "train_loss"}]
    study = make_search(objective=objectives, sampler={"name": "nsga2"}).open()
    study.ask()
    assert study.report(0, 10, {"val_error": 1.0})
    assert study.tell(0, Outcome.COMPLETED, result(val_error=1.0)).outcome is Outcome.DIVERGED
    assert optuna_trials(study)[0].state is TrialState.FAIL


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


# -- budget


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


# -- early stopping


def early_stopped(make_search, reopen_every, **parts):
    """Run trials to 80 steps in lots of four, side by side; return at which step each was stopped, or None."""
    search = make_search(early_stopping=parts.pop("early_stopping", RUNGS), budget={"trials": 24}, **parts)
    study, ended, reports = search.open(), {}, 0
    while asked := [a for _ in range(4) if (a := study.ask())]:
        running = {a.number: a.config for a in asked}
        for step in (10, 20, 40, 80):
            for number, config in list(running.items()):
                reports += 1
                goes_on = study.report(number, step, {"val_error": quadratic(config)["val_error"] + 1 / step})
                if not goes_on or step == 80:
                    study.tell(number, Outcome.COMPLETED if goes_on else Outcome.PRUNED, result(**quadratic(config)))
                    ended[number] = None if goes_on else step
                    del running[number]
                if reopen_every and reports % reopen_every == 0:
                    study = search.open()
                    taken_up = {a.number for a in (study.ask() for _ in range(len(running)))}
                    assert taken_up == set(running)
    return ended, [record.params for record in study.records()]


def test_asha_stops_the_worse_at_its_rungs_and_lets_the_best_go_on(make_search):
    ended, params = early_stopped(make_search, 0)
    stopped = {number: step for number, step in ended.items() if step}
    assert set(stopped.values()) == {10, 20}
    assert 10 <= len(stopped) <= 20
    errors = [quadratic(p)["val_error"] for p in params]
    went_on = [errors[number] for number in ended if number not in stopped]
    assert min(errors) == min(went_on)
    assert statistics.median(went_on) < statistics.median(errors[number] for number in stopped)


@pytest.mark.parametrize("every", [1, 7])
def test_asha_decides_the_same_however_often_the_study_is_opened_again(make_search, every):
    assert early_stopped(make_search, every) == early_stopped(make_search, 0)


def test_hyperband_decides_the_same_however_often_the_study_is_opened_again(make_search):
    stopping = {"name": "hyperband", "grace_steps": 10, "reduction": 2}
    straight = early_stopped(make_search, 0, early_stopping=stopping)
    assert any(straight[0].values())
    assert early_stopped(make_search, 5, early_stopping=stopping) == straight


def test_without_early_stopping_every_trial_goes_on(make_search):
    ended, _ = early_stopped(make_search, 0, early_stopping={"name": "none"})
    assert set(ended.values()) == {None}


def test_a_report_that_is_no_number_counts_as_the_worst(make_search):
    study = make_search(early_stopping=RUNGS, objective={"metric": "val_error", "mode": "max"}).open()
    for number, value in enumerate((0.1, 0.2, 0.3, math.nan)):
        study.ask()
        goes_on = study.report(number, 10, {"val_error": value})
        assert goes_on == (number < 3)
    assert optuna_trials(study)[3].intermediate_values == {10: -math.inf}


def test_a_step_reported_again_after_a_checkpoint_is_written_once(make_search, recwarn):
    search = make_search(early_stopping=RUNGS)
    study = search.open()
    study.ask()
    study.report(0, 10, {"val_error": 1.0})
    study.report(0, 20, {"val_error": 0.9})
    study = search.open()
    study.ask()
    assert study.report(0, 10, {"val_error": 1.0})
    assert study.report(0, 20, {"val_error": 0.9})
    assert optuna_trials(study)[0].intermediate_values == {10: 1.0, 20: 0.9}
    assert not recwarn.list


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


def test_qmc_draws_conditional_parameters_anew_for_each_trial(make_search):
    rate = {"low": 0.0, "high": 1.0, "when": {"size": 2}}
    space = {"size": [2, 3], "learning_rate": {"low": 0.1, "high": 1.0, "when": {"size": 2}}, "shift": rate}
    configs = make_search(space=space, sampler={"name": "qmc"}).run(quadratic).values()
    active = [(config["learning_rate"], config["shift"]) for config in configs if config["size"] == 2]
    assert len(active) > 3
    assert len({rate for rate, _ in active}) == len({shift for _, shift in active}) == len(active)
    assert len({round((rate - 0.1) / 0.9 - shift, 6) for rate, shift in active}) > 1


def test_hyperbands_brackets_come_from_the_longest_training(make_search):
    stopping = {"name": "hyperband", "grace_steps": 100, "reduction": 3}
    study = make_search(base={"steps": 900}, early_stopping=stopping).open()
    assert study._study.pruner._max_resource == 900


def test_a_trial_taken_up_again_keeps_the_config_it_began_with(make_search):
    search = make_search()
    study = search.open()
    begun = study.ask().config
    trial = study._running[0]
    trial.set_user_attr("assigned", {"configuration": 0, "config": {**begun, "size": 7}})  # an older default
    assert search.open().ask().config == {**begun, "size": 7}


class Later(Config):
    """Ripple's config after its author has changed what it leaves unsaid."""

    shift: Annotated[float, NUMERIC] = 2.0
    pace_s: float = 5.0
    size: int = 7
    optional: float | None = None
    extra: int = 0

    @model_validator(mode="before")
    @classmethod
    def _derive(cls, values):
        """Make the batch as large as the training is long."""
        return {"batch_size": values.get("steps", 30), **values}


class Earlier(Later):
    gone: int = 0


def test_new_trials_of_a_resumed_search_keep_the_defaults_that_it_began_with(make_search):
    search = make_search(
        base={"size": 2}, space={"steps": {"type": "int", "low": 1, "high": 10**6}}, budget={"trials": 3}
    )
    first = search.open()
    begun = [first.ask().config for _ in range(2)]
    assert [config["shift"] for config in begun] == [1.0, 1.0]
    first.close()
    search.config_type = Later
    study = search.open()
    assert [study.ask().config["shift"] for _ in range(2)] == [1.0, 1.0]
    new = study.ask().config
    assert new["steps"] not in [config["steps"] for config in begun]
    assert new == {**begun[0], "steps": new["steps"], "extra": 0}


def test_what_a_method_derives_from_other_fields_is_derived_anew_for_each_trial(make_search):
    search = make_search(space={"steps": {"type": "int", "low": 1, "high": 10**6}}, budget={"trials": 4})
    configs = []
    for config_type in (Earlier, Later, Later, Later):
        search.config_type = config_type
        study = search.open()
        configs.append(study.ask().config)
        study.tell(len(configs) - 1, Outcome.COMPLETED, result(val_error=1.0))
    assert [config["batch_size"] for config in configs] == [config["steps"] for config in configs]
    assert len({config["steps"] for config in configs}) == 4


def test_a_default_that_only_some_trials_leave_to_the_method_is_kept_too(make_search):
    space = {"trouble": ["none", "nan"], "shift": {"choices": [5.0, 6.0], "when": {"trouble": "nan"}}}
    search = make_search(space=space, budget={"trials": 12}, sampler={"name": "random", "seed": 2})
    search.run(quadratic, most=6)
    search.config_type = Later
    search.run(quadratic)
    configs = [record.config for record in load_trials(search.paths)]
    assert configs[0]["trouble"] == "nan"
    assert {config["shift"] for config in configs if config["trouble"] == "none"} == {1.0}


class Extended(Config):
    """Ripple's config with a field that came later."""

    later_fields: ClassVar = {"manner": "old"}
    manner: str = "new"


def test_trials_of_a_search_from_before_a_field_have_what_was_in_effect_without_it(make_search):
    search = make_search(space={"steps": {"type": "int", "low": 1, "high": 10**6}}, budget={"trials": 2})
    begun = search.open().ask().config
    search.config_type = Extended
    assert list(begun_problems(search.paths, Extended)) == []
    study = search.open()
    assert study.ask().config == {**begun, "manner": "old"}
    assert study.ask().config["manner"] == "old"
    another = make_search(name="another")
    another.config_type = Extended
    assert another.open().ask().config["manner"] == "new"


# -- stepped ranges and huge grids

STEPPED = {"low": 0.0, "high": 0.95, "step": 0.05}


@pytest.mark.parametrize("sampler", ["random", "tpe", "cmaes", "nsga2", "qmc", "grid"])
def test_every_sampler_takes_the_values_of_a_stepped_range_with_their_own_digits(make_search, sampler):
    space = {"shift": STEPPED, "optional": {"choices": [0.5], "when": {"shift": [0.15, 0.35, 0.6, 0.7, 0.95]}}}
    search = make_search(space=space, sampler={"name": sampler}, budget={"trials": 20})
    configs = search.run(lambda config: {"val_error": (config["shift"] - 0.6) ** 2})
    listed = [float(f"{place * 5 / 100:.2f}") for place in range(20)]
    shifts = [config["shift"] for config in configs.values()]
    assert set(shifts) <= set(listed)
    assert [record.params["shift"] for record in load_trials(search.paths)] == shifts
    for config in configs.values():
        assert (config["optional"] == 0.5) is (config["shift"] in (0.15, 0.35, 0.6, 0.7, 0.95))
    if sampler == "grid":
        assert sorted(shifts) == listed


def test_a_step_without_exact_digits_reaches_high(make_search):
    third = {"low": 0.0, "high": 1.0, "step": 0.3333333333333333}
    for step in (third, third | {"step": 0.3333333334}):
        search = make_search(space={"shift": step}, budget={"trials": 15})
        shifts = {config["shift"] for config in search.run(lambda config: {"val_error": 1.0}).values()}
        assert len(shifts) == 4
        assert max(shifts) == 1.0


def test_a_grid_of_a_trillion_points_is_walked_through_without_a_list(make_search):
    space = {"shift": {"low": 0.0, "high": 9.999, "step": 0.001}, "learning_rate": {"low": 1, "high": 2, "step": 1e-4}}
    space["steps"] = {"low": 1, "high": 10_000, "type": "int"}
    search = make_search(space=space, sampler={"name": "grid"}, budget={"trials": 6})
    half = search.run(lambda config: {"val_error": 1.0}, most=3)
    configs = half | search.run(lambda config: {"val_error": 1.0})
    points = {tuple(config[name] for name in space) for config in configs.values()}
    assert len(points) == len(configs) == 6
    assert search.open().grid.size == 10_000 * 10_001 * 10_000
    undisturbed = make_search(space=space, sampler={"name": "grid"}, budget={"trials": 6})
    assert undisturbed.run(lambda config: {"val_error": 1.0}) == configs


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 64, 100, 257])
def test_a_large_grid_is_shuffled_to_every_point_once(size, monkeypatch):
    listed = Shuffle(size, 3)
    assert [listed[index] for index in range(size)] == sorted(
        range(size), key=lambda index: hashlib.sha256(f"3:{index}".encode()).digest()
    )
    monkeypatch.setattr(Shuffle, "LISTED", 0)
    walked = [Shuffle(size, 3)[index] for index in range(size)]
    assert sorted(walked) == list(range(size))
    if size >= 64:
        assert walked != list(range(size))
        assert walked != [Shuffle(size, 4)[index] for index in range(size)]
    with pytest.raises(IndexError):
        Shuffle(size, 3)[size]


def test_a_space_of_conditional_pairs_is_sampled_before_launch_and_not_expanded():
    space = {}
    for number in range(22):
        space[f"use_{number}"] = [True, False]
        space[f"mag_{number}"] = {"low": 1, "high": 10, "type": "int", "when": {f"use_{number}": True}}
    chosen = choose_configurations(make_spec(space=space, sampler={"name": "tpe"}))
    assert chosen.size == 11**22
    assert chosen.sampled
    for number in range(22):
        assert {1, 10} <= {point.get(f"mag_{number}") for point in chosen.points}
        assert all((f"mag_{number}" in point) is point[f"use_{number}"] for point in chosen.points)


def test_hyperbands_longest_training_is_found_out_once(make_search, monkeypatch):
    asked = []

    def counted(spec, config_type):
        asked.append(1)
        return largest_num_steps(spec, config_type)

    monkeypatch.setattr("cluster.study.study.largest_num_steps", counted)
    hyperband = {"name": "hyperband", "grace_steps": 10, "reduction": 2}
    search = make_search(early_stopping=hyperband, space={"steps": [40, 80], "shift": WIDE["shift"]})
    brackets = []
    for _ in range(2):
        study = search.open()
        brackets.append(study._study.pruner._max_resource)
        study.close()
    assert (brackets, asked) == ([80, 80], [1])
    make_search(early_stopping=RUNGS).open()  # successive halving needs no end
    assert asked == [1]
