"""The user's variables that change numbers: tried in a process of its own before a search is launched."""

import os
import subprocess
import sys

import pytest

from cluster.commands.check_environment import environment_problems
from cluster.machine.variables import settings
from search_spaces.sections import Resources

SPEC = """\
name: s
trainable: tests.methods.ripple
objective: {metric: val_error}
space: {shift: [0.0, 1.0]}
sampler: {name: grid}
"""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A node's cache of its own, and no variable that changes numbers."""
    monkeypatch.setenv("SWELL_CACHE", str(tmp_path / "cache"))
    for name in settings(os.environ):
        monkeypatch.delenv(name)


def test_a_flag_that_jax_does_not_take_is_refused_by_name(tmp_path, searches):
    file = tmp_path / "s.yaml"
    file.write_text(SPEC)
    environment = os.environ | {"XLA_FLAGS": "--xla_gpu_nonsense_flag=1", "JAX_ENABLE_X64": "1"}
    command = [sys.executable, "-P", "-m", "swell", "run", str(file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "no trial could start with" in line
    assert "--xla_gpu_nonsense_flag=1" in line
    assert "JAX_ENABLE_X64" not in line  # it is well
    assert not searches.exists()


def test_a_value_that_jax_does_not_take_is_refused_again_and_again(monkeypatch):
    monkeypatch.setenv("JAX_ENABLE_X64", "perhaps")
    for _ in range(2):
        (problem,) = environment_problems(Resources())
        assert "JAX_ENABLE_X64=perhaps in the environment" in str(problem)


def test_values_that_work_are_tried_once_a_node(monkeypatch):
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    assert environment_problems(Resources()) == []
    monkeypatch.setattr(sys, "executable", "/no/python/here")  # from now on no process can be started
    assert environment_problems(Resources()) == []
    monkeypatch.setenv("JAX_ENABLE_X64", "0")
    (problem,) = environment_problems(Resources())
    assert "cannot be run" in str(problem)
    monkeypatch.delenv("JAX_ENABLE_X64")
    assert environment_problems(Resources()) == []
