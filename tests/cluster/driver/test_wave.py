import json
from pathlib import Path

import pytest

from cluster.machine.capacity import Capacity
from cluster.machine.files import write_json
from cluster.state.outcomes import Outcome
from cluster.state.records import load_history, load_trials
from cluster.wire.orders import Order


class Given:
    """A search and its waves, one after the other."""

    def __init__(self, search, most=100, **options):
        self.search = search
        self.paths = search.paths
        self.study = search.open()
        self.paths.run_permit.touch()
        self.wave = search.wave(self.study, most=most, **options)

    def reopen(self, number):
        self.wave.close()
        self.study = self.search.open()
        self.wave = self.search.wave(self.study, number)

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
    def make(most=100, options=None, **parts):
        found.append(Given(make_search(**parts), most, **(options or {})))
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
        "trial": 0,
        "trainable": "tests.methods.ripple",
        "cpus": 2,
        "checkpoint": str(here.paths.checkpoint(number)),
        "run_permit": str(here.paths.run_permit),
        "keep": True,
        "objectives": ["val_error"],
        "searched": {},
    }


def test_a_task_says_which_values_share_the_searchs_programs(make_search):
    search = make_search()
    write_json(search.paths.branches, {"head": ["one", "other"]})
    here = Given(search, 100)
    _, task = here.start()
    here.wave.close()
    assert task["searched"] == {"head": ["one", "other"]}


def test_a_wave_starts_only_so_many_trials(given):
    here = given(most=3)
    assert [here.wave.next()["number"] for _ in range(3)] == [0, 1, 2]
    assert here.wave.next() == "later"  # one of them may have to be started again
    for number in range(3):
        here.wave.end(number, end(val_error=1.0))
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
    assert not here.paths.run_permit.exists()
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
    here = given(retries=0)
    number, _ = here.start()
    here.wave.end(number, last)
    (record,) = load_trials(here.paths)
    assert (record.outcome, record.attempts, record.step) == (Outcome.WORKER_LOST, 1, last["step"] if last else 0)
    assert record.error == "its worker process died"


def test_a_used_up_budget_drains_what_runs_and_patience_does_not(given):
    here = given(budget={"target": 0.5, "patience_trials": 2})
    here.start()
    for value in (2.0, 3.0, 3.0):
        here.complete(value)
    assert here.wave.draining == ""
    assert here.wave.next() == "later"  # patience is over: none but what runs, should it have to start again
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


# -- what the machine does to it


def test_a_trial_that_lost_its_worker_is_started_again_in_its_wave_up_to_the_limit(given):
    here = given(most=2, retries=2, budget={"trials": 2})
    for attempt in (1, 2, 3):
        assert here.start()[0] == 0
        here.wave.report(0, report(10, val_error=1.0))
        assert load_trials(here.paths)[0].attempts == attempt
        here.wave.end(0, None)
    assert here.start()[0] == 1
    here.wave.end(1, end(val_error=1.0))
    assert here.wave.next() is None
    lost, completed = load_trials(here.paths)
    assert (lost.outcome, lost.attempts, lost.seconds) == (Outcome.WORKER_LOST, 3, 3.0)
    assert [(one["outcome"], one["step"], one["wave"]) for one in lost.failures] == [("worker_lost", 10, 1)] * 3
    assert (completed.outcome, completed.failures) == (Outcome.COMPLETED, [])


@pytest.mark.parametrize("outcome", ["timed_out", "out_of_memory"])
def test_a_worker_that_was_ended_is_lost_for_the_reason_the_supervisor_gave(given, outcome):
    here = given(retries=0)
    number, _ = here.start()
    here.wave.obey(Order("lose_trial", "it went too far", number, outcome, memory_gb=2.5))
    here.wave.end(number, None)
    (record,) = load_trials(here.paths)
    assert (record.outcome.value, record.error, record.peak_memory_mb) == (outcome, "it went too far", 2500.0)
    assert here.wave.capacity.peaks_gb == ([] if outcome == "out_of_memory" else [2.5])  # what was ended is no measure


