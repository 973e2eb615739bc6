"""The chaos harness itself: it injects what it says, and sees a violation."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.faults import invariants
from benchmarks.faults.config import Config
from benchmarks.faults.method import method
from benchmarks.faults.misbehave import give_order
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from cluster.state.records import TrialRecord
from tests.waiting import wait_for
from trainables._shared.conformance import CHECKS
from trainables._shared.conformance_case import Case

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_harness_own_method_does_what_every_method_must(check, case):
    check(case)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return Case("benchmarks.faults", method, tmp_path_factory.mktemp("chaos"))


def record(number, **parts):
    values = {
        "outcome": Outcome.COMPLETED,
        "configuration": number,
        "params": {"x": 0.1 * number},
        "config": {"x": 0.1 * number},
        "metrics": {"val_error": 1.5},
        "step": 2,
    }
    return TrialRecord(number=number, **(values | parts))


def records(*found):
    return {one.number: one for one in found}


def test_a_lost_trial_is_seen():
    before = records(record(0), record(1))
    assert invariants.changed(before, records(record(0))) == ["trial 1 is lost"]
    assert invariants.changed(before, before) == []


def test_an_ended_trial_that_was_told_again_is_seen():
    again = record(0, metrics={"val_error": 1.25}, attempts=2)
    (problem,) = invariants.changed(records(record(0)), records(again))
    assert problem == "trial 0 had ended, and its record changed in attempts, metrics"


def test_a_running_trial_may_end_but_not_under_another_configuration():
    running = record(0, outcome=None, metrics={}, step=0, is_open=True)
    assert invariants.changed(records(running), records(record(0))) == []
    other = record(0, params={"x": 9.0})
    (problem,) = invariants.changed(records(running), records(other))
    assert problem == "trial 0 has another configuration than before"


def test_missing_numbers_and_missing_outcomes_are_seen():
    assert invariants.numbered([record(0), record(1)], 2) == []
    assert invariants.numbered([record(0), record(2)], 2) == ["the trials are numbered [0, 2], not 0 to 1"]
    stopped = record(1, outcome=Outcome.STOPPED, is_open=True)
    assert invariants.numbered([record(0), stopped], 2) == ["trials [1] have no outcome at the end"]


def test_a_metric_that_differs_in_its_last_bit_is_seen():
    table = invariants.table(records(record(0)))
    other = invariants.table(records(record(0, metrics={"val_error": 1.5 + 2**-52})))
    (problem,) = invariants.differing(other, table)
    assert problem.startswith("trial 0 differs from the undisturbed search: metrics")
    nan = invariants.table(records(record(0, metrics={"val_error": float("nan")})))
    assert invariants.differing(nan, nan) == []
    assert invariants.differing({}, table) == ["trial 0 is in one table only"]


def test_what_it_used_is_no_difference():
    table = invariants.table(records(record(0)))
    used = invariants.table(records(record(0, seconds=9.0, attempts=3, wave=2, host="a")))
    assert invariants.differing(used, table) == []


@pytest.fixture
def write_histories(tmp_path):
    def write(*waves):
        paths = SearchPaths(tmp_path)
        paths.histories.mkdir()
        for index, entries in enumerate(waves, start=1):
            lines = [json.dumps({"trial": 0, "step": step, "metrics": {"loss": loss}}) for step, loss in entries]
            paths.history(index).write_text("\n".join(lines) + '\n{"trial": 0, "st')
        return paths

    return write


def test_a_restarted_trial_that_repeats_its_numbers_has_a_whole_history(write_histories):
    paths = write_histories([(1, 0.5)], [(1, 0.5), (2, 0.25)])
    assert invariants.history_problems(paths, records(record(0)), 2) == []


def test_a_restarted_trial_with_other_numbers_is_seen(write_histories):
    paths = write_histories([(1, 0.5)], [(1, 0.5000001), (2, 0.25)])
    (problem,) = invariants.history_problems(paths, records(record(0)), 2)
    assert problem == "trial 0 reported other numbers at step 1 when restarted"


def test_a_hole_in_a_history_is_seen(write_histories):
    paths = write_histories([(1, 0.5)], [(3, 0.25)])
    (problem,) = invariants.history_problems(paths, records(record(0)), 3)
    assert problem == "trial 0 completed, but its history lacks the steps [2]"


def test_an_unfinished_file_is_seen(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / ".trial-000001.npz.77.tmp").touch()
    problems = invariants.left_unfinished(SearchPaths(tmp_path))
    assert problems == ["an unfinished file is left: checkpoints/.trial-000001.npz.77.tmp"]


def test_a_traceback_in_what_was_printed_is_seen():
    text = "30 s  wave 1\nTraceback (most recent call last):\n  File x\nKeyError: 'a'\n"
    (problem,) = invariants.printed_problems("swell run", text)
    assert problem.startswith("`swell run` printed a traceback")
    assert problem.endswith("KeyError: 'a'")
    assert invariants.printed_problems("swell run", "30 s  wave 1\n") == []


IN_A_PLACE = """
import os, sys, tempfile, time
from pathlib import Path
sys.path.insert(0, {root!r})
from benchmarks.faults.disks import fill_inodes, fill_space
from benchmarks.faults.invariants import left_processes, left_scratch
from benchmarks.faults.place import Place, enter_namespace
from benchmarks.faults.planted import plant
enter_namespace(sys.argv)
place = Place(Path(tempfile.mkdtemp(prefix="sc", dir="/tmp")))
planted = plant(place)
try:
{body}
finally:
    place.end_all()
    planted.end()
    place.close()
