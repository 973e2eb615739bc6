import json

import pytest

from cluster.outcomes import Outcome
from cluster.records import load_history, load_trials
from cluster.wave import Wave


class Given:
    """A search and its waves, one after the other."""

    def __init__(self, search, most=100):
        self.search = search
        self.paths = search.paths
        self.study = search.open()
        self.wave = Wave(self.study, search.paths, 1, most)

    def reopen(self, number):
        self.wave.close()
        self.study = self.search.open()
        self.wave = Wave(self.study, self.paths, number, 100)

    def start(self):
        """Start a trial as an actor does: return its number and task."""
        given = self.wave.next()
        return given["number"], json.loads(given["task"])

    def complete(self, value):
        """Run a trial to its end, its checkpoint written; return its number."""
        number, task = self.start()
        if task["keep"]:
            self.paths.checkpoint(number).write_bytes(b"model")
        self.wave.end(number, end(val_error=value))
        return number

    def kept(self):
        return sorted(int(file.stem.split("-")[1]) for file in self.paths.checkpoints.iterdir())


def report(step, saved=-1, **metrics):
    return {"step": step, "saved_step": saved, "seconds": step / 10, "metrics": metrics}


def end(outcome="completed", step=30, **metrics):
    return {**report(step, step, **metrics), "outcome": outcome}


@pytest.fixture
def given(make_search):
    def make(most=100, **parts):
        found.append(Given(make_search(**parts), most))
        return found[-1]

    found = []
    yield make
    for each in found:
        each.wave.close()


def test_a_task_tells_an_actor_all_it_needs(given):
    here = given(resources={"cpus_per_trial": 2})
    number, task = here.start()
    config = task.pop("config")
    assert config["learning_rate"] == load_trials(here.paths)[0].params["learning_rate"]
    assert task == {
        "trainable": "tests.methods.ripple",
        "cpus": 2,
        "checkpoint": str(here.paths.checkpoint(number)),
        "drain": str(here.paths.drain),
        "keep": True,
    }


def test_a_wave_starts_only_so_many_trials(given):
    here = given(most=3)
    assert [here.wave.next()["number"] for _ in range(3)] == [0, 1, 2]
    assert here.wave.next() is None


def test_a_wave_ends_with_the_searchs_budget(given):
    here = given(budget={"trials": 2})
    assert [here.complete(1.0), here.complete(2.0)] == [0, 1]
    assert here.wave.next() is None
    assert here.wave.num_ended == 2


def test_a_draining_wave_starts_nothing_and_stops_each_trial_once_it_is_saved(given):
    here = given()
    (first, _), (second, _) = here.start(), here.start()
    here.wave.drain("stopped by SIGTERM")
    here.wave.drain("a second reason changes nothing")
    assert here.wave.draining == "stopped by SIGTERM"
    assert here.paths.drain.exists()
    assert here.wave.next() is None
    assert here.wave.report(first, report(10, saved=-1, val_error=1.0))  # its worker had not seen it yet
    assert not here.wave.report(first, report(20, saved=20, val_error=0.9))
    here.wave.end(second, end(val_error=0.5))  # was done anyway
    outcomes = [(record.outcome, record.step) for record in load_trials(here.paths)]
    assert outcomes == [(Outcome.STOPPED, 20), (Outcome.COMPLETED, 30)]
    assert here.wave.running == {}


def test_the_end_that_tune_reports_of_a_stopped_trial_changes_nothing(given):
    here = given()
    number, _ = here.start()
    here.wave.drain("why")
    here.wave.report(number, report(20, saved=20, val_error=0.9))
    here.wave.end(number, report(20, saved=20, val_error=0.9))
    assert not here.wave.report(number, report(30, saved=30, val_error=0.9))
    assert [record.outcome for record in load_trials(here.paths)] == [Outcome.STOPPED]
    assert here.wave.num_ended == 1