def test_a_word_that_comes_at_the_last_moment_counts_and_one_of_an_attempt_before_does_not(given):
    words = []
    here = given(options={"take_orders": lambda obey: [obey(words.pop()) for _ in list(words)]})
    here.start()
    words.append(Order("lose_trial", "it hung", 0, "timed_out"))
    here.wave.end(0, None)
    here.wave.obey(Order("lose_trial", "it hung", 0, "timed_out"))  # twice over
    here.start()
    here.wave.end(0, None)
    (record,) = load_trials(here.paths)
    assert [failure["outcome"] for failure in record.failures] == ["timed_out", "worker_lost"]


def test_fewer_trials_run_at_once_after_the_kernel_had_to_end_one(given):
    lost = (Outcome.OUT_OF_MEMORY, "the kernel ended a process for want of memory")
    here = given(options={"capacity": Capacity(most=4, memory_gb=9.0), "explain_loss": lambda trial: lost})
    for _ in range(4):
        here.start()
    here.wave.end(0, None)
    assert here.wave.capacity.slots == 3


def test_a_retried_trial_that_completes_keeps_its_failures_and_no_error(given):
    here = given()
    number, _ = here.start()
    here.wave.end(number, None)
    here.start()
    here.wave.end(number, end(val_error=1.0))
    (record,) = load_trials(here.paths)
    assert (record.outcome, record.error, record.attempts, len(record.failures)) == (Outcome.COMPLETED, "", 2, 1)


@pytest.mark.parametrize("outcome", ["disk_full", "out_of_memory"])
def test_a_trial_that_ends_for_want_of_room_is_tried_again(given, outcome):
    here = given(retries=1)
    number, _ = here.start()
    here.wave.end(number, {**end(outcome), "error": "No space left on device"})
    assert load_trials(here.paths)[0].is_open
    assert bool(here.wave.ending) == (outcome == "disk_full")  # then the supervisor cleans up first
    here.reopen(2)
    assert here.start()[0] == number
    here.wave.end(number, {**end(outcome), "error": "No space left on device"})
    record = load_trials(here.paths)[0]
    assert (record.outcome.value, record.is_open, record.attempts) == (outcome, False, 2)


def test_an_early_end_lets_the_running_trials_finish(given):
    here = given()
    number, _ = here.start()
    here.wave.obey(Order("end_wave", "/tmp: 1 GB free, below 5"))
    assert here.wave.next() is None
    assert here.wave.report(number, report(10, saved=10, val_error=1.0))
    assert here.paths.run_permit.exists()
    here.wave.end(number, end(val_error=1.0))
    assert load_trials(here.paths)[0].outcome is Outcome.COMPLETED


def test_trials_stopped_for_the_disk_go_on_later_and_it_is_not_held_against_them(given):
    here = given(retries=0)
    number, _ = here.start()
    here.wave.obey(Order("stop_trials", "/tmp: 0.1 GB free, below 1"))
    assert not here.paths.run_permit.exists()
    assert here.wave.report(number, report(10, saved=-1, val_error=1.0))
    assert not here.wave.report(number, report(20, saved=20, val_error=1.0))
    (record,) = load_trials(here.paths)
    assert (record.outcome, record.is_open, record.attempts) == (Outcome.DISK_FULL, True, 1)
    here.reopen(2)
    assert here.start()[0] == number
    assert load_trials(here.paths)[0].outcome is None
    here.wave.end(number, end(val_error=1.0))
    assert load_trials(here.paths)[0].outcome is Outcome.COMPLETED


def test_fewer_trials_run_at_once_when_one_has_shown_how_much_memory_it_takes(given):
    here = given(options={"capacity": Capacity(most=4, memory_gb=3.5)})
    for _ in range(4):
        here.start()
    assert here.wave.next() == "later"
    for number in range(3):
        here.wave.end(number, {**end(val_error=1.0), "peak_memory_mb": 1500.0})  # 1.65 GB each: two at once
    assert here.start()[0] == 4
    assert here.wave.next() == "later"


