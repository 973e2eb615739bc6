import os
import signal
import subprocess
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from cluster.console import Console
from cluster.jobs.environment import note_allocation, place_here, queue_names
from cluster.jobs.place import Place
from cluster.jobs.queues import queue_named
from cluster.jobs.slurm.queue import QUEUE
from cluster.machine.allocation import VARIABLES
from cluster.machine.files import write_json
from cluster.machine.processes import usr2_held_back
from cluster.supervision import job_main
from cluster.supervision.supervisor import Ending


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Inside a job: `squeue` and `scontrol` on the PATH, what they say, and what they were asked."""
    folder = tmp_path / "bin"
    folder.mkdir()
    asked = folder / "asked"
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setattr(job_main, "END_PATIENCE_S", 0.1)
    monkeypatch.setattr(job_main, "REQUEUE_PAUSE_S", 0.1)

    def says(name, answer, status=0):
        (folder / name).write_text(f"#!/bin/sh\necho {name} $* >> {asked}\necho '{answer}'\nexit {status}\n")
        (folder / name).chmod(0o755)

    return SimpleNamespace(says=says, asked=lambda: asked.read_text().splitlines() if asked.exists() else [])


@pytest.fixture
def paths(make_search):
    return make_search().paths


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("13:47", 827), ("0:05", 5), ("1:02:03", 3723), ("2-00:00:10", 172810), ("UNLIMITED", None), ("INVALID", None)],
)
def test_the_time_left_is_what_slurm_says(slurm, said, seconds):
    slurm.says("squeue", said)
    assert QUEUE.time_left_s("17") == seconds


def test_without_an_answer_there_is_no_limit(slurm):
    slurm.says("squeue", "", status=1)
    assert QUEUE.time_left_s("17") is None


def test_a_running_job_goes_back_into_the_queue(slurm, paths):
    slurm.says("squeue", "RUNNING")
    slurm.says("scontrol", "")
    assert job_main.requeue(QUEUE, "17", paths, Console(stderr=True))
    assert slurm.asked()[-1] == "scontrol requeue 17"
    assert job_main.requeue(QUEUE, "9_3", paths, Console(stderr=True))
    assert slurm.asked()[-2:] == ["squeue --noheader --states=all --jobs=9_3 --format=%T", "scontrol requeue 9_3"]


@pytest.mark.parametrize(("state", "comes_back"), [("CANCELLED", False), ("PREEMPTED", True), ("TIMEOUT", False)])
def test_a_job_that_slurm_ends_is_left_to_it(slurm, paths, state, comes_back):
    slurm.says("squeue", state)
    assert job_main.requeue(QUEUE, "17", paths, Console(stderr=True)) is comes_back
    assert all(command.startswith("squeue") for command in slurm.asked())


def test_a_controller_that_is_away_is_waited_for(slurm, paths, tmp_path):
    away = tmp_path / "away"
    away.touch()
    slurm.says("squeue", "RUNNING")
    slurm.says("scontrol", "", status=f"$(test -e {away} && rm {away} && echo 1 || echo 0)")
    assert job_main.requeue(QUEUE, "17", paths, Console(stderr=True))
    assert slurm.asked().count("scontrol requeue 17") == 2


def test_a_stop_is_heard_while_a_controller_is_away(slurm, paths):
    write_json(paths.stop_request, {"now": False})
    slurm.says("squeue", "", status=1)
    assert not job_main.requeue(QUEUE, "17", paths, Console(stderr=True))


def test_a_refusal_is_said_and_the_search_waits_to_be_resumed(slurm, paths, capsys, monkeypatch):
    monkeypatch.setattr(job_main, "REQUEUE_PATIENCE_S", 0.0)
    slurm.says("squeue", "RUNNING")
    slurm.says("scontrol", "", status=1)
    assert not job_main.requeue(QUEUE, "17", paths, Console(stderr=True))
    assert "job 17 could not be put back into the queue" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("state", "is_time_up", "signals", "goes_on"),
    [
        ("stopped", False, [signal.SIGUSR2], True),
        ("stopped", True, [], True),
        ("stopped", False, [signal.SIGTERM], True),  # a preemption; who cancels a job has SLURM say so
        ("stopped", False, [], False),
        ("finished", False, [signal.SIGUSR2], False),
        ("failed", False, [signal.SIGUSR2], False),
        ("paused", False, [signal.SIGUSR2], False),
    ],
)
def test_only_a_job_whose_time_is_up_goes_on_later(slurm, make_search, state, is_time_up, signals, goes_on):
    search = make_search()
    supervisor = job_main.Supervisor(search.paths)
    for signum in signals:
        supervisor.request_stop(signum)
    assert job_main.goes_on_later(search.paths, supervisor, Ending(state, "why", is_time_up)) is goes_on
    write_json(search.paths.stop_request, {"now": False})
    assert not job_main.goes_on_later(search.paths, supervisor, Ending(state, "why", is_time_up))


def test_a_detached_search_takes_no_part_in_the_job_that_it_was_started_in(slurm, paths, monkeypatch):
    """Somebody types `swell launch --on local` in their own job, on one of its nodes."""
    job = {"SLURM_JOB_ID": "17", "SLURM_PROCID": "1", "SLURM_JOB_NUM_NODES": "4", "SLURM_ARRAY_TASK_ID": "3"}
    for name, value in job.items():
        monkeypatch.setenv(name, value)
    slurm.says("squeue", "RUNNING")
    slurm.says("scontrol", "")

    def stopped(paths, supervisor, console):
        supervisor.request_stop(signal.SIGUSR2)
        return Ending("stopped", "the job's time is up", is_time_up=True)

    monkeypatch.setattr(job_main, "supervise", stopped)
    place = Place.alone()
    assert (place.rank, place.num_nodes, place.job) == (0, 1, None)
    assert job_main.work(str(paths.root), place) == 0
    assert slurm.asked() == []
    assert job_main.work(str(paths.root), replace(place, queue="slurm", queue_id="17")) == 0
    assert slurm.asked()[-1] == "scontrol requeue 17"


def test_a_process_knows_its_place_in_a_job():
    place = place_here(
        {
            "SLURM_JOB_ID": "17",
            "SLURM_RESTART_COUNT": "2",
            "SLURM_PROCID": "1",
            "SLURM_STEP_NUM_NODES": "4",
            "SLURMD_NODENAME": "compute-7",
            "SLURM_ARRAY_JOB_ID": "16",
            "SLURM_ARRAY_TASK_ID": "0",
        }
    )
    assert place == Place(
        rank=1, num_nodes=4, job=0, node="compute-7", incarnation="17-2", queue="slurm", queue_id="16_0"
    )
    assert place_here({"SLURM_JOB_ID": "17"}).queue_id == "17"


def test_what_a_job_has_given_is_noted_under_names_of_our_own_and_forgotten_outside(monkeypatch):
    for name in VARIABLES:
        monkeypatch.setenv(name, "of another job")
    given = {"SLURM_JOB_ID": "17", "SLURMD_NODENAME": "n7", "SLURM_CPUS_ON_NODE": "12", "SLURM_JOB_END_TIME": "5000"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    note_allocation()
    assert [os.environ.get(name) for name in VARIABLES] == ["17", "n7", "12", "5000"]
    monkeypatch.delenv("SLURM_JOB_END_TIME")  # as older SLURMs leave it
    note_allocation()
    assert [os.environ.get(name) for name in VARIABLES] == ["17", "n7", "12", None]
    monkeypatch.delenv("SLURM_JOB_ID")
    note_allocation()
    assert [os.environ.get(name) for name in VARIABLES] == [None] * 4


def test_a_queue_is_found_by_the_name_of_its_folder():
    assert queue_names() == ("slurm",)
    assert queue_named("slurm") is QUEUE
    assert QUEUE.name == "slurm"


def test_a_child_is_not_ended_by_the_signal_that_slurm_sends_to_all():
    with usr2_held_back():
        child = subprocess.Popen(["sleep", "30"])
    child.send_signal(signal.SIGUSR2)
    child.terminate()
    assert child.wait() == -signal.SIGTERM


def test_how_a_job_ends_reaches_slurm(monkeypatch):
    monkeypatch.setattr(job_main, "work", lambda root, place: int(root))
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    job_main.submitted("0")
    with pytest.raises(SystemExit) as ended:
        job_main.submitted("2")
    assert ended.value.code == 2


def test_trials_that_do_not_save_in_time_are_ended_while_the_job_can_still_go_back(make_search, monkeypatch):
    monkeypatch.setenv("SWELL_JOB_END_TIME", str(int(time.time() + 10_000)))
    supervisor = job_main.Supervisor(make_search().paths)
    supervisor.request_stop(signal.SIGUSR2)
    supervisor._attend()
    assert supervisor.stop_requests == 1
    monkeypatch.setenv("SWELL_JOB_END_TIME", str(int(time.time() + 20)))
    supervisor = job_main.Supervisor(make_search(name="other").paths)
    supervisor._attend()
    assert supervisor.stop_requests == 0
    supervisor.request_stop(signal.SIGUSR2)
    supervisor._heartbeat_at = 0.0
    supervisor._attend()
    assert supervisor.stop_requests == 2


def test_a_node_whose_leader_is_lost_has_the_job_started_again(slurm, paths, monkeypatch):
    class Lost:
        def __init__(self, *_):
            pass

        def run(self):
            raise job_main.LeaderLostError("gone")

    monkeypatch.setattr(job_main, "NodeSupervisor", Lost)
    monkeypatch.setattr(job_main, "clean_up_after_the_dead", lambda paths: None)
    monkeypatch.setattr(job_main.signal, "signal", lambda *_: None)
    slurm.says("squeue", "RUNNING")
    slurm.says("scontrol", "")
    place = Place(rank=1, num_nodes=2, job=None, node="n2", incarnation="17-0", queue="slurm", queue_id="17")
    assert job_main.follow(paths, place) == 1
    assert slurm.asked()[-1] == "scontrol requeue 17"
    write_json(paths.stop_request, {"now": False})
    assert job_main.follow(paths, place) == 1
    assert slurm.asked().count("scontrol requeue 17") == 1
