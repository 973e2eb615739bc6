"""Workers that hang or take too much memory: real processes with real heartbeats."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from cluster.machine.memory import (
    Machine,
    available_memory_gb,
    out_of_memory_kills,
    read_machine,
    resident_gb,
    total_memory_gb,
)
from cluster.machine.processes import start_time
from cluster.state.outcomes import Outcome
from cluster.supervision.workers import WorkerWatch, end_worker
from cluster.wire.heartbeats import IDLE, WorkerHeartbeat, read_heartbeats, wait_for_workers
from tests.waiting import wait_for

ROOT = Path(__file__).parents[3]
WORKER = """
import sys, time
from pathlib import Path
from cluster.wire.heartbeats import WorkerHeartbeat
beat = WorkerHeartbeat(Path(sys.argv[1]))
beat.set_trial(int(sys.argv[2]))
ballast = bytearray(b"x") * int(float(sys.argv[3]) * 1e6)
print("ready", flush=True)
while True:
    time.sleep(0.02)
    beat.beat()
"""


@pytest.fixture
def start(tmp_path):
    """A function that starts a worker which reports fifty times a second."""
    started = []

    def worker(trial, megabytes=1.0):
        command = [sys.executable, "-c", WORKER, str(tmp_path), str(trial), str(megabytes)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT))
        assert started[-1].stdout.readline() == "ready\n"
        return started[-1]

    yield worker
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def wait_for_report(worker, folder):
    def report():
        return [one for one in read_heartbeats(folder) if one.pid == worker.pid]

    before = report()
    wait_for(lambda: report() != before)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_stopped_worker_is_found_when_its_time_is_over_and_one_that_reports_is_not(start, tmp_path):
    clock = Clock()
    watch = WorkerWatch(tmp_path, 60.0, None, clock)
    hangs, works = start(4), start(5)
    assert watch.look() == []
    wait_for_report(hangs, tmp_path)
    hangs.send_signal(signal.SIGSTOP)
    wait_for(lambda: psutil.Process(hangs.pid).status() == psutil.STATUS_STOPPED)
    wait_for_report(works, tmp_path)
    clock.now = 30.0
    assert watch.look() == []  # its last heartbeat is seen here, whatever its file's time says
    for clock.now in (60.0, 89.0):
        wait_for_report(works, tmp_path)
        assert watch.look() == []
    wait_for_report(works, tmp_path)
    clock.now = 91.0
    (finding,) = watch.look()
    assert (finding.heartbeat.pid, finding.heartbeat.trial, finding.outcome) == (hangs.pid, 4, Outcome.TIMED_OUT)
    assert finding.reason == "it did not report for 1.02 min; trial_timeout_min = 1"
    end_worker(finding.heartbeat)
    assert hangs.wait(600) == -signal.SIGKILL
    assert works.poll() is None
    assert watch.look() == []


def test_an_idle_worker_may_wait_for_ever(start, tmp_path):
    clock = Clock()
    watch = WorkerWatch(tmp_path, 60.0, None, clock)
    idle = start(IDLE)
    watch.look()
    idle.send_signal(signal.SIGSTOP)
    clock.now = 1e6
    assert watch.look() == []


def test_a_worker_above_its_memory_is_found(start, tmp_path):
    small, large = start(1, 1), start(2, 200)
    (finding,) = WorkerWatch(tmp_path, 60.0, 0.15).look()
    assert (finding.heartbeat.pid, finding.outcome) == (large.pid, Outcome.OUT_OF_MEMORY)
    assert 0.2 < finding.memory_gb < 0.3
    assert "more than its memory_gb_per_trial = 0.15" in finding.reason
    assert resident_gb(small.pid) < 0.1


def test_the_largest_worker_goes_when_the_machine_has_none_left(start, tmp_path):
    start(1, 1)
    large = start(2, 100)
    assert WorkerWatch(tmp_path, 60.0, None, available_gb=lambda: 5.0).look() == []
    watch = WorkerWatch(tmp_path, 60.0, None, available_gb=lambda: 0.01)
    assert watch.look() == []  # it is somebody else's doing: to end one of a tenth of a gigabyte would not help
    watch._reserve_gb = 0.1
    (finding,) = watch.look()
    assert finding.heartbeat.pid == large.pid
    assert finding.reason.startswith("0.01 GB of memory were left on the machine")


def test_a_process_that_got_a_dead_workers_number_is_left_alone(start, tmp_path):
    alive = start(1)
    (heartbeat,) = read_heartbeats(tmp_path)
    other = type(heartbeat)(heartbeat.pid, "12345", heartbeat.trial, heartbeat.mtime_ns)
    end_worker(other)
    assert alive.poll() is None
    (tmp_path / str(alive.pid)).write_text(json.dumps({"pid": alive.pid, "start": "12345", "trial": 1}))
    assert read_heartbeats(tmp_path) == []


def test_signs_of_the_dead_and_damaged_ones_are_passed_over(start, tmp_path):
    worker = start(1)
    worker.kill()
    worker.wait()
    (tmp_path / "77").write_text("{")
    (tmp_path / "78").write_text("")
    assert read_heartbeats(tmp_path) == []


def test_a_worker_without_room_for_a_sign_goes_on(tmp_path):
    beat = WorkerHeartbeat(tmp_path / "not there")
    beat.set_trial(3)
    beat.beat()


def test_a_sign_is_written_over_in_place(tmp_path):
    beat = WorkerHeartbeat(tmp_path)
    file = tmp_path / str(os.getpid())
    size, inode = file.stat().st_size, file.stat().st_ino
    beat.set_trial(123456)
    assert (file.stat().st_size, file.stat().st_ino) == (size, inode)
    (heartbeat,) = read_heartbeats(tmp_path)
    assert (heartbeat.pid, heartbeat.start, heartbeat.trial) == (os.getpid(), start_time(os.getpid()), 123456)


# -- memory of the machine


@pytest.fixture
def machine(tmp_path):
    """A made-up machine: its memory, its control groups, and which of them this process is in."""
    membership = tmp_path / "membership"

    def make(lines, files):
        membership.write_text(lines)
        for name, text in files.items():
            file = tmp_path / "cgroup" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return {"root": tmp_path / "cgroup", "membership": membership, "machine": Machine(16.384e9, 8.192e9)}

    return make


def test_without_control_groups_the_kernel_says_what_is_left(machine):
    here = machine("", {})
    assert total_memory_gb(**here) == pytest.approx(16.384)
    assert available_memory_gb(**here) == pytest.approx(8.192)


def test_a_group_of_version_2_bounds_it_and_files_kept_in_memory_count_as_free(machine):
    here = machine(
        "0::/job\n",
        {
            "job/memory.max": "4000000000\n",
            "job/memory.current": "3900000000\n",
            "job/memory.stat": "anon 1\ninactive_file 2000000000\nactive_file 400000000\n",
            "job/memory.events": "low 0\noom 3\noom_kill 2\n",
            "memory.max": "max\n",
            "memory.current": "1\n",
        },
    )
    assert total_memory_gb(**here) == 4.0
    assert available_memory_gb(**here) == 2.5
    assert out_of_memory_kills(here["root"], here["membership"]) == 2


def test_a_group_of_version_1_and_its_parents_bound_it(machine):
    stat = "inactive_file 5\ntotal_inactive_file 500000000\ntotal_active_file 0\n"
    here = machine(
        "8:pids:/\n4:memory:/outer/inner\n",
        {
            "memory/outer/inner/memory.limit_in_bytes": "9223372036854771712\n",
            "memory/outer/inner/memory.usage_in_bytes": "7\n",
            "memory/outer/memory.limit_in_bytes": "3000000000\n",
            "memory/outer/memory.usage_in_bytes": "1500000000\n",
            "memory/outer/memory.stat": stat,
            "memory/outer/inner/memory.oom_control": "oom_kill_disable 0\noom_kill 5\n",
        },
    )
    assert total_memory_gb(**here) == 3.0
    assert available_memory_gb(**here) == 2.0
    assert out_of_memory_kills(here["root"], here["membership"]) == 5


def test_this_machine_has_some_memory_left():
    assert 0 < available_memory_gb() <= total_memory_gb()
    kernel = {line.split(":")[0]: line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines()}
    assert read_machine().total == 1024 * int(kernel["MemTotal"])


def test_a_process_that_has_ended_has_no_memory():
    process = subprocess.Popen(["sleep", "0"])
    process.wait()
    assert resident_gb(process.pid) == 0.0


def test_workers_are_waited_for_until_they_end_and_no_longer_than_they_may_take(start, tmp_path):
    worker = start(1)
    began = time.monotonic()
    wait_for_workers(tmp_path, patience_s=0.2)
    assert time.monotonic() - began >= 0.2
    worker.kill()
    worker.wait()
    wait_for_workers(tmp_path, patience_s=1e9)
