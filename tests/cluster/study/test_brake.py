import itertools
import random

import pytest

from cluster.state.failures import failure_kind
from cluster.state.outcomes import Outcome
from cluster.state.records import TrialRecord, load_trials
from cluster.study.brake import ALIKE, Brake
from tests.searching import make_spec, result

SPACE = {"shift": {"low": 0.0, "high": 1.0}, "schedule": ["constant", "cosine", "linear"]}
GONE = """Traceback (most recent call last):
  File "/lab/m.py", line 34, in data
    open(path)
FileNotFoundError: [Errno 2] No such file or directory: '/data/points-{}.csv'
"""


class Trials:
    """A brake, and the trials that end before it, one after the other."""

    def __init__(self, before=(), **parts):
        self.brake = Brake(make_spec(space=SPACE, **parts), before)
        self.choices = itertools.cycle(SPACE["schedule"])
        self.num = 0

    def end(self, outcome=Outcome.COMPLETED, error="", schedule=None, step=0, configuration=None):
        number, self.num = self.num, self.num + 1
        self.brake.began(number)
        params = {"shift": number / 7, "schedule": schedule or next(self.choices)}
        metrics = {"val_error": 1.0} if outcome is Outcome.COMPLETED else {}
        configuration = number if configuration is None else configuration
        self.brake.ended(
            TrialRecord(
                number=number,
                outcome=outcome,
                configuration=configuration,
                params=params,
                config={},
                metrics=metrics,
                error=error,
                step=step,
            )
        )
        return self.brake.reason

    def until_it_pauses(self, most=1000, **how):
        """Return after how many crashes it pauses; 0 if it does not."""
        pauses = (bool(self.end(Outcome.CRASHED, GONE.format(number), **how)) for number in range(1, most + 1))
        return next((number for number, paused in enumerate(pauses, 1) if paused), 0)


def test_a_search_of_which_no_trial_has_got_anywhere_pauses_after_a_few_alike():
    trials = Trials()
    assert trials.until_it_pauses() == ALIKE
    assert trials.brake.reason == (
        "5 configurations failed in the same way, and none got anywhere in between: trials 0 to 4 ended as crashed: "
        "FileNotFoundError: [Errno 2] No such file or directory: '/data/points-5.csv' (/lab/m.py:34)"
    )


@pytest.mark.parametrize(("good", "most"), [(1, 12), (3, 8), (100, ALIKE)])
def test_a_cause_that_comes_later_pauses_it_too_the_sooner_the_better_it_went(good, most):
    trials = Trials()
    for _ in range(good):
        assert not trials.end()
    assert 1 <= trials.until_it_pauses() <= most


def test_a_search_told_to_keep_going_does():
    assert Trials(keep_going=True).until_it_pauses(100) == 0


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_failures_by_chance_pause_nothing(share):
    """A thousand trials each of ten searches, in which so many fail."""
    for seed in range(10):
        rng, trials = random.Random(seed), Trials()
        trials.end()
        outcomes = [Outcome.CRASHED if rng.random() < share else Outcome.COMPLETED for _ in range(1000)]
        assert not any(trials.end(outcome, GONE) for outcome in outcomes)


def test_a_choice_with_which_all_trials_crash_pauses_nothing():
    rng, trials = random.Random(0), Trials()
    for _ in range(1000):
        schedule = rng.choice(SPACE["schedule"])
        assert not trials.end(Outcome.COMPLETED if schedule == "linear" else Outcome.CRASHED, GONE, schedule)


def test_the_first_choice_tried_may_be_the_one_that_crashes():
    trials = Trials()
    for _ in range(2 * ALIKE - 1):
        assert not trials.end(Outcome.CRASHED, GONE, "cosine")
    assert not trials.end(schedule="linear")
    assert Trials().until_it_pauses(schedule="cosine") == 2 * ALIKE


def test_failures_of_different_kinds_are_not_added_up():
    trials = Trials()
    for number in range(4 * (ALIKE - 1)):
        assert not trials.end(Outcome.CRASHED, GONE.replace("34", str(number % 4)))


def test_the_seeds_of_one_configuration_count_once():
    trials = Trials(repeats={"seeds": list(range(10))})
    assert all(not trials.end(Outcome.CRASHED, GONE, configuration=0) for _ in range(10))


