import io
import os

import pytest
from rich.console import Console as Terminal

from analysis.dashboard.state import Watched
from cluster.commands.status_all import show_all
from cluster.commands.status_one import show_one, state_of
from cluster.console import Console
from cluster.driver.board import Board
from cluster.jobs.standing import QueueAnswer
from cluster.machine.capacity import Capacity
from cluster.machine.files import write_json
from cluster.machine.processes import identity
from cluster.state.outcomes import Outcome
from cluster.state.snapshot import load_status
from cluster.supervision.display import Progress, body_of, counts, duration, one_line
from cluster.wording import whose_best
from tests.searching import result


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "?"),
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1:00"),
        (723, "12:03"),
        (3599.9, "1:00:00"),
        (11261, "3:07:41"),
        (360000, "100:00:00"),
    ],
)
def test_durations_read_as_people_say_them(seconds, text):
    assert duration(seconds) == text


def test_trials_are_counted_by_what_became_of_them():
    outcomes = {"completed": 3, "pruned": 4, "diverged": 1, "crashed": 2, "invalid_config": 1, "stopped": 5}
    snapshot = {"outcomes": outcomes, "running": [{}, {}], "best": {"value": 0.123456, "trial": 7}}
    assert counts(snapshot) == {"done": 3, "pruned": 4, "failed": 4, "running": 2}
    assert one_line(snapshot) == "3 done, 4 pruned, 4 failed, 2 running, best 0.1235 (trial 7)"
    assert one_line({}) == "0 done"


def test_the_best_mean_over_seeds_is_not_called_one_trials(make_search):
    search = make_search(name="repeated", repeats={"seeds": [0, 1, 2]}, budget={"trials": 6})
    study = search.open()
    for value in (0.3, 0.1, 0.2):
        study.tell(study.ask().number, Outcome.COMPLETED, result(val_error=value))
    Board(study, search.paths, 7).write()
    snapshot = load_status(search.paths)
    assert snapshot["best"] == {"value": pytest.approx(0.2), "trial": 1, "trials": [1, 2, 0]}
    assert one_line(snapshot) == "3 done, best 0.2 (the mean of trials 1, 2, 0)"
    console = Terminal(record=True, width=100, file=io.StringIO())
    console.print(*body_of(snapshot, search.spec.objectives[0].metric))
    assert "best 0.2 val_error, the mean of trials 1, 2, 0" in console.export_text()
    quick = Watched(search.paths).quick(QueueAnswer({}))
    assert quick["best"]["whose"] == "the mean of trials 1, 2, 0"
    assert whose_best(range(7)) == "the mean of trials 0, 1, 2, 3, 4 and 2 more"


def test_every_outcome_is_a_result_a_failure_or_can_go_on():
    assert {outcome.value for outcome in Outcome if not outcome.is_failure} == {"completed", "pruned", "stopped"}
    assert {outcome.value for outcome in Outcome if not outcome.is_own} == {
        "timed_out",
        "out_of_memory",
        "worker_lost",
        "node_lost",
        "disk_full",
        "stopped",
    }
    assert all(outcome.sentence.endswith(".") for outcome in Outcome)


@pytest.mark.parametrize(
    ("snapshot", "state"),
    [
        ({"finished": "all"}, "finished"),
        ({"stopped": "by SIGINT", "finished": ""}, "stopped"),
        ({"failed": "three drivers died", "stopped": ""}, "failed"),
        ({"paused": "five trials crashed alike", "stopped": ""}, "paused"),
        ({"outcomes": {}}, "interrupted"),
        ({}, "failed to start"),
    ],
)
def test_a_search_that_nobody_works_on_says_how_it_ended(make_search, snapshot, state):
    assert state_of(make_search().paths, snapshot) == state


def test_a_search_runs_while_its_supervisor_lives(make_search):
    paths = make_search().paths
    write_json(paths.supervisor_record, identity())
    assert state_of(paths, {"finished": "of an earlier session"}) == "running"
    write_json(paths.supervisor_record, {**identity(), "host": "elsewhere"})  # cannot be seen from here
    assert state_of(paths, {}) == "failed to start"  # it gives no sign of life
    paths.supervisor_heartbeat.touch()
    assert state_of(paths, {}) == "running"
    write_json(paths.supervisor_record, {**identity(), "start": "1"})
    assert state_of(paths, {"outcomes": {}}) == "interrupted"


