import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.machine.resources import (
    THREAD_VARIABLES,
    TooFewGpusError,
    cgroup_cpus,
    cpu_budget,
    cpu_limits,
    gpu_count,
    slots,
    thread_caps,
    xla_pool_threads,
)
from search_spaces.sections import Resources


def group(root, path, files):
    folder = root / path
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)


@pytest.fixture
def membership(tmp_path):
    def write(text):
        file = tmp_path / "cgroup"
        file.write_text(text)
        return file

    return write


@pytest.mark.parametrize(("text", "cpus"), [("200000 100000\n", 2.0), ("50000 100000\n", 0.5), ("max 100000\n", None)])
def test_the_quota_of_a_version_2_group(tmp_path, membership, text, cpus):
    group(tmp_path, "user.slice/job", {"cpu.max": text})
    assert cgroup_cpus(tmp_path, membership("0::/user.slice/job\n")) == cpus


def test_the_smallest_quota_of_all_groups_above_holds(tmp_path, membership):
    group(tmp_path, "user.slice", {"cpu.max": "300000 100000\n"})
    group(tmp_path, "user.slice/job", {"cpu.max": "800000 100000\n"})
    group(tmp_path, "user.slice/job/step", {"cpu.max": "max 100000\n"})
    assert cgroup_cpus(tmp_path, membership("0::/user.slice/job/step\n")) == 3.0


def test_a_quota_of_the_root_itself_holds(tmp_path, membership):
    group(tmp_path, "", {"cpu.max": "400000 100000\n"})
    assert cgroup_cpus(tmp_path, membership("0::/\n")) == 4.0


def test_a_quota_above_the_root_is_not_looked_for(tmp_path, membership):
    group(tmp_path, "", {"cpu.max": "100000 100000\n"})
    group(tmp_path, "mounted/job", {"cpu.max": "max 100000\n"})
    assert cgroup_cpus(tmp_path / "mounted", membership("0::/job\n")) is None


@pytest.mark.parametrize(("quota", "cpus"), [("250000", 2.5), ("-1", None)])
def test_the_quota_of_a_version_1_group(tmp_path, membership, quota, cpus):
    group(tmp_path, "cpu/docker/abc", {"cpu.cfs_quota_us": f"{quota}\n", "cpu.cfs_period_us": "100000\n"})
    text = "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n"
    assert cgroup_cpus(tmp_path, membership(text)) == cpus


def test_a_container_that_sees_its_own_group_as_the_root_has_its_quota(tmp_path, membership):
    group(tmp_path, "cpu", {"cpu.cfs_quota_us": "150000\n", "cpu.cfs_period_us": "100000\n"})
    assert cgroup_cpus(tmp_path, membership("3:cpu,cpuacct:/docker/abc\n")) == 1.5


def test_the_memory_controllers_group_has_no_say(tmp_path, membership):
    group(tmp_path, "cpu/a", {"cpu.cfs_quota_us": "100000\n", "cpu.cfs_period_us": "100000\n"})
    assert cgroup_cpus(tmp_path, membership("4:memory:/a\n2:cpuset:/a\n")) is None


def test_without_groups_there_is_no_quota(tmp_path, membership):
    assert cgroup_cpus(tmp_path, tmp_path / "none") is None
    assert cgroup_cpus(tmp_path, membership("0::/gone\n")) is None


@pytest.mark.parametrize(("variable", "limit"), [("1", 1), ("", None), ("2(x3)", None)])
def test_a_queues_allocation_is_a_limit(monkeypatch, variable, limit):
    monkeypatch.setenv("SWELL_JOB_CPUS", variable)
    assert cpu_limits().get("job") == limit


def test_the_budget_is_the_smallest_limit_and_at_least_one(monkeypatch):
    monkeypatch.setenv("SWELL_JOB_CPUS", "64")
    limits = cpu_limits(1000)
    assert limits["affinity"] == len(os.sched_getaffinity(0))
    assert limits["spec"] == 1000
    assert cpu_budget(1000) == max(1, int(min(limits.values())))
    assert cpu_budget(1) == 1
    monkeypatch.setenv("SWELL_JOB_CPUS", "0")
    assert cpu_budget() == 1


def test_the_affinity_is_a_limit():
    one = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, [{one}]); "
    code += "from cluster.machine.resources import cpu_budget; print(cpu_budget())"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout == "1\n"


@pytest.mark.parametrize("cpus", [1, 3])
def test_the_caps_size_the_pool_of_a_process(cpus):
    assert thread_caps(cpus) == {name: str(cpus) for name in THREAD_VARIABLES}
    code = (
        "from cluster.machine.resources import xla_pool_threads; before = xla_pool_threads()\n"
        "import jax; jax.numpy.ones(2).sum().block_until_ready(); print(before, xla_pool_threads())"
    )
    root, environment = Path(__file__).parents[3], {**os.environ, **thread_caps(cpus)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, env=environment, check=True
    )
    assert done.stdout == f"0 {cpus}\n"


def test_threads_of_other_names_are_not_counted():
    assert xla_pool_threads() in (0, 1)  # one where another test has started JAX here


@pytest.mark.parametrize(("visible", "count"), [("0,1,3", 3), ("GPU-5a3e", 1), ("", 0), ("-1", 0), ("0,-1,1", 1)])
def test_the_gpus_are_those_that_cuda_may_see(monkeypatch, visible, count):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpu_count() == count


def test_without_that_variable_the_gpus_are_counted_by_their_devices(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpu_count(tmp_path) == 0
    for name in ("nvidia0", "nvidia1", "nvidia12", "nvidiactl", "nvidia-uvm", "nvidia0.lock"):
        (tmp_path / name).touch()
    assert gpu_count(tmp_path) == 3


@pytest.mark.parametrize(
    ("resources", "gpus", "expected"),
    [
        ({"cpus_per_trial": 3}, "", 2),
        ({"cpus_per_trial": 16}, "", 1),
        ({"gpus_per_trial": 1}, "0,1", 2),
        ({"gpus_per_trial": 2}, "0,1,2", 1),
        ({"gpus_per_trial": 0.4}, "0,1", 4),  # two in each: a trial's part lies on one GPU
        ({"gpus_per_trial": 0.1}, "0", 8),
        ({"cpus_per_trial": 4, "gpus_per_trial": 0.1}, "0", 2),
    ],
)
def test_as_many_trials_run_at_once_as_cpus_and_gpus_carry(monkeypatch, resources, gpus, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    assert slots(Resources(**resources), 8) == expected


def test_no_trial_runs_without_its_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(TooFewGpusError, match="needs 2 GPUs, there are 1"):
        slots(Resources(gpus_per_trial=2), 8)
