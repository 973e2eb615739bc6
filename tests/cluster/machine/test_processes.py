import os
import signal
import subprocess
import sys

import pytest

from cluster.machine.processes import boot_id, carrying, children, end_carrying, identity, is_alive, start_time
from tests.waiting import wait_for

MARK = "SWELL_TEST_MARK"
SLEEP = "import time; time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
PARENT = f"""
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {SLEEP!r}], start_new_session=True)
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def start():
    processes = []

    def run(code, mark=None, **options):
        environment = {**os.environ, **({MARK: mark} if mark else {})}
        processes.append(subprocess.Popen([sys.executable, "-c", code], env=environment, **options))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def test_a_process_knows_itself_and_is_alive():
    me = identity()
    assert (me["pid"], me["boot"]) == (os.getpid(), boot_id())
    assert is_alive(me) is True


def test_another_process_under_the_same_number_is_not_the_one_meant():
    assert is_alive({**identity(), "start": "1"}) is False
    assert is_alive({**identity(), "boot": "another boot"}) is False


def test_what_ran_on_another_host_cannot_be_known():
    assert is_alive({**identity(), "host": "elsewhere"}) is None


def test_a_zombie_is_dead(start):
    process = start("pass")
    wait_for(lambda: start_time(process.pid) is None)
    os.kill(process.pid, 0)  # its number is still taken: nobody has waited for it
    assert start_time(process.pid) is None


def test_a_command_with_brackets_in_its_name_is_understood(tmp_path, start):
    odd = tmp_path / "a) R (b"
    odd.symlink_to("/bin/sleep")
    process = subprocess.Popen([odd, "60"])
    try:
        assert int(start_time(process.pid)) >= int(start_time(os.getpid()))
    finally:
        process.kill()
        process.wait()


def test_only_marked_processes_are_ended(start):
    marked, other, unmarked = start(SLEEP, "one"), start(SLEEP, "another"), start(SLEEP)
    wait_for(lambda: carrying(MARK, "one") == [marked.pid])
    end_carrying(MARK, "one")
    assert marked.wait() == -signal.SIGTERM
    assert other.poll() is None
    assert unmarked.poll() is None


def test_a_grandchild_in_a_session_of_its_own_is_ended_too(start):
    parent = start(PARENT, "family", stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    wait_for(lambda: sorted(carrying(MARK, "family")) == sorted([parent.pid, child]))
    end_carrying(MARK, "family")
    assert carrying(MARK, "family") == []
    assert start_time(child) is None


def test_a_process_that_ignores_the_request_is_killed(start):
    stubborn = start(STUBBORN, "stubborn", stdout=subprocess.PIPE)
    stubborn.stdout.readline()
    end_carrying(MARK, "stubborn", grace_s=0.2)
    assert stubborn.wait() == -signal.SIGKILL


def test_a_value_that_only_begins_alike_is_another_mark(start):
    process = start(SLEEP, "mark-1")
    wait_for(lambda: carrying(MARK, "mark-1") == [process.pid])
    assert carrying(MARK, "mark") == []


EMPTY_ENTRY = """
import ctypes
arguments = (ctypes.c_char_p * 3)(b"sleep", b"60", None)
environment = (ctypes.c_char_p * 4)(b"A=1", b"", b"SWELL_TEST_EMPTY=here", None)
ctypes.CDLL(None).execve(b"/bin/sleep", arguments, environment)
"""


def test_a_process_is_found_by_what_comes_after_an_empty_entry_of_its_environment():
    """A process that changes its title, as Ray's workers do, may overwrite the beginning of its environment."""
    child = subprocess.Popen([sys.executable, "-S", "-c", EMPTY_ENTRY])
    wait_for(lambda: carrying("SWELL_TEST_EMPTY", "here") == [child.pid])
    child.kill()
    child.wait()
    assert carrying("SWELL_TEST_EMPTY", "here") == []


def test_children_are_found_by_name_and_the_dead_are_none():
    child = subprocess.Popen(["sleep", "60"])
    assert children(os.getpid(), ["sleep"]) == {child.pid: "sleep"}
    assert children(os.getpid(), ["other"]) == {}
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie
    assert children(os.getpid(), ["sleep"]) == {}
    child.wait()
    assert children(child.pid, ["sleep"]) == {}
