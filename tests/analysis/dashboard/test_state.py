"""What the pages are told of a search."""

import threading

from analysis.dashboard.state import Watched
from cluster.jobs.standing import QueueAnswer
from cluster.state.records import load_trials_and_waves, violations
from tests.analysis.odd_searches import make_odd


def test_best_so_far_is_of_trials_that_keep_to_the_constraints(tmp_path):
    paths = make_odd("constrained", tmp_path)
    watched = Watched(paths)
    course = watched.whole()["course"]
    records = {record.number: record for record in load_trials_and_waves(paths)[0]}
    feasible = {n: not any(amount > 0 for amount in violations(watched.spec, r.metrics)) for n, r in records.items()}
    assert {point["trial"]: point["feasible"] for point in course} == feasible
    assert set(feasible.values()) == {True, False}
    assert course[-1]["best"] == min(point["value"] for point in course if point["feasible"])


def test_without_a_feasible_trial_none_is_best(tmp_path):
    course = Watched(make_odd("none_feasible", tmp_path)).whole()["course"]
    assert len(course) == 3
    assert not any(point["improved"] for point in course)


def test_how_far_a_search_is_can_be_said_while_its_study_is_read(tmp_path):
    watched, reading, done = Watched(make_odd("repeated", tmp_path)), threading.Event(), threading.Event()

    def read():
        reading.set()
        done.wait()
        return {"read": True}

    watched._read = read
    whole = threading.Thread(target=watched.whole)
    whole.start()
    reading.wait()
    quick = threading.Thread(target=watched.quick, args=(QueueAnswer({}),), daemon=True)
    quick.start()
    quick.join(60)
    was_waiting = quick.is_alive()
    done.set()
    whole.join()
    assert not was_waiting