def test_a_diverged_trial_had_all_that_it_needed():
    trials = Trials()
    for _ in range(50):
        assert not trials.end(Outcome.DIVERGED)
    assert trials.until_it_pauses() == ALIKE


def test_trials_that_crash_at_their_ends_pause_it_though_all_have_reported():
    trials = Trials()
    assert trials.until_it_pauses(step=30) == ALIKE


def test_a_report_of_a_trial_that_began_before_the_cause_says_nothing_of_it():
    """Its data is in its memory; a trial that began later and reports has read it."""
    trials = Trials()
    trials.brake.began(1000)
    for _ in range(ALIKE - 1):
        assert not trials.end(Outcome.CRASHED, GONE)
    trials.brake.reported(1000, {"schedule": "constant"})
    assert 1 <= trials.until_it_pauses() <= 12

    trials = Trials()
    for _ in range(ALIKE - 1):
        assert not trials.end(Outcome.CRASHED, GONE)
    trials.brake.began(1000)
    trials.brake.reported(1000, {"schedule": "constant"})
    assert trials.until_it_pauses() > 12  # some fail, as it seems, and some do not


def test_who_opens_a_search_again_begins_to_count_anew():
    crashed = [
        TrialRecord(
            number=number,
            outcome=Outcome.CRASHED,
            configuration=number,
            params={"shift": 0.1, "schedule": "cosine"},
            config={},
            error=GONE,
        )
        for number in range(4)
    ]
    assert Trials(before=crashed).until_it_pauses() == ALIKE


def test_numbers_and_names_in_a_reason_do_not_make_it_another():
    def kind(error, outcome=Outcome.INVALID_CONFIG):
        record = TrialRecord(number=0, outcome=outcome, configuration=0, params={}, config={}, error=error)
        return failure_kind(record, "two_body")

    assert kind("file = '/a/1.npz': there is no such file") == kind("file = '/b.npz': there is no such file")
    assert kind("size = 9: too large, at most 8.5") == kind("size = 1e6: too large, at most 8.5")
    assert kind("no place at /tmp/6f9619ff-8b86-d011: full") == kind("no place at /tmp/0a: full")
    assert kind("job 6f9619ff-8b86-d011-b42d is gone") == kind("job 0ac3b7a5f2 is gone") != kind("job it is gone")
    assert kind("size = 9: too large") != kind("size = 9: too small")
    assert kind("it died", Outcome.WORKER_LOST) != kind("it died", Outcome.TIMED_OUT)
    died = [
        kind(f"it died\n{said}", Outcome.WORKER_LOST) for said in ("epoch 3", "loss 0.1", "terminate called after 2")
    ]
    assert died[0] == died[1] != died[2]


# -- in a study


def test_configurations_that_the_method_rules_out_pause_the_search_too(make_search):
    search = make_search(base={"size": 9}, budget={"trials": 1000})
    study = search.open()
    assert study.ask() is None
    assert "size = 9: the data has eight columns" in study.brake.reason
    assert [record.outcome for record in load_trials(search.paths)] == [Outcome.INVALID_CONFIG] * ALIKE
    assert study.finished() == ""


def test_who_is_called_off_asks_for_no_more(make_search):
    search = make_search(base={"size": 9}, budget={"trials": 1000}, keep_going=True)
    study, looks = search.open(), iter([False] * 7 + [True])
    assert study.ask(lambda: next(looks)) is None
    assert len(load_trials(search.paths)) == 7


def test_a_wave_of_a_search_that_pauses_drains(make_search):
    search = make_search(budget={"trials": 100})
    study = search.open()
    wave = search.wave(study)
    search.paths.run_permit.touch()
    for _ in range(ALIKE):
        assert not wave.is_paused
        wave.end(wave.next()["number"], {**result(), "saved_step": -1, "outcome": "crashed", "step": 0, "error": GONE})
    assert wave.is_paused
    assert wave.draining == study.brake.reason
    assert wave.next() is None
    assert not search.paths.run_permit.exists()
    wave.close()
    assert search.open().ask().number == ALIKE  # goes on where it was