def test_no_trial_is_started_that_cannot_save_in_time_and_the_others_save_before(given):
    left = [100.0]
    here = given(options={"left_s": lambda: left[0]})
    number, _ = here.start()
    here.wave.report(number, {**report(10, val_error=1.0), "seconds": 20.0})  # compiling took most of it
    here.wave.report(number, {**report(20, val_error=1.0), "seconds": 24.0})
    left[0] = 30.0
    second, _ = here.start()
    left[0] = 26.0
    assert here.wave.next() == "later"
    assert here.wave.draining == ""
    left[0] = 7.0
    here.wave.watch_budget()
    assert here.wave.draining == "there is just the time left to save"
    assert here.wave.is_out_of_time
    for running in (number, second):
        assert not here.wave.report(running, {**report(30, saved=30, val_error=1.0), "seconds": 28.0})
    assert {record.outcome for record in load_trials(here.paths)} == {Outcome.STOPPED}


def test_the_figures_of_a_wave_say_how_busy_its_slots_were(given):
    now = [0.0]
    here = given(most=3, options={"capacity": Capacity(most=2, memory_gb=1.0), "clock": lambda: now[0]})
    here.start(), here.start()
    now[0] = 10.0
    here.wave.end(0, {**end(val_error=1.0), "seconds": 10.0})
    here.start()
    now[0] = 12.0
    here.wave.end(1, {**end(val_error=1.0), "seconds": 12.0})
    assert here.wave.next() == "later"
    now[0] = 20.0
    here.wave.end(2, {**end(val_error=1.0), "seconds": 10.0})
    figures = here.wave.figures()
    assert {name: figures[name] for name in ("trials", "trials_s", "slots", "utilisation", "tail_s")} == {
        "trials": 3,
        "trials_s": 20.0,
        "slots": 2,
        "utilisation": 0.8,
        "tail_s": 8.0,
    }
    assert figures["ended_at"] - figures["began_at"] == pytest.approx(20.0)


# -- kept checkpoints


def test_the_best_checkpoints_are_kept(given):
    here = given(keep={"top": 2})
    for value in (3.0, 1.0, 2.0, 5.0, 0.5):
        here.complete(value)
    assert here.kept() == [1, 4]


def test_further_models_are_asked_for_and_go_with_their_trials(given):
    here = given(keep={"top": 1, "last": True, "every_steps": 50, "most_steps": 3})

    def written(number, task):
        files = [task["models"]["on_the_way"].format(step=step) for step in (50, 100)] + [task["models"]["last"]]
        for file in [task["checkpoint"], *files]:
            Path(file).write_bytes(b"model")
        assert here.paths.kept_steps(number) == [50, 100, "last"]

    for value in (2.0, 1.0):
        number, task = here.start()
        assert {name: task["models"][name] for name in ("every", "most")} == {"every": 50, "most": 3}
        written(number, task)
        here.wave.end(number, end(val_error=value))
    assert here.paths.kept_steps(0) == []
    assert here.paths.kept_steps(1) == [50, 100, "last"]
    number, task = here.start()
    written(number, task)
    here.wave.end(number, {**end(), "outcome": "crashed", "metrics": {}, "error": "x"})
    assert here.paths.kept_steps(2) == []
    written(2, task)  # its driver died before it deleted them
    number, task = here.start()
    written(number, task)
    here.reopen(2)
    assert here.paths.kept_steps(2) == []
    assert here.paths.kept_steps(number) == [50, 100, "last"]  # it goes on
    assert here.paths.kept_steps(1) == [50, 100, "last"]
    here.wave.close()


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
    here = given(retries=0)
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
    assert here.kept() == [1, 2]  # also if no further trial ends
    here.complete(5.0)
    assert here.kept() == [1, 2]


