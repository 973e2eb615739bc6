import json
import os

import pytest

from cluster.driver.lost import LostWorkers
from cluster.machine.scratch import Scratch
from cluster.state.outcomes import Outcome


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    monkeypatch.setenv("SWELL_SCRATCH", str(tmp_path))
    monkeypatch.setattr("cluster.machine.scratch.LONGEST_ROOT", 200)
    return Scratch.create({})


def heartbeat(scratch, pid, trial, at):
    file = scratch.heartbeats / str(pid)
    file.write_text(json.dumps({"pid": pid, "start": "1", "trial": trial}))
    os.utime(file, (at, at))


def test_a_lost_worker_has_its_last_words(scratch):
    logs = scratch.ray / "session_2026" / "logs"
    logs.mkdir(parents=True)
    heartbeat(scratch, 100, trial=3, at=1000)
    heartbeat(scratch, 200, trial=3, at=2000)
    heartbeat(scratch, 300, trial=4, at=3000)
    for pid, words in ((100, "an earlier attempt\n"), (300, "another trial\n")):
        (logs / f"worker-ab-01-{pid}.err").write_text(words)
    stack = [f"  frame {number}" for number in range(40)]
    (logs / "worker-ab-01-200.err").write_text("\n".join([":job_id:01", ":actor_name:x", "Fatal Python error", *stack]))
    outcome, error = LostWorkers(scratch).explain(3)
    assert outcome is Outcome.WORKER_LOST
    assert error.splitlines() == ["its worker process died", *stack[-15:]]


def test_of_a_worker_that_says_what_ended_it_that_is_kept_however_much_comes_after(scratch):
    logs = scratch.ray / "session_2026" / "logs"
    logs.mkdir(parents=True)
    heartbeat(scratch, 200, trial=3, at=2000)
    before = [f"warning {number}" for number in range(30)]
    stack = ["Current thread 0x7f (most recent call first):", *(f'  File "m.py", line {n} in f' for n in range(60))]
    said = [*before, "Fatal Python error: Segmentation fault", "", *stack, "Extension modules: numpy, and a thousand"]
    (logs / "worker-ab-01-200.err").write_text("\n".join(said))
    _, error = LostWorkers(scratch).explain(3)
    assert error.splitlines() == ["its worker process died", *before[-5:], said[30], "", *stack[:38]]


def test_a_worker_without_words_is_lost_all_the_same(scratch):
    assert LostWorkers(scratch).explain(3) == (Outcome.WORKER_LOST, "its worker process died")


def test_a_loss_after_the_kernel_ended_a_process_is_one_of_memory_and_the_next_is_not(scratch):
    kills = [7]
    lost = LostWorkers(scratch, lambda: kills[0])
    assert lost.explain(0)[0] is Outcome.WORKER_LOST
    kills[0] += 1
    assert lost.explain(1) == (Outcome.OUT_OF_MEMORY, "the kernel ended a process for want of memory")
    assert lost.explain(2)[0] is Outcome.WORKER_LOST
