"""The supervisor without drivers: what it finds when it takes over, and how it waits."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from filelock import FileLock

from cluster.machine.files import write_json
from cluster.machine.guard import Limits
from cluster.machine.processes import boot_id, identity
from cluster.machine.scratch import Scratch
from cluster.state.guarding import load_guard_events
from cluster.state.paths import SearchPaths
from cluster.state.snapshot import load_status
from cluster.state.supervisor_record import worked_on_elsewhere
from cluster.supervision.supervisor import SearchBusyError, Supervisor
from cluster.wire.orders import DriverExit
from cluster.worker.environment import TOKEN
from tests.waiting import wait_for


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A scratch root of this test's own."""
    monkeypatch.setenv("SWELL_SCRATCH", str(tmp_path / "s"))
    monkeypatch.setattr("cluster.machine.scratch.LONGEST_ROOT", 200)
    return tmp_path / "s"


class Bare(Supervisor):
    """A supervisor whose drivers end at once, in the ways they are given."""

    def __init__(self, paths, *statuses):
        super().__init__(paths)
        self.statuses = list(statuses)

    def _driver(self, number):
        status = self.statuses.pop(0)
        if isinstance(status, Exception):
            raise status
        return status


def dead_owners_scratch(search, token):
    who = {"pid": 2**22 - 3, "start": "1", "host": os.uname().nodename, "boot": boot_id()}
    scratch = Scratch.create({})
    (scratch.path / "owner.json").write_text(json.dumps({**who, "search": str(search.paths.root), "token": token}))
    (scratch.tmp / "left").write_bytes(b"x" * 10_000)
    return scratch


def test_what_a_dead_supervisor_of_this_search_left_is_ended_and_deleted_and_nothing_else(make_search, root):
    search, other = make_search(), make_search()
    mine = dead_owners_scratch(search, f"dead-{os.getpid()}")
    others = dead_owners_scratch(other, f"other-{os.getpid()}")
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    worker = subprocess.Popen(sleep, env={**os.environ, TOKEN: f"dead-{os.getpid()}"})
    foreign = subprocess.Popen(sleep, env={**os.environ, TOKEN: f"other-{os.getpid()}"})
    try:
        ending = Bare(search.paths, DriverExit.FINISHED).run()
        assert ending.state == "finished"
        assert worker.wait(600) == -signal.SIGTERM
        assert foreign.poll() is None
        assert not mine.path.exists()
        assert others.path.exists()
        (event,) = load_guard_events(search.paths)
        assert event["what"] == "cleaned"
        assert event["freed_bytes"] >= 10_000
    finally:
        for process in (worker, foreign):
            process.kill()
            process.wait()


def test_the_driver_of_a_dead_supervisor_may_save_before_its_scratch_goes(make_search, root):
    search = make_search()
    scratch = dead_owners_scratch(search, "saving")
    held = FileLock(search.paths.driver_lock)
    held.acquire()
    supervisor = Bare(search.paths, DriverExit.FINISHED)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    time.sleep(1.0)
    assert scratch.path.exists()
    held.release()
    thread.join()
    assert not scratch.path.exists()


def test_a_search_waits_for_space_says_so_and_goes_on(make_search, root, monkeypatch):
    search = make_search(guard={"min_free_gb": 1e9})
    supervisor = Bare(search.paths, DriverExit.FINISHED)
    found = []
    thread = threading.Thread(target=lambda: found.append(supervisor.run()))
    thread.start()
    wait_for(lambda: "waiting" in load_status(search.paths).get("doing", ""))
    assert load_status(search.paths)["doing"].startswith("waiting for disk space: ")
    assert supervisor.statuses == [DriverExit.FINISHED]
    assert found == []
    monkeypatch.setattr("cluster.machine.guard.limits_on", lambda *_: Limits(0, 0, 0, 0))
    thread.join()
    assert found[0].state == "finished"
    assert [event["what"] for event in load_guard_events(search.paths)] == ["waiting", "going_on"]


def test_a_search_that_waits_for_space_can_be_stopped(make_search, root):
    search = make_search(guard={"min_free_gb": 1e9})
    supervisor = Bare(search.paths)
    supervisor.request_stop()
    ending = supervisor.run()
    assert (ending.state, ending.reason) == ("stopped", "stopped on request while it waited for disk space")
    assert load_status(search.paths)["stopped"] == ending.reason


def test_a_disk_too_full_to_start_a_driver_is_no_failure(make_search, root, monkeypatch):
    monkeypatch.setattr("cluster.supervision.supervisor.DISK_PAUSE_S", 0.01)
    monkeypatch.setattr("cluster.supervision.supervisor.MOST_DISK_PAUSE_S", 0.02)
    full = OSError(28, "No space left on device")
    ending = Bare(make_search().paths, *[full] * 20, DriverExit.DISK_FULL, DriverExit.FINISHED).run()
    assert ending.state == "finished"


