import math
import statistics

import pytest

from cluster.state.outcomes import Outcome
from cluster.study.configurations import largest_num_steps
from tests.searching import WIDE, optuna_trials, quadratic, result

RUNGS = {"name": "asha", "grace_steps": 10, "reduction": 2}


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


def test_hyperbands_brackets_come_from_the_longest_training(make_search):
    stopping = {"name": "hyperband", "grace_steps": 100, "reduction": 3}
    study = make_search(base={"steps": 900}, early_stopping=stopping).open()
    assert study._study.pruner._max_resource == 900


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