def test_a_pruned_trial_stops_and_its_checkpoint_goes(given):
    here = given(early_stopping={"name": "asha", "grace_steps": 10, "reduction": 2})
    (good, _), (bad, _) = here.start(), here.start()
    here.paths.checkpoint(bad).write_bytes(b"half")
    assert here.wave.report(good, report(10, val_error=1.0))
    assert not here.wave.report(bad, report(10, val_error=2.0))
    assert load_trials(here.paths)[bad].outcome is Outcome.PRUNED
    assert here.kept() == []


@pytest.mark.parametrize("last", [None, {}, report(10, val_error=1.0)])
def test_an_end_without_an_outcome_is_a_lost_worker(given, last):
    here = given()
    number, _ = here.start()
    here.wave.retried(number)
    here.wave.end(number, last)
    (record,) = load_trials(here.paths)
    assert (record.outcome, record.attempts, record.step) == (Outcome.WORKER_LOST, 2, last["step"] if last else 0)


def test_a_used_up_budget_drains_what_runs_and_patience_does_not(given):
    here = given(budget={"target": 0.5, "patience_trials": 2})
    here.start()
    for value in (2.0, 3.0, 3.0):
        here.complete(value)
    assert here.wave.draining == ""
    assert here.wave.next() is None  # patience is over
    here.wave.end(0, end(val_error=0.4))
    assert here.wave.draining == "budget target: 0.4 reached by trial 0"


def test_what_a_trial_used_is_in_its_record(given):
    here = given()
    number, _ = here.start()
    used = {"cpu_seconds": 2.0, "compile_seconds": 1.5, "peak_memory_mb": 300.0, "xla_threads": 1, "host": "node1"}
    here.wave.end(number, {**end("crashed"), **used, "error": "Traceback"})
    (record,) = load_trials(here.paths)
    assert {name: getattr(record, name) for name in used} == used
    assert (record.wave, record.seconds, record.error) == (1, 3.0, "Traceback")


# -- kept checkpoints


def test_the_best_checkpoints_are_kept(given):
    here = given(keep={"top": 2})
    for value in (3.0, 1.0, 2.0, 5.0, 0.5):
        here.complete(value)
    assert here.kept() == [1, 4]


def test_the_largest_are_the_best_where_the_mode_is_max(given):
    here = given(keep={"top": 2}, objective={"metric": "val_error", "mode": "max"})
    for value in (3.0, 1.0, 2.0, 5.0):
        here.complete(value)
    assert here.kept() == [0, 3]


def test_with_repeats_the_set_with_the_best_mean_is_kept_not_the_lucky_seeds(given):
    here = given(keep={"top": 2}, repeats={"seeds": [0, 1]}, budget={"trials": 6})
    for value in (2.0, 2.0, 0.1, 9.0, 0.2, 9.0):
        here.complete(value)
    assert here.kept() == [0, 1]


def test_the_last_report_reaches_early_stopping_and_the_history(given):
    here = given(early_stopping={"name": "asha", "grace_steps": 10, "reduction": 2})
    number, _ = here.start()
    here.wave.report(number, report(10, val_error=1.0))
    here.wave.end(number, {**end(step=20, val_error=0.5, test_error=3.0), "last": {"val_error": 4.0}})
    (trial,) = here.study._study.get_trials()
    assert trial.intermediate_values == {10: 1.0, 20: 4.0}
    assert [entry["metrics"] for entry in load_history(here.paths)] == [{"val_error": 1.0}, {"val_error": 4.0}]
    assert load_trials(here.paths)[0].metrics == {"val_error": 0.5, "test_error": 3.0}


def test_a_lost_worker_has_used_what_it_last_reported(given):
    here = given()
    number, _ = here.start()
    here.wave.report(number, report(10, val_error=1.0))
    here.wave.end(number, None)
    (record,) = load_trials(here.paths)
    assert (record.outcome, record.step, record.seconds) == (Outcome.WORKER_LOST, 10, 1.0)


