import hashlib
import itertools
import math
import statistics

import pytest
from optuna.trial import TrialState

from cluster.state.outcomes import Outcome
from cluster.state.records import load_trials
from cluster.study.configurations import choose_configurations
from cluster.study.samplers import Shuffle
from tests.searching import make_spec, optuna_trials, quadratic, result

GRID = {"shift": {"low": -1.0, "high": 1.0, "step": 0.5}, "size": [2, 3]}


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


def test_qmc_draws_conditional_parameters_anew_for_each_trial(make_search):
    rate = {"low": 0.0, "high": 1.0, "when": {"size": 2}}
    space = {"size": [2, 3], "learning_rate": {"low": 0.1, "high": 1.0, "when": {"size": 2}}, "shift": rate}
    configs = make_search(space=space, sampler={"name": "qmc"}).run(quadratic).values()
    active = [(config["learning_rate"], config["shift"]) for config in configs if config["size"] == 2]
    assert len(active) > 3
    assert len({rate for rate, _ in active}) == len({shift for _, shift in active}) == len(active)
    assert len({round((rate - 0.1) / 0.9 - shift, 6) for rate, shift in active}) > 1


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