@pytest.mark.parametrize(("keep", "left"), [("all", [0]), ("none", [])])
def test_a_checkpoint_that_a_killed_driver_left_goes_if_none_are_kept(given, keep, left):
    here = given(keep={"checkpoints": keep, "top": 1})
    number = here.complete(1.0)
    here.paths.checkpoint(number).write_bytes(b"half")  # of the way to its end, told but not yet deleted
    here.reopen(2)
    assert here.kept() == left


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


def test_a_failed_attempt_does_not_stand_in_the_way_of_the_next_ones_report(given):
    here = given()
    number, _ = here.start()
    here.wave.end(number, {**end("out_of_memory", step=10), "error": "MemoryError"})
    assert here.start()[0] == number
    here.wave.report(number, report(10, val_error=0.1))
    (entry,) = load_history(here.paths)
    assert entry["metrics"] == {"val_error": 0.1}


def test_a_torn_line_of_a_history_is_passed_over(given):
    here = given()
    here.complete(1.0)
    with here.paths.history(1).open("a") as file:
        file.write('{"trial": 1, "st')
    here.reopen(2)
    here.complete(2.0)
    assert [entry["trial"] for entry in load_history(here.paths)] == [0, 1]


def test_a_trial_that_a_spent_worker_hands_back_begins_in_another_and_costs_no_retry(given):
    g = given(most=1)
    number, _ = g.start()
    assert g.wave.report(number, {**report(0), "worker_spent": "a thread still runs in it"})  # then the worker ends
    g.wave.end(number, None)
    (record,) = load_trials(g.paths)
    assert (record.is_open, record.attempts, record.failures, record.error) == (True, 1, [], "")
    assert g.start()[0] == number
    g.wave.end(number, end(val_error=1.0))
    (record,) = load_trials(g.paths)
    assert (record.outcome, record.attempts) == (Outcome.COMPLETED, 1)
    assert [entry["step"] for entry in load_history(g.paths)] == [30]


# -- the end of a job


@pytest.fixture
def in_job(given):
    """Return a wave of a job of several nodes, one trial of which has just been lost with its node, and its clock."""
    now = [0.0]
    lost = {"explain_loss": lambda trial: (Outcome.NODE_LOST, "node n2 was lost")}
    here = given(options={**lost, "clock": lambda: now[0], "doubt_s": 15.0}, retries=1)
    number, _ = here.start()
    here.wave.end(number, None)
    return here, now, number


def test_a_node_that_is_lost_as_its_job_is_taken_away_is_charged_to_nobody(in_job):
    here, now, number = in_job
    (trial,) = load_trials(here.paths)
    assert (trial.is_open, trial.outcome, trial.failures) == (True, None, [])
    now[0] += 14.0  # the first node's processes hear of it last
    here.wave.watch_budget()
    here.wave.drain("stopped by SIGTERM")
    assert here.wave.next() is None
    (trial,) = load_trials(here.paths)
    assert (trial.is_open, trial.outcome, trial.failures, trial.attempts) == (True, Outcome.STOPPED, [], 1)
    here.reopen(2)
    assert here.start()[0] == number


def test_a_node_that_is_lost_by_itself_costs_its_trials_a_retry_a_little_later(in_job):
    here, now, number = in_job
    other, _ = here.start()
    assert other != number
    now[0] += 14.9
    assert here.start()[0] != number
    now[0] += 0.2
    assert here.start()[0] == number
    trial = load_trials(here.paths)[number]
    assert [failure["outcome"] for failure in trial.failures] == ["node_lost"]
    assert trial.attempts == 2


def test_a_wave_does_not_end_over_a_loss_in_doubt(in_job):
    here, now, number = in_job
    here.wave.end_early("the disk fills up")
    assert here.wave.next() == "later"
    now[0] += 15.1
    assert here.wave.next() is None
    assert load_trials(here.paths)[number].failures
