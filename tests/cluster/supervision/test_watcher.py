"""What the supervisor sees of a driver, on real disks and real workers; limits are set so that they are crossed."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from cluster.machine.processes import children, start_time
from cluster.machine.scratch import Scratch
from cluster.supervision.watcher import DRIVER_PATIENCE_S, HEAD, STOP_PATIENCE_S, RayServers, Watcher
from tests.waiting import wait_for

NEVER_ENOUGH_GB = 1e9


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def watched(make_search, tmp_path, monkeypatch):
    """A function that makes a search and its watcher, which sends its orders to a list."""
    monkeypatch.setenv("SWELL_SCRATCH", str(tmp_path / "s"))
    monkeypatch.setattr("cluster.machine.scratch.LONGEST_ROOT", 200)

    class Watched:
        def __init__(self, guard=None, driver=2**22 - 3, **parts):
            guard = {"min_free_gb": 0, "min_free_inodes": 0, "max_scratch_gb": 1e6, "check_every_s": 1, **(guard or {})}
            search = make_search(guard=guard, **parts)
            self.paths, self.clock, self.orders = search.paths, Clock(), []
            self.scratch = Scratch.create({})
            ray = RayServers(driver, HEAD)
            self.watcher = Watcher(search.spec, self.paths, self.scratch, ray, self.orders.append, self.clock)

        def look(self, seconds=1.0):
            """Look again and again for so many seconds; return why the driver must be ended, and what it is told."""
            self.orders.clear()
            why = ""
            while seconds > 0 and not why:
                self.clock.now += min(seconds, 5.0)
                seconds -= 5.0
                why = self.watcher.look()
            return why, [order.do for order in self.orders]

        def log(self):
            return [json.loads(line) for line in self.paths.guard_log.read_text().splitlines()]

    return Watched


def test_with_room_for_all_nothing_is_said(watched):
    here = watched()
    assert here.look() == ("", [])
    assert not here.paths.guard_log.exists()


def test_little_space_ends_the_wave_and_is_said_once(watched):
    here = watched({"min_free_gb": NEVER_ENOUGH_GB, "stop_free_gb": 0})
    assert here.look() == ("", ["end_wave"])
    assert here.look() == ("", [])
    (entry,) = here.log()
    assert entry["what"] == "end_wave"
    assert "GB free, below 1e+09" in entry["reason"]


def test_less_space_stops_the_trials_and_ends_a_driver_that_does_not_end(watched):
    here = watched({"min_free_gb": NEVER_ENOUGH_GB})
    assert here.look() == ("", ["stop_trials"])
    assert here.look(STOP_PATIENCE_S - 1) == ("", [])
    why, _ = here.look(2)
    assert why == "its trials did not save within 120 s, and the disk is filling up"


def test_our_own_scratch_is_measured_and_a_second_wave_is_ended_too(watched):
    here = watched({"max_scratch_gb": 0.002})
    assert here.look() == ("", [])
    for _ in range(2):
        (here.scratch.tmp / "left").write_bytes(b"x" * 2_500_000)
        assert here.look() == ("", ["end_wave"])
        (here.scratch.tmp / "left").unlink()
        assert here.look() == ("", [])
    assert here.watcher.peak_scratch_bytes > 2_500_000


def test_it_looks_only_as_often_as_it_is_told(watched):
    here = watched({"min_free_gb": NEVER_ENOUGH_GB, "stop_free_gb": 0, "check_every_s": 60})
    here.watcher.look()
    here.watcher._wanted = 0
    assert here.look(59) == ("", [])
    assert here.look(2) == ("", ["end_wave"])


def test_a_worker_that_hangs_is_ended_after_its_driver_was_told_why(watched):
    here = watched(trial_timeout_min=1)
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    heartbeat = {"pid": worker.pid, "start": start_time(worker.pid), "trial": 5}
    (here.scratch.heartbeats / str(worker.pid)).write_text(json.dumps(heartbeat))
    assert here.look() == ("", [])
    assert here.look(59) == ("", [])
    assert worker.poll() is None
    assert here.look(2) == ("", ["lose_trial"])
    assert (here.orders[0].trial, here.orders[0].outcome) == (5, "timed_out")
    assert worker.wait(600) == -9


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_a_driver_is_ended_when_its_ray_has_died(watched, tmp_path, name):
    server = tmp_path / name
    shutil.copy(shutil.which("sleep"), server)
    process = subprocess.Popen([server, "60"])
    here = watched(driver=os.getpid())
    wait_for(lambda: children(os.getpid(), [name]))  # until the copy runs
    assert here.look() == ("", [])
    process.kill()
    wait_for(lambda: not start_time(process.pid))
    assert here.look()[0] == f"Ray's {name} has died"  # though nobody has waited for it yet
    process.wait()


def test_a_ray_of_somebody_elses_is_none_of_ours(watched, tmp_path):
    server = tmp_path / "raylet"
    shutil.copy(shutil.which("sleep"), server)
    process = subprocess.Popen([server, "60"])
    here = watched()
    here.look()
    process.kill()
    process.wait()
    assert here.look() == ("", [])


def test_a_job_that_was_suspended_has_not_hung(watched):
    here = watched(trial_timeout_min=1)
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    heartbeat = {"pid": worker.pid, "start": start_time(worker.pid), "trial": 5}
    (here.scratch.heartbeats / str(worker.pid)).write_text(json.dumps(heartbeat))
    assert here.look() == ("", [])
    here.clock.now += 1e6  # nobody ran, neither the worker nor the driver nor we
    assert here.look(30) == ("", [])
    assert worker.poll() is None
    worker.kill()
    worker.wait()


def test_a_driver_without_a_sign_of_life_is_ended(watched):
    here = watched()
    for _ in range(3):
        here.scratch.driver_heartbeat.touch()
        assert here.look(DRIVER_PATIENCE_S) == ("", [])
    why, _ = here.look(DRIVER_PATIENCE_S + 2)
    assert re.fullmatch(r"the driver gave no sign of life for 30[0-9] s", why)
