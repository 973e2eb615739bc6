"""Several drivers on one study, on a journal that they share and on a PostgreSQL server."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from filelock import FileLock

from cluster.machine.liveness import touched_at
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from cluster.state.records import load_trials, load_waves
from tests.searching import result
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

GRID = {"shift": {"low": -1.0, "high": 1.0, "step": 0.5}, "learning_rate": [0.01, 0.1]}
RUNGS = {"name": "asha", "grace_steps": 10, "reduction": 2}
ROOT = Path(__file__).parents[3]


@pytest.fixture(params=["journal", "postgresql"])
def storage(request):
    return "journal" if request.param == "journal" else request.getfixturevalue("postgres_url")


@pytest.fixture
def opened(make_search, storage):
    """Return a function that makes a search and opens it as the jobs of some numbers do."""
    studies = []

    def open_jobs(*jobs, patience_s=90.0, clock=time.monotonic, **parts):
        search = make_search(storage=storage, **parts)
        studies.extend(search.open(job, patience_s=patience_s, clock=clock) for job in jobs)
        return search, *studies

    yield open_jobs
    for study in studies:
        study.close()


class Driver:
    """A driver in a process of its own, and what it has said so far."""

    def __init__(self, search, job, pause=0.0, patience=90.0):
        command = [sys.executable, "-m", "tests.shared_driver", str(search.paths.root), str(job), str(pause)]
        self.process = subprocess.Popen([*command, str(patience)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self.said = []

    def until(self, **wanted):
        """Read on until it has said something with these entries."""
        for line in self.process.stdout:
            self.said.append(json.loads(line))
            if wanted.items() <= self.said[-1].items():
                return self.said[-1]
        raise AssertionError(f"it ended without {wanted}: {self.said[-3:]}")

    def next(self, word):
        """Read on until it has said something of that name, and return it."""
        for line in self.process.stdout:
            self.said.append(json.loads(line))
            if word in self.said[-1]:
                return self.said[-1][word]
        raise AssertionError(f"it ended without {word!r}: {self.said[-3:]}")

    def signal(self, signum):
        os.kill(self.process.pid, signum)

    def end(self):
        self.said += [json.loads(line) for line in self.process.stdout]
        self.process.stdout.close()
        assert self.process.wait(600) == 0
        return self

    def all(self, word):
        return [entry[word] for entry in self.said if word in entry]


@pytest.fixture
def drivers():
    """Return a function that starts drivers of a search, one per job."""
    started = []

    def start(search, num, **options):
        started.extend(Driver(search, job, **options) for job in range(1, num + 1))
        return started[-num:]

    yield start
    for driver in started:
        if driver.process.poll() is None:
            driver.process.kill()
            driver.process.wait()
        driver.process.stdout.close()


def tell(study, assignment, value=1.0, **parts):
    return study.tell(assignment.number, Outcome.COMPLETED, result(val_error=value, **parts))


# -- numbers


def test_two_drivers_are_given_different_trials_of_one_sequence(opened, make_search):
    straight = make_search().run(lambda config: {"val_error": 1.0})
    _, one, two = opened(1, 2)
    asked = [study.ask() for study in (one, two, two, one, two)]
    assert [assignment.number for assignment in asked] == [0, 1, 2, 3, 4]
    assert [assignment.config for assignment in asked] == [straight[number] for number in range(5)]


def test_the_trials_of_all_drivers_together_are_not_more_than_the_budget(opened):
    _, one, two = opened(1, 2, budget={"trials": 3})
    asked = [one.ask(), two.ask(), one.ask()]
    assert one.ask() is two.ask() is None
    assert one.finished() == two.finished() == ""
    for study, assignment in zip((one, two, one), asked, strict=True):
        tell(study, assignment)
    assert one.finished() == two.finished() == "trials: all 3 have ended"


def test_a_driver_waits_while_anothers_trial_may_have_to_be_taken_over(opened):
    _, one, two = opened(1, 2, budget={"trials": 1})
    assignment = one.ask()
    assert two.ask() is None
    assert (two.finished(), two.waits_for_others()) == ("", True)
    tell(one, assignment)
    assert (two.finished(), two.waits_for_others()) == ("trials: all 1 have ended", False)


def test_all_points_of_a_grid_are_tried_once_by_drivers_at_the_same_time(make_search, drivers, storage):
    search = make_search(storage=storage, space=GRID, sampler={"name": "grid"}, budget={}, repeats={"seeds": [1, 2]})
    for driver in drivers(search, 2):
        driver.end()
    records = load_trials(search.paths)
    tried = Counter((r.config["shift"], r.config["learning_rate"], r.config["seed"]) for r in records)
    assert tried == Counter(itertools.product([-1.0, -0.5, 0.0, 0.5, 1.0], [0.01, 0.1], [1, 2]))
    assert {record.outcome for record in records} == {Outcome.COMPLETED}


def test_four_drivers_at_full_speed_lose_no_trial_and_run_none_twice(make_search, drivers, storage):
    trials = 100 if storage == "journal" else 30
    search = make_search(storage=storage, budget={"trials": trials}, early_stopping=RUNGS)
    started = [driver.end() for driver in drivers(search, 4)]
    told = [number for driver in started for number in driver.all("told")]
    assert sorted(told) == sorted(n for driver in started for n in driver.all("asked")) == list(range(trials))
    records = load_trials(search.paths)
    assert [record.number for record in records] == list(range(trials))
    assert {record.attempts for record in records} == {1}
    assert {record.outcome for record in records} == {Outcome.COMPLETED, Outcome.PRUNED}
    straight = make_search(budget={"trials": trials}).run(lambda config: {"val_error": 1.0})
    assert {record.number: record.config for record in records} == straight
    assert all(driver.all("finished") == [f"trials: all {trials} have ended"] for driver in started)


@pytest.mark.parametrize("sampler", ["tpe", "qmc"])
def test_repeats_share_their_params_whichever_driver_asks(opened, sampler):
    space = {"shift": {"low": -2.0, "high": 2.0}, "learning_rate": {"low": 0.1, "high": 1.0}}
    _, one, two, three = opened(
        1, 2, 3, repeats={"seeds": [0, 1, 2]}, budget={"trials": 12}, sampler={"name": sampler}, space=space
    )
    asked = [study.ask() for study in (one, two, three) * 4]
    pairs = [(a.config["shift"], a.config["learning_rate"]) for a in asked]
    assert [len(set(pairs[index : index + 3])) for index in range(0, 12, 3)] == [1] * 4
    assert len(set(pairs)) == 4
    assert [a.config["seed"] for a in asked] == [0, 1, 2] * 4


def test_a_follower_completes_what_its_leaders_driver_died_over(opened):
    _, one, two = opened(1, 2, repeats={"seeds": [0, 1]}, sampler={"name": "tpe"})
    for _ in range(12):
        tell(one, one.ask())
    leader = one._roster.exclusively(one._roster.take_new)  # as far as a kill in the midst of asking gets
    leader.suggest_float("learning_rate", 0.0001, 1.0, log=True)
    follower = two.ask()
    assert follower.number == leader.number + 1
    first, second = two.records()[-2:]
    assert first.params == second.params
    assert set(first.params) == {"learning_rate", "shift"}


# -- left, lost and taken over


def test_a_stopped_trial_goes_on_in_any_driver_and_comes_first(opened):
    _, one, two = opened(1, 2)
    first, second = one.ask(), one.ask()
    assert one.tell(0, Outcome.STOPPED, result(seconds=2.0)).is_open
    assert two.ask() == first
    assert one.ask().number == 2
    one.close()  # in good order
    assert two.ask() == second
    assert tell(two, first, seconds=3.0).seconds == 5.0


def test_what_the_machine_failed_is_retried_by_any_driver(opened):
    _, one, two = opened(1, 2, retries=1)
    first = one.ask()
    one.tell(0, Outcome.WORKER_LOST, {**result(), "error": "gone"})
    assert two.ask() == first
    last = two.tell(0, Outcome.WORKER_LOST, {**result(), "error": "again"})
    assert (last.is_open, last.attempts, len(last.failures)) == (False, 2, 2)
    assert one.ask().number == 1


def test_a_silent_drivers_trials_are_taken_over_after_the_patience_and_lost_to_it(opened):
    now = 0.0
    search, one, two = opened(1, 2, patience_s=4.0, clock=lambda: now, early_stopping=RUNGS)
    first = one.ask()
    one._claims._over.set()  # no more signs, as of a machine that was suspended
    one._claims._thread.join()
    assert two.ask().number == 1
    for _ in range(3):
        two._claims.look()
        now += 1.5
    wait_for(lambda: two._roster.has_free({1}))
    assert two.ask() == first
    assert not one.report(0, 10, {"val_error": 9.0})
    assert not one.is_running(0)
    refused = one.tell(0, Outcome.COMPLETED, result(val_error=9.0))
    assert refused.is_open
    assert tell(two, first, 1.0).metrics == {"val_error": 1.0}
    assert load_trials(search.paths)[0].attempts == 2


def test_a_driver_that_gives_signs_keeps_its_trials(opened):
    now = 0.0
    search, one, two = opened(1, 2, patience_s=0.8, clock=lambda: now, budget={"trials": 1})
    heartbeat = SearchPaths(search.paths.root, 1).driver_heartbeat
    one.ask()
    for _ in range(4):
        before = touched_at(heartbeat)
        wait_for(lambda before=before: touched_at(heartbeat) != before)
        now += 0.3
        assert two.ask() is None
    assert one.is_running(0)


def test_a_driver_that_was_suspended_itself_does_not_take_the_others_for_dead(opened):
    now = 0.0
    _, one, two = opened(1, 2, budget={"trials": 1})
    one.ask()
    claims = two._claims
    claims._clock = lambda: now
    claims._over.set()
    claims._thread.join()
    claims._drivers.clear()
    one._claims._over.set()  # it gives no heartbeat from here on
    one._claims._thread.join()
    claims.look()
    now = 1000.0
    assert not claims.is_free(two._study.get_trials()[0])
    claims.look()
    assert not claims.is_free(two._study.get_trials()[0])
    for second in range(1005, 1080, 5):
        now = second
        claims.look()
        assert not claims.is_free(two._study.get_trials()[0])
    for second in range(1080, 1100, 5):
        now = second
        claims.look()
    assert claims.is_free(two._study.get_trials()[0])


def test_a_jobs_next_driver_takes_up_its_trials_at_once(make_search, storage):
    search = make_search(storage=storage)
    one = search.open(1)
    first = one.ask()
    again = search.open(1)
    assert again.ask() == first
    assert not one.is_running(0)
    other = search.open(2)
    assert other.ask().number == 1
    for study in (one, again, other):
        study.close()


@pytest.mark.parametrize(("storage", "at"), [("journal", "asked"), ("postgresql", "reported")], indirect=["storage"])
def test_a_killed_drivers_trials_go_on_in_the_others(make_search, drivers, storage, at):
    search = make_search(storage=storage, budget={"trials": 40})
    first, *others = drivers(search, 3, pause=0.1)
    number = first.next(at)
    first.process.kill()
    for driver in others:
        driver.end()
    records = load_trials(search.paths)
    assert len(records) == 40
    assert {record.outcome for record in records} == {Outcome.COMPLETED}
    assert records[number].attempts == 2
    assert [record.config for record in records] == list(
        make_search(budget={"trials": 40}).run(lambda _: {"val_error": 1.0}).values()
    )


def test_a_suspended_driver_finds_its_trial_taken_and_drops_it(make_search, drivers, storage):
    search = make_search(storage=storage, budget={"trials": 40})  # enough for the one that starts later
    first, second = drivers(search, 2, pause=0.3, patience=2.0)
    number = first.next("asked")
    first.signal(signal.SIGSTOP)
    second.until(told=number)
    first.signal(signal.SIGCONT)
    assert first.next("dropped") == number
    for driver in (first, second):
        driver.end()
    records = load_trials(search.paths)
    assert {record.outcome for record in records} == {Outcome.COMPLETED}
    assert records[number].attempts == 2
    assert first.said[-1] == second.said[-1] == {"finished": "trials: all 40 have ended"}


def test_a_wave_waits_for_trials_that_other_drivers_run_and_takes_them_over(make_search):
    search = make_search(budget={"trials": 2})
    one, two = search.open(1), search.open(2)
    one.ask()
    first = one.ask()
    wave = search.wave(two)
    assert wave.next() == "later"
    one.tell(0, Outcome.COMPLETED, result(val_error=1.0))
    one.tell(1, Outcome.STOPPED, result())
    two._roster.refresh()
    assert wave.next()["number"] == first.number == 1
    assert wave.next() == "later"
    two.tell(1, Outcome.COMPLETED, result(val_error=1.0))
    wave.running.clear()
    assert wave.next() is None
    wave.close()
    one.close()
    two.close()


def test_a_wave_forgets_a_trial_that_was_taken_over(make_search):
    search = make_search(budget={"trials": 1})
    one = search.open(1)
    wave = search.wave(one)
    wave.next()
    again = search.open(1)  # the next driver of its job, while this one was suspended
    again.ask()
    report = {"step": 10, "saved_step": 10, "seconds": 1.0, "metrics": {"val_error": 1.0}}
    time.sleep(0.6)
    assert not wave.report(0, report)
    assert wave.running == {}
    wave.end(0, {**report, "outcome": "completed"})
    assert load_trials(search.paths)[0].is_open
    wave.close()
    one.close()
    again.close()


def test_checkpoints_beyond_the_best_of_all_jobs_are_dropped(make_search):
    search = make_search(budget={"trials": 3}, keep={"checkpoints": "best", "top": 1})
    one, two = search.open(1), search.open(2)
    waves = [search.wave(one, number=1), search.wave(two, number=2)]
    for wave, value in zip((*waves, waves[0]), (1.0, 0.5, 2.0), strict=True):
        number = wave.next()["number"]
        search.paths.checkpoint(number).touch()
        wave.end(number, {"step": 30, "seconds": 1.0, "outcome": "completed", "metrics": {"val_error": value}})
    for study, wave in zip((one, two), waves, strict=True):
        study.finished()  # looks at what the others have done
        wave.watch_budget()
        wave.close()
        study.close()
    assert [path.name for path in search.paths.checkpoints.iterdir()] == ["trial-000001.npz"]


# -- what all have used and reached


def test_others_ended_trials_count_for_budget_best_and_patience(opened):
    _, one, two = opened(1, 2, budget={"patience_trials": 3, "core_hours": 1.0})
    asked = [study.ask() for study in (one, two, one, two)]
    tell(one, asked[0], 1.0, seconds=600.0)
    tell(two, asked[1], 2.0, seconds=900.0)
    tell(one, asked[2], 3.0)
    tell(two, asked[3], 4.0)
    one.finished()
    for study in (one, two):
        assert study.tally.outcomes == {"completed": 4}
        assert study.tally.best == (1.0, (0,))
        assert study.tally.cpu_hours * 3600 == pytest.approx(1502.0)
        assert study.tally.spent() == "patience_trials: no better trial among the last 3"
    assert one.ask() is two.ask() is None


def test_the_target_that_one_reaches_ends_the_others(opened):
    _, one, two = opened(1, 2, budget={"trials": 9, "target": 0.5})
    tell(one, one.ask(), 0.1)
    assert two.finished() == "target: 0.1 reached by trial 0"
    assert two.ask() is None


def test_core_hours_of_others_running_trials_count_once_noted(opened):
    _, one, two = opened(1, 2, budget={"core_hours": 1.0})
    one.ask()
    one.report(0, 10, {"val_error": 1.0}, seconds=3600.0)
    one.save_active()
    assert two.finished() == "core_hours: 1.00 of 1 used"
    one.tell(0, Outcome.STOPPED, result(seconds=3600.0))
    assert two.finished() == "core_hours: 1.00 of 1 used"
    assert two.tally.cpu_hours == pytest.approx(1.0)


def test_hours_pass_once_however_many_drivers_work(opened):
    now = 0.0
    search, one, two = opened(1, 2, budget={"hours": 1.0}, clock=lambda: now)
    now = 1000.0
    for study in (one, two):
        study.save_active()
    now = 1800.0
    for study in (one, two):
        study.finished()
        study.save_active()
        assert study.tally.active_s == 1800.0
    one.close()
    now = 2000.0
    two.save_active()
    late = search.open(3, clock=lambda: now)
    assert late.tally.active_s == 2000.0
    now = 3600.0
    assert late.finished() == two.finished() == "hours: 1.00 of 1 used"
    late.close()


def test_each_job_notes_its_own_waves(opened):
    search, one, two = opened(1, 2)
    one.add_wave({"wave": 1, "ended_at": 10.0})
    two.add_wave({"wave": 1, "ended_at": 5.0})
    one.add_wave({"wave": 2, "ended_at": 20.0})
    waves = [(wave["job"], wave["wave"]) for wave in load_waves(search.paths)]
    assert waves == [(2, 1), (1, 1), (1, 2)]
    assert one.waves == two.waves == load_waves(search.paths)


def test_a_trial_is_pruned_by_what_another_driver_has_reported(opened):
    _, one, two = opened(1, 2, early_stopping=RUNGS)
    for value in (0.1, 0.2, 0.3):
        assert one.report(one.ask().number, 10, {"val_error": value}) == (value == 0.1)
    assert not two.report(two.ask().number, 10, {"val_error": 5.0})
    assert two.report(two.ask().number, 10, {"val_error": 0.05})


def test_trials_that_ended_elsewhere_are_given_once(opened):
    _, one, two = opened(1, 2)
    asked = [one.ask(), two.ask()]
    tell(one, asked[0])
    tell(two, asked[1])
    assert [record.number for record in two.take_ended_elsewhere()] == [0]
    assert two.take_ended_elsewhere() == []


def test_one_driver_goes_on_with_what_several_began(make_search, storage):
    search = make_search(storage=storage, budget={"trials": 6})
    one, two = search.open(1), search.open(2)
    asked = [one.ask(), two.ask(), one.ask()]
    tell(one, asked[0])
    one.close()
    two.close()
    alone = search.open()
    assert [alone.ask(), alone.ask()] == asked[1:][::1]
    assert alone.ask().number == 3
    alone.close()


# -- the journal


def test_a_torn_line_is_cut_off_by_the_next_writer_with_others_at_work(make_search):
    search = make_search()
    one, two = search.open(1), search.open(2)
    asked = [one.ask(), two.ask()]
    with search.paths.journal.open("ab") as journal:
        journal.write(b'{"op_code": 4, "worker_id"')
    assert len(load_trials(search.paths)) == 2
    tell(one, asked[0])
    tell(two, asked[1])
    assert {record.outcome for record in load_trials(search.paths)} == {Outcome.COMPLETED}
    assert all(json.loads(line) for line in search.paths.journal.read_text().splitlines())
    with search.paths.journal.open("ab") as journal:
        journal.write(b'{"op_code"')
    three = search.open(3)
    assert three.repaired_bytes == 10
    for study in (one, two, three):
        study.close()


def test_a_search_opened_by_one_driver_alone_takes_no_lock(make_search):
    search = make_search()
    search.paths.journal_lock.symlink_to("held by somebody")
    search.run(lambda config: {"val_error": 1.0}, most=1)
    assert not FileLock(search.paths.lock).is_locked