def test_a_storage_that_is_away_is_waited_for_however_long_and_nothing_counts(make_search, root, monkeypatch):
    monkeypatch.setattr("cluster.supervision.supervisor.DISK_PAUSE_S", 0.01)
    monkeypatch.setattr("cluster.supervision.supervisor.MOST_DISK_PAUSE_S", 0.02)
    search = make_search()
    said = []

    class Away(Bare):
        def _driver(self, number):
            status = super()._driver(number)
            if status == DriverExit.STORAGE_AWAY:
                write_json(self._paths.storage_away, {"reason": "it is being started again"})
            return status

        def _pause(self, seconds):
            said.append((load_status(self._paths)["doing"], seconds))

    away = [DriverExit.STORAGE_AWAY] * 40
    assert Away(search.paths, *away, -9, -9, DriverExit.STORAGE_AWAY, -9, DriverExit.FINISHED).run().state == "finished"
    assert {doing for doing, _ in said} == {"waiting for its storage: it is being started again"}
    assert [seconds for _, seconds in said[:3]] == [0.01, 0.02, 0.02]
    assert not search.paths.storage_away.exists()


def test_a_search_that_waits_for_its_storage_can_be_stopped(make_search, root):
    supervisor = Bare(make_search().paths, DriverExit.STORAGE_AWAY)
    supervisor._pause = lambda seconds: supervisor.request_stop()
    ending = supervisor.run()
    assert ending.reason == "stopped on request while waiting for its storage: it cannot be reached"


def test_what_supervises_in_a_terminal_imports_nothing_that_trains_or_reckons():
    heavy = ["ray", "jax", "optuna", "numpy", "pandas", "scipy", "wandb"]
    modules = "cluster.commands.run, cluster.supervision.foreground"
    code = f"import sys, {modules}; print(sorted(set({heavy!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_drivers_that_die_before_they_start_a_trial_fail_the_search_soon(make_search, root):
    search = make_search()
    supervisor = Bare(search.paths, *[-9] * 10)
    ending = supervisor.run()
    assert ending.state == "failed"
    assert len(supervisor.statuses) == 7
    assert str(search.paths.logs) in ending.reason
    assert load_status(search.paths)["failed"] == ending.reason


def test_drivers_that_die_with_trials_running_are_borne_longer(make_search, root):
    search = make_search()

    class Dies(Bare):
        def _driver(self, number):
            write_json(self._paths.status, {"driver": number, "started": True, "outcomes": {}})
            return super()._driver(number)

    supervisor = Dies(search.paths, *[-9] * 9, DriverExit.FINISHED)
    assert supervisor.run().state == "finished"
    supervisor = Dies(search.paths, *[-9] * 20)
    assert supervisor.run().state == "failed"
    assert len(supervisor.statuses) == 10


def test_taking_over_from_the_dead_is_noted(make_search, root, monkeypatch):
    monkeypatch.setattr("cluster.state.supervisor_record.SILENT_S", 0.1)
    search = make_search()
    write_json(search.paths.supervisor_record, {"pid": 77, "host": "here"})
    Bare(search.paths, DriverExit.FINISHED).run()
    assert "taking over from process 77 on here, which has died" in search.paths.supervisor_log.read_text()
    assert not search.paths.supervisor_record.exists()


def test_nobody_works_alone_beside_jobs_that_share_a_search(make_search, monkeypatch):
    monkeypatch.setattr("cluster.supervision.supervisor.RIVAL_PATIENCE_S", 0.1)
    search = make_search()
    job = SearchPaths(search.paths.root, job=0)
    job.make_own()
    with FileLock(job.lock), pytest.raises(SearchBusyError):
        Supervisor(search.paths).run()
    with FileLock(search.paths.lock), pytest.raises(SearchBusyError):
        Supervisor(job).run()


@pytest.mark.parametrize("job", [None, 0])
def test_a_supervisor_that_lives_on_another_machine_is_seen_by_its_signs(make_search, root, monkeypatch, job):
    monkeypatch.setattr("cluster.state.supervisor_record.LOOK_EVERY_S", 0.05)
    monkeypatch.setattr("cluster.state.supervisor_record.SILENT_S", 3.0)
    search = make_search()
    other = SearchPaths(search.paths.root, job)
    other.make_own()
    write_json(other.supervisor_record, {**identity(), "host": "elsewhere"})
    over = threading.Event()

    def live():
        while not over.wait(0.1):
            other.supervisor_heartbeat.touch()

    thread = threading.Thread(target=live)
    thread.start()
    try:
        with pytest.raises(SearchBusyError, match="on elsewhere"):
            Supervisor(search.paths).run()
        began = time.monotonic()
        assert worked_on_elsewhere([other], patience_s=0.6) is other
        assert time.monotonic() - began > 0.6
        threading.Timer(0.3, over.set).start()
        assert worked_on_elsewhere([other], patience_s=1e9) is None
    finally:
        over.set()
        thread.join()
    assert Bare(search.paths, DriverExit.FINISHED).run().state == "finished"
