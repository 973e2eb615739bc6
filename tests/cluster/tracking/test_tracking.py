"""The tracker beside a supervisor: its environment, how it is started and ended, and that it harms no search."""

import logging
import os
import signal
import time

import pytest

from cluster.machine.guard import Action, Verdict
from cluster.machine.processes import carrying, end_carrying
from cluster.machine.scratch import Scratch
from cluster.state.guarding import folders_in_use, load_guard_events
from cluster.supervision.supervisor import Supervisor
from cluster.tracking.spool import SEARCH_DIRECTORY, Spool
from cluster.tracking.tracker_process import Tracking, wandb_environment
from cluster.wire.orders import DriverExit
from cluster.worker.environment import TOKEN
from tests.tracking import content, environment, files, run_trials
from tests.waiting import wait_for


@pytest.fixture
def search(make_search, tmp_path, monkeypatch):
    found = make_search(tracking={"wandb": "offline"}, budget={"trials": 50})
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("cluster.machine.scratch.LONGEST_ROOT", 200)
    monkeypatch.chdir(tmp_path / "cwd")
    return found


class Bare(Supervisor):
    """A supervisor whose driver runs some trials at once."""

    def __init__(self, search, num):
        super().__init__(search.paths)
        self._search, self._num = search, num

    def _driver(self, number):
        run_trials(self._search, self._num)
        return DriverExit.FINISHED


@pytest.mark.slow
def test_a_supervisor_ends_when_all_runs_are_written_and_leaves_nothing_but_the_spool(search, tmp_path):
    ending = Bare(search, 3).run()
    assert ending.state == "finished"
    assert sorted(files(search)) == [0, 1, 2]
    assert content(files(search)[2])["summary"]["test_error"] == 2.125
    for name in ("home", "cwd", "s"):
        assert list((tmp_path / name).rglob("*")) == [], name
    assert search.paths.spool.stat().st_mode & 0o777 == 0o700


@pytest.mark.slow
def test_a_tracker_outlives_the_end_of_a_driver_and_slurms_signal_and_has_a_successor_when_killed(search, caplog):
    run_trials(search, 1)
    with caplog.at_level(logging.WARNING), Tracking(search.spec, search.paths) as tracking:
        wait_for(lambda: Spool(search.paths).trials_written())
        os.kill(tracking._process.pid, signal.SIGUSR2)
        end_carrying(TOKEN, "a driver's", grace_s=0.1)
        time.sleep(0.3)
        assert tracking._process.poll() is None
        tracking._process.kill()
        tracking._process.wait()
        run_trials(search, 2, 2)
    assert sorted(files(search)) == [0, 1, 2]
    assert "the tracker has died with status -9; another writes the rest" in caplog.text
    assert carrying(TOKEN, tracking._token) == []


@pytest.mark.slow
def test_a_second_request_to_stop_waits_for_no_tracker(search, caplog, monkeypatch):
    monkeypatch.setattr("cluster.tracking.tracker_process.PATIENCE_S", (1e9, 1e9, 0.0))
    run_trials(search, 1)
    with caplog.at_level(logging.WARNING), Tracking(search.spec, search.paths, stop_requests=lambda: 2) as tracking:
        pass
    assert carrying(TOKEN, tracking._token) == []
    assert "swell sync writes the rest" in caplog.text


def test_a_tracker_that_cannot_be_started_is_a_warning(search, caplog, monkeypatch):
    monkeypatch.setattr(
        "cluster.tracking.tracker_process.Scratch.create", lambda facts: (_ for _ in ()).throw(OSError(28, "full"))
    )
    with caplog.at_level(logging.WARNING), Tracking(search.spec, search.paths):
        pass
    assert "the tracker could not be started; swell sync will write its runs" in caplog.text


def test_a_search_without_tracking_starts_no_process(make_search, tmp_path):
    search = make_search()
    with Tracking(search.spec, search.paths) as tracking:
        assert tracking._process is None
    assert not search.paths.spool.exists()


def test_wandb_writes_into_the_spool_and_into_scratch_and_heeds_no_variable_meant_for_one_run(
    search, tmp_path, monkeypatch
):
    settings = tmp_path / "home" / ".config" / "wandb" / "settings"
    settings.parent.mkdir(parents=True)
    settings.write_text("[default]\nbase_url = https://wandb.lab.org\n")
    monkeypatch.setenv("WANDB_RUN_ID", "mine")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    scratch = Scratch.create({})
    environment = wandb_environment(search.paths, scratch, "token")
    assert "WANDB_RUN_ID" not in environment
    assert "WANDB_MODE" not in environment
    assert environment["WANDB_API_KEY"] == "secret"
    assert environment[TOKEN] == "token"
    spool, own = Spool(search.paths), str(scratch.path)
    assert (environment["WANDB_DIR"], environment["WANDB_DATA_DIR"]) == (str(spool.root), str(spool.staging))
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_ARTIFACT_DIR", "TMPDIR"):
        assert environment[name].startswith(own), name
    assert (scratch.wandb / "config" / "settings").read_text() == settings.read_text()


def test_a_full_disk_of_the_search_deletes_synced_runs_and_only_those(search, monkeypatch):
    spool = Spool(search.paths)
    for name in ("offline-run-1-a", "offline-run-1-b"):
        (spool.runs / name).mkdir(parents=True)
        (spool.runs / name / "run-a.wandb").write_bytes(b"x" * 9000)
    spool.note_synced("offline-run-1-a")
    verdicts = [
        Verdict(Action.END_WAVE, "scratch (/s): 0.1 GB free, below 1", ("scratch",)),
        Verdict(Action.GO_ON),
        Verdict(Action.END_WAVE, "this disk is full", (SEARCH_DIRECTORY,)),
    ]
    left = []

    def judge(guard, reading):
        left.append(len(list(spool.runs.iterdir())))
        return verdicts.pop(0) if verdicts else Verdict(Action.GO_ON)

    monkeypatch.setattr("cluster.supervision.supervisor.judge", judge)
    supervisor = Supervisor(search.paths)
    supervisor._scratch_root = search.paths.root
    assert supervisor._wait_for_space()
    assert supervisor._wait_for_space()
    assert left == [2, 2, 2, 1]
    assert (spool.runs / "offline-run-1-b").is_dir()
    (freed,) = [event["freed_bytes"] for event in load_guard_events(search.paths) if event["what"] == "cleaned"]
    assert freed >= 9000
    assert SEARCH_DIRECTORY in folders_in_use(search.paths, search.paths.root)