"""


@pytest.fixture
def in_a_place(tmp_path):
    """Return a function that runs Python in a place with what is planted; returns the lines printed."""

    def run(body):
        script = tmp_path / "script.py"
        body = "\n".join(f"    {line}" for line in body.strip().splitlines())
        script.write_text(IN_A_PLACE.format(root=str(ROOT), body=body))
        done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def test_a_filled_disk_refuses_and_is_freed(in_a_place):
    lines = in_a_place(
        """
for fill in (lambda: fill_space(place.scratch, 0), lambda: fill_inodes(place.scratch)):
    with fill():
        try:
            (place.scratch / "more").write_bytes(b"x" * 10000)
        except OSError as error:
            print(error.strerror)
    (place.scratch / "more").write_bytes(b"x" * 10000)
    (place.scratch / "more").unlink()
print(left_scratch(place.scratch, planted))
"""
    )
    assert lines == ["No space left on device"] * 2 + ["[]"]


def test_what_is_foreign_is_held_against_what_it_was(in_a_place):
    lines = in_a_place(
        """
print(planted.differences(), [process.pid for process in place.ours()])
(place.scratch / "tmpabcd" / "wandb-media").unlink()
(place.searches / "notes.txt").write_text("other")
planted.processes["raylet"].terminate()
planted.processes["ray::TrialActor.step()"].suspend()
end = time.monotonic() + 600
while len(planted.differences()) < 4 and time.monotonic() < end:
    time.sleep(0.1)
print(*planted.differences(), sep="\\n")
"""
    )
    assert lines[0] == "[] []"
    assert sorted(line.split(" (")[0].split(", was")[0] for line in lines[1:]) == [
        "foreign s/tmpabcd/wandb-media is gone",
        "foreign searches/notes.txt is a file of 5 bytes",
        "the foreign process titled 'ray::TrialActor.step()' was stopped",
        "the foreign process titled 'raylet' was ended",
    ]


def test_what_is_ours_and_left_is_seen(in_a_place):
    lines = in_a_place(
        """
import subprocess
(place.scratch / "swell-left").mkdir()
left = subprocess.Popen(["sleep", "50"], env=place.environment)
time.sleep(0.2)
print(left_scratch(place.scratch, planted), len(left_processes(place.ours())))
place.end_all()
print(left.wait())
"""
    )
    assert lines == ["['scratch is left: swell-left'] 1", "-9"]


def test_the_wall_clock_of_every_python_process_jumps(in_a_place):
    lines = in_a_place(
        """
import subprocess
place.clock.write_text("-86400")
asked = [sys.executable, "-c", "import time; print(time.time(), time.time_ns() / 1e9)"]
before = time.time()
done = subprocess.run(asked, env=place.environment, capture_output=True, text=True)
print(*[round((float(word) - before + 86400) / 60) for word in done.stdout.split()])
"""
    )
    assert lines == ["0 0"]


def test_an_order_to_misbehave_is_obeyed_by_one_process_once(tmp_path):
    orders = tmp_path / "orders"
    orders.mkdir()
    command = "import sys, time; from pathlib import Path; from benchmarks.faults.misbehave import Obedience; "
    command += "it = Obedience(); it.begin(Path(sys.argv[1])); print('ready', flush=True); sys.stdin.read(); it.end()"
    workers = []
    for index in range(2):
        (tmp_path / str(index)).mkdir()
        environment = {**os.environ, "TMPDIR": str(tmp_path / str(index)), "PYTHONPATH": str(ROOT)}
        arguments = [sys.executable, "-c", command, str(orders)]
        workers.append(subprocess.Popen(arguments, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()
    taken = give_order(orders, "one", {"what": "files", "mb": 3, "chunk_mb": 1, "pause_s": 0})

    def written():
        return sorted(file.stat().st_size for index in range(2) for file in (tmp_path / str(index)).rglob("0*"))

    wait_for(lambda: written() == [10**6] * 3)
    for worker in workers:
        worker.communicate()
    assert written() == [10**6] * 3
    assert list(orders.iterdir()) == [taken]
    assert [worker.returncode for worker in workers] == [0, 0]  # their threads have ended


def test_the_table_is_compared_by_every_trial():
    assert Config().num_steps() == 14
    table = invariants.table(records(record(0), record(1)))
    assert invariants.differing(table, table) == []
    worse = {**table, 1: invariants.table(records(replace(record(1), outcome=Outcome.WORKER_LOST)))[1]}
    assert len(invariants.differing(worse, table)) == 1
