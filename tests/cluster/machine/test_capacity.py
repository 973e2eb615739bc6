import json
import os
import subprocess
import sys

import pytest

from cluster.machine.capacity import Capacity, OversubscribedError, Share, check_fits
from cluster.machine.memory import total_memory_gb
from cluster.machine.processes import boot_id, start_time
from cluster.machine.resources import cpu_budget, pool_id
from cluster.machine.scratch import Scratch
from search_spaces.sections import Resources


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """A scratch root of this test's own: other searches on the machine must not count."""
    monkeypatch.setenv("SWELL_SCRATCH", str(tmp_path))
    monkeypatch.setattr("cluster.machine.scratch.LONGEST_ROOT", 200)
    return tmp_path


def test_before_anything_is_known_the_cpus_decide():
    assert Capacity(most=8, memory_gb=1.0).slots == 8


def test_what_trials_have_taken_decides_with_some_to_spare():
    capacity = Capacity(most=8, memory_gb=10.0)
    for _ in range(20):
        capacity.learn(2.0)
    assert capacity.slots == 4  # of 2.2 GB each


def test_one_large_trial_leaves_room_for_the_usual_ones_beside_it():
    capacity = Capacity(most=64, memory_gb=100.0)
    for _ in range(99):
        capacity.learn(1.0)
    assert capacity.slots == 64
    capacity.learn(60.0)
    assert capacity.slots == 1 + 30
    capacity.learn(0.0)  # a trial that never came to a report
    assert capacity.slots == 31


def test_one_trial_runs_however_large():
    capacity = Capacity(most=8, memory_gb=10.0)
    capacity.learn(100.0)
    assert capacity.slots == 1


def test_what_the_spec_says_is_not_learnt_anew():
    capacity = Capacity.here(Resources(memory_gb_per_trial=total_memory_gb() / 1000), cpus=4)
    capacity.learn(1e6)
    assert capacity.slots == 4


def test_the_memory_that_is_free_bounds_the_trials():
    capacity = Capacity.here(Resources(memory_gb_per_trial=1.0), cpus=10**6)
    assert 1 < capacity.slots == int(capacity.memory_gb)


def test_more_cpus_per_trial_than_there_are_are_refused_with_the_numbers():
    budget = cpu_budget()
    assert check_fits(Resources(cpus_per_trial=budget)) == budget
    with pytest.raises(OversubscribedError, match=rf"cpus_per_trial = {budget + 1}: more than the {budget} CPUs.*aff"):
        check_fits(Resources(cpus_per_trial=budget + 1))


def test_the_specs_own_limit_counts():
    with pytest.raises(OversubscribedError, match=r"more than the 1 CPUs .*spec 1\); allowed: 1 to 1"):
        check_fits(Resources(cpus=1, cpus_per_trial=2))


def test_more_memory_per_trial_than_the_machine_has_is_refused():
    with pytest.raises(OversubscribedError, match=r"memory_gb_per_trial = 1e\+06: more than the \d+"):
        check_fits(Resources(memory_gb_per_trial=1e6))


@pytest.fixture
def other(root):
    """Another search's scratch, owned by a living process."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    scratch = Scratch.create({})

    def owns(cpus, pool=None):
        who = {"pid": process.pid, "start": start_time(process.pid), "host": os.uname().nodename, "boot": boot_id()}
        facts = {"search": "/searches/heads", "cpus": cpus, "pool": pool or pool_id()}
        (scratch.path / "owner.json").write_text(json.dumps({**who, **facts}))
        return process

    yield owns
    process.kill()
    process.wait()


def test_what_another_search_uses_is_not_used_twice(other):
    budget = cpu_budget()
    process = other(budget)
    with pytest.raises(OversubscribedError) as caught:
        check_fits(Resources())
    assert str(caught.value) == (
        f"resources.cpus_per_trial = 1: of the {budget} CPUs here, other searches use {budget}: heads (process "
        f"{process.pid}) {budget}. Wait for them, or give them fewer with resources.cpus"
    )
    process.kill()
    process.wait()
    assert check_fits(Resources()) == budget


def test_a_search_takes_what_another_has_left(other):
    budget = cpu_budget()
    if budget < 2:
        pytest.fail("this test needs two CPUs")
    other(budget - 1)
    assert check_fits(Resources()) == 1


def test_a_search_of_another_job_on_the_same_node_has_cpus_of_its_own(other):
    other(cpu_budget(), pool="another")
    assert check_fits(Resources()) == cpu_budget()


def test_further_nodes_carry_what_their_own_cpus_and_memory_allow():
    capacity = Capacity(most=4, memory_gb=10.0)
    capacity.nodes["n2"] = Share(most=8, memory_gb=3.0)
    assert (capacity.total, capacity.slots) == (12, 12)
    for _ in range(10):
        capacity.learn(1.0)
    assert capacity.slots == 4 + 2  # on n2 two of 1.1 GB each
    capacity.nodes["n3"] = Share(most=8, memory_gb=0.5)  # too small for one of them
    assert capacity.slots == 6
    del capacity.nodes["n2"]
    assert (capacity.total, capacity.slots) == (12, 4)
    capacity.ceiling = 3
    assert capacity.slots == 3