@pytest.fixture
def played(make_search):
    """A search of four trials, and its board: one completed, one crashed, one running."""
    search = make_search(budget={"trials": 4})
    study = search.open()
    wave = search.wave(study, 2, capacity=Capacity(most=2, memory_gb=1.0))
    for outcome in (Outcome.COMPLETED, Outcome.CRASHED):
        number = wave.next()["number"]
        study.tell(number, outcome, result(seconds=1800, val_error=0.25))
        wave.running.pop(number)
    number = wave.next()["number"]
    wave.report(number, {"step": 10, "saved_step": -1, "seconds": 1.0, "metrics": {"val_error": 0.5}})
    board = Board(study, search.paths, 7)
    board.wave = wave
    yield search.paths, board
    wave.close()


def test_the_snapshot_has_what_a_display_needs(played):
    paths, board = played
    board.write()
    snapshot = load_status(paths)
    assert snapshot["outcomes"] == {"completed": 1, "crashed": 1}
    assert snapshot["running"] == [{"trial": 2, "step": 10, "objective": 0.5}]
    assert snapshot["best"] == {"value": 0.25, "trial": 0}
    assert (snapshot["wave"], snapshot["slots"], snapshot["max_trials"]) == (2, 2, 4)
    assert snapshot["core_hours"] == pytest.approx(1.0 + 1 / 3600)  # the running trial's second too
    assert snapshot["doing"] == "running trials"


def test_the_live_display_shows_counts_the_best_and_what_runs(played):
    paths, board = played
    board.write()
    console = Console(file=io.StringIO(), width=100)
    from cluster.state.records import load_spec

    console.print(Progress(paths, load_spec(paths)).render())
    text = console.file.getvalue()
    assert "2 of 4 trials  1 done  0 pruned  1 failed  1 running" in text
    assert "best 0.25 val_error, trial 0" in text
    assert "trial 2: step 10  val_error 0.5" in text


def test_a_search_that_waits_for_space_says_so_even_where_its_last_word_is_old(make_search, capsys):
    paths = make_search(guard={"min_free_gb": 1e9}).paths
    write_json(paths.supervisor_record, identity())
    write_json(paths.status, {"doing": "running trials", "outcomes": {}})
    show_one(paths)
    out = " ".join(capsys.readouterr().out.split())
    assert "try running (short of disk space: " in out
    assert "GB free, below" in out


def test_the_status_says_how_busy_the_last_wave_was_and_what_was_freed(played, capsys):
    paths, board = played
    board._study.add_wave({"wave": 1, "trials": 100, "trials_s": 125.0, "utilisation": 0.934, "tail_s": 3.2})
    board.write()
    paths.guard_log.write_text('{"what": "cleaned", "freed_bytes": 1500000000}\n{"what": "end_wave"}\n{"wha')
    show_one(paths)
    out = capsys.readouterr().out
    assert "wave 1: 100 trials in 2:05, its slots 93 % busy, some idle in its last 3 s" in out
    assert "scratch: 1.5 GB freed at the end of 1 Ray sessions" in out


def test_the_status_of_a_search_names_its_failures_and_the_way_on(played, capsys):
    paths, board = played
    board.write(stopped="stopped by SIGTERM")
    show_one(paths)
    text = capsys.readouterr().out
    assert "try  stopped (stopped by SIGTERM)" in text
    assert "1 crashed: The method raised an exception" in text
    assert "go on with: swell resume try" in text
    assert str(paths.root) in text.replace("\n", "")
    assert "step 10" not in text  # nothing runs any more


def test_the_status_of_a_running_search_names_its_supervisor(played, capsys):
    paths, board = played
    board.write()
    write_json(paths.supervisor_record, identity())
    show_one(paths)
    assert f"supervisor: process {os.getpid()} on" in capsys.readouterr().out


def test_the_list_of_searches_has_one_line_each(played, make_search, capsys):
    _, board = played
    board.write(finished="trials: all")
    make_search(name="other")
    show_all()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert any(line.split()[:4] == ["try", "finished", "2/4", "0.25"] for line in lines)
    assert any(line.split()[:4] == ["other", "failed", "to", "start"] for line in lines)


def test_an_empty_list_says_where_it_looked(searches, capsys):
    show_all()
    assert capsys.readouterr().out.replace("\n", "") == f"No searches in {searches} yet."


def test_the_time_left_follows_the_pace_of_this_session(played):
    _, board = played
    assert board._eta() is None  # nothing has ended since it began
    board._ended_before = 0
    board._started -= 100
    assert board._eta() == pytest.approx(100, rel=0.05)  # two ended, two to go
