import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.machine.processes import identity
from cluster.state.shared_lock import LockLostError, SharedLock
from tests.waiting import PATIENCE_S, wait_for

ROOT = Path(__file__).parents[3]
COUNT = """
import sys
from pathlib import Path
from cluster.state.shared_lock import SharedLock
lock, counter = SharedLock(Path(sys.argv[1])), Path(sys.argv[2])
for _ in range(100):
    with lock:
        number = int(counter.read_text())
        counter.write_text(str(number + 1))
"""
HOLD = """
import sys, time
from pathlib import Path
from cluster.state.shared_lock import SharedLock
with SharedLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_processes_hold_it_one_at_a_time(tmp_path):
    counter = tmp_path / "counter"
    counter.write_text("0")
    command = [sys.executable, "-c", COUNT, str(tmp_path / "lock"), str(counter)]
    processes = [subprocess.Popen(command, cwd=ROOT) for _ in range(3)]
    assert [process.wait(PATIENCE_S) for process in processes] == [0, 0, 0]
    assert counter.read_text() == "300"
    assert [path.name for path in tmp_path.iterdir()] == ["counter"]


def test_its_holder_may_enter_it_again(tmp_path):
    lock = SharedLock(tmp_path / "lock")
    with lock:
        with lock:
            lock.check()
        assert lock.depth == 1
        lock.check()
    assert not (tmp_path / "lock").is_symlink()


def test_a_holder_killed_on_this_machine_is_known_at_once(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "lock")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    lock = SharedLock(tmp_path / "lock", patience_s=1e9)
    assert lock.take(lambda pause: True)  # without one pause
    lock.leave()


def test_a_silent_holder_elsewhere_loses_it_after_the_patience(tmp_path):
    path = tmp_path / "lock"
    path.symlink_to(json.dumps({**identity(), "host": "elsewhere", "id": "x"}))
    began = time.monotonic()
    with SharedLock(path, patience_s=0.4) as lock:
        assert time.monotonic() - began >= 0.4
        lock.check()


def test_a_holder_that_thinks_for_long_keeps_it(tmp_path):
    path = tmp_path / "lock"
    with SharedLock(path, patience_s=0.4) as lock:
        first = path.lstat().st_mtime_ns
        began = time.monotonic()
        wait_for(lambda: path.lstat().st_mtime_ns > first and time.monotonic() - began > 0.5)
        lock.check()


def test_who_has_lost_it_is_told_and_does_not_remove_the_others(tmp_path):
    path = tmp_path / "lock"
    mine, others = SharedLock(path), SharedLock(path)
    with mine:
        path.unlink()  # broken by others while this process was suspended
        with others:
            with pytest.raises(LockLostError, match="others have broken the lock lock"):
                mine.check()
            mine._release()
            others.check()


def test_a_lock_that_has_changed_hands_is_not_broken(tmp_path):
    path = tmp_path / "lock"
    mine = SharedLock(path)
    with mine:
        SharedLock(path)._break("the token of a holder before")
        mine.check()


def test_who_waits_for_it_may_give_up_and_knows_whether_its_holder_lives(tmp_path):
    path = tmp_path / "lock"
    mine, others = SharedLock(path), SharedLock(path, patience_s=1e9)
    assert mine.take(lambda pause: True)
    assert not others.take(lambda pause: True)
    assert (others.depth, others.saw_heartbeat) == (0, False)

    def touched(pause):
        os.utime(path, follow_symlinks=False)
        time.sleep(0.02)
        return others.saw_heartbeat

    assert not others.take(touched)
    assert others.saw_heartbeat
    mine.leave()
    assert others.take(lambda pause: True)
    others.leave()
    assert list(tmp_path.iterdir()) == []