def test_the_best_of_earlier_waves_count_too(given):
    here = given(keep={"top": 2})
    for value in (3.0, 1.0):
        here.complete(value)
    here.reopen(2)
    here.complete(2.0)
    assert here.kept() == [1, 2]


def test_what_a_killed_driver_kept_too_much_is_dropped(given):
    here = given(keep={"top": 2})
    for value in (3.0, 1.0, 2.0):
        here.complete(value)
    here.paths.checkpoint(0).write_bytes(b"model")  # told, but not yet dropped
    here.reopen(2)
    here.complete(5.0)
    assert here.kept() == [1, 2]


@pytest.mark.parametrize(("keep", "left"), [("all", [0, 1]), ("none", [])])
def test_all_or_none_are_kept(given, keep, left):
    here = given(keep={"checkpoints": keep, "top": 1})
    here.complete(2.0)
    here.complete(1.0)
    assert here.kept() == left


@pytest.mark.parametrize("outcome", ["diverged", "crashed", "solver_failed"])
def test_the_checkpoint_of_a_failed_trial_goes(given, outcome):
    here = given()
    number, _ = here.start()
    here.paths.checkpoint(number).write_bytes(b"half")
    here.wave.end(number, end(outcome))
    assert here.kept() == []


def test_a_completed_trial_without_an_objective_is_not_kept(given):
    here = given(keep={"top": 5})
    here.complete(float("nan"))
    assert here.kept() == []


@pytest.mark.parametrize("keep", ["best", "none"])
def test_the_checkpoint_of_a_stopped_trial_stays_until_it_ends(given, keep):
    here = given(keep={"checkpoints": keep})
    number, _ = here.start()
    here.paths.checkpoint(number).write_bytes(b"half")
    here.wave.drain("why")
    here.wave.report(number, report(10, saved=10, val_error=1.0))
    assert here.kept() == [0]
    here.reopen(2)
    assert here.start()[0] == 0
    here.wave.end(0, end(val_error=1.0))
    assert here.kept() == ([0] if keep == "best" else [])


# -- histories


def test_the_history_has_every_report_and_the_tests(given):
    here = given()
    number, _ = here.start()
    for step in (10, 20):
        here.wave.report(number, report(step, val_error=1 / step))
    here.wave.end(number, {**end(val_error=0.01), "tests": {"plain": {"error": [0.1, 0.2]}}})
    assert list(load_history(here.paths)) == [  # while the wave still runs
        {"trial": 0, "step": 10, "seconds": 1.0, "metrics": {"val_error": 0.1}},
        {"trial": 0, "step": 20, "seconds": 2.0, "metrics": {"val_error": 0.05}},
        {"trial": 0, "step": 30, "seconds": 3.0, "metrics": {"val_error": 0.01}},
        {"trial": 0, "tests": {"plain": {"error": [0.1, 0.2]}}},
    ]


def test_what_a_continued_trial_reports_again_comes_once(given):
    here = given()
    number, _ = here.start()
    for step in (10, 20):
        here.wave.report(number, report(step, val_error=1 / step))
    here.reopen(2)  # killed after its checkpoint of step 10
    assert here.start()[0] == number
    here.wave.report(number, report(20, val_error=0.05))
    tests = {"tests": {"plain": {"error": [0.1]}}}
    here.wave.end(number, {**end(val_error=0.01), **tests})
    here.wave._append({"trial": 0, **tests})
    entries = list(load_history(here.paths))
    assert [entry.get("step") for entry in entries] == [10, 20, 30, None]


def test_a_torn_line_of_a_history_is_passed_over(given):
    here = given()
    here.complete(1.0)
    with here.paths.history(1).open("a") as file:
        file.write('{"trial": 1, "st')
    here.reopen(2)
    here.complete(2.0)
    assert [entry["trial"] for entry in load_history(here.paths)] == [0, 1]
