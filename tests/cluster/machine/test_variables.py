"""The user's variables: which ones no process of a search gets, which are noted at the launch, and what is said."""

import os

import pytest

from cluster.jobs.slurm.submission import _clean_environment
from cluster.machine.scratch import Scratch
from cluster.machine.variables import (
    OVERRULED,
    overruled,
    overruled_warnings,
    own_environment,
    setting_changes,
    settings,
    users_environment,
)
from cluster.tracking.tracker_process import wandb_environment
from cluster.worker.environment import Origin, driver_environment, training_environment

OF_PYTHON = ("PYTHONOPTIMIZE", "PYTHONINSPECT", "PYTHONSTARTUP", "PYTHONWARNINGS", "PYTHONASYNCIODEBUG")


@pytest.fixture
def environment(monkeypatch):
    """Return a function that sets variables of this process, which has none besides that count."""
    for name in settings(os.environ) | dict.fromkeys(OVERRULED, ""):
        monkeypatch.delenv(name, raising=False)

    def give(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return give


@pytest.fixture
def scratch(tmp_path):
    """A wave's scratch folder, as far as environments need it."""
    scratch = Scratch(tmp_path)
    scratch.wandb.mkdir()
    return scratch


@pytest.mark.parametrize("name", OF_PYTHON)
def test_no_process_of_a_search_gets_a_variable_that_changes_python_itself(environment, make_search, scratch, name):
    search = make_search()
    environment(**{name: "2", "MY_OWN": "1"})
    spec, paths = search.spec, search.paths
    children = {
        "probes, the doctor's": training_environment(spec.resources, Origin.here()),
        "reruns": training_environment(spec.resources, Origin.of(paths)),
        "drivers and workers": driver_environment(spec, paths, scratch, "mark", 1),
        "trackers": wandb_environment(paths, scratch, "mark"),
        "fetches": wandb_environment(None, scratch, "mark"),
        "detached supervisors": own_environment(),
    }
    with _clean_environment():
        children["SLURM's jobs"] = dict(os.environ)
    assert [who for who, given in children.items() if name in given] == []
    assert [who for who, given in children.items() if given.get("MY_OWN") != "1"] == []
    assert os.environ[name] == "2"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"JAX_DISABLE_JIT": "1"}, "JAX_DISABLE_JIT=1 does not count: trials are compiled"),
        ({"OMP_PROC_BIND": "true"}, "OMP_PROC_BIND=true does not count: all trials of a node would be bound"),
        ({"PYTHONWARNINGS": "error"}, "PYTHONWARNINGS=error does not count: warnings of libraries"),
        (
            {"XLA_FLAGS": "--xla_dump_to=/x --xla_force_host_platform_device_count=4"},
            "--xla_force_host_platform_device_count=4 in XLA_FLAGS does not count: a trial has one CPU device",
        ),
    ],
)
def test_what_no_trial_gets_is_said_with_the_reason(environment, given, said):
    environment(**given)
    (warning,) = overruled_warnings(os.environ)
    assert warning.startswith(said)
    ((name, value),) = given.items()
    assert users_environment(None).get(name, "") == (value.split()[0] if name == "XLA_FLAGS" else "")


@pytest.mark.parametrize("given", [{"PYTHONSTARTUP": "/home/a/.pyrc"}, {"PYTHONINSPECT": ""}, {"PYTHONPATH": "/x"}])
def test_of_what_is_usual_or_empty_nothing_is_said(given):
    assert overruled(given) == {}


def test_what_changes_numbers_is_noted_and_nothing_else():
    given = {
        "JAX_ENABLE_X64": "True",
        "JAX_DEFAULT_PRNG_IMPL": "rbg",
        "XLA_FLAGS": "--xla_cpu_enable_fast_math=true --xla_cpu_multi_thread_eigen=false",
        "PYTHONHASHSEED": "0",
        "NPY_DISABLE_CPU_FEATURES": "AVX2",
    }
    of_machine = {
        "JAX_COMPILATION_CACHE_DIR": "/c",
        "JAX_PLATFORMS": "cuda",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "JAX_LOGGING_LEVEL": "DEBUG",
    }
    others = {"JAX_DISABLE_JIT": "1", "OMP_NUM_THREADS": "3", "HOME": "/home/a", "JAX_NUMPY_DTYPE_PROMOTION": ""}
    assert settings(given | of_machine | others) == given | {"XLA_FLAGS": "--xla_cpu_enable_fast_math=true"}
    assert settings({"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}) == {}


def test_a_search_gets_the_settings_of_its_launch_whatever_the_shell_has(environment):
    environment(JAX_ENABLE_X64="1", NPY_PROMOTION_STATE="weak", RAY_ADDRESS="10.0.0.1:6379", MY_OWN="1")
    noted = {"JAX_DEFAULT_MATMUL_PRECISION": "highest"}
    given = users_environment(noted)
    assert settings(given) == noted
    assert "RAY_ADDRESS" not in given
    assert given["MY_OWN"] == "1"
    assert settings(users_environment(None)) == {"JAX_ENABLE_X64": "1", "NPY_PROMOTION_STATE": "weak"}


def test_relative_folders_of_python_are_those_of_the_shell(environment, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environment(PYTHONPATH=f"lib:/abs{os.pathsep}")
    assert users_environment(None)["PYTHONPATH"] == f"{tmp_path}/lib:/abs"


def test_each_setting_that_differs_from_the_launchs_is_said():
    noted, now = {"JAX_ENABLE_X64": "1", "PYTHONHASHSEED": "0"}, {"PYTHONHASHSEED": "0", "XLA_FLAGS": "--a=1"}
    assert setting_changes(noted, now) == [
        "JAX_ENABLE_X64 is not set here: it was 1 when the search was launched, and stays so",
        "XLA_FLAGS=--a=1 does not count here: it was not set when the search was launched, and stays so",
    ]
    assert setting_changes(noted, noted) == []
