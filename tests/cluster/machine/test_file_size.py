"""A limit on the size of files: no search starts or goes on under it, and one line says what to do."""

import resource
import subprocess
import sys

import pytest

from cluster.commands.check import check
from cluster.commands.resume import Changes, resume_elsewhere
from cluster.console import Console
from cluster.jobs.request import Options
from cluster.machine.capacity import check_fits
from cluster.machine.file_size import FileSizeError, require_unlimited_files
from search_spaces.sections import Resources
from search_spaces.spec import load_spec

LIMIT = 2**30
"""Bytes: more than any file of a test."""
SPEC = "name: s\ntrainable: tests.methods.ripple\nobjective: {metric: val_error}\nspace: {shift: [0.0, 1.0]}\n"


@pytest.fixture
def spec_file(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text(SPEC + "sampler: {name: grid}\n")
    return file


@pytest.fixture
def limited():
    """Limit the size of files of this process."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_limit_on_the_size_of_files_is_refused_wherever_trials_would_run_here(limited, spec_file, make_search):
    paths = make_search(budget={"trials": 2}).paths
    ways = {
        "check": lambda: check(load_spec(spec_file)),
        "a supervisor": lambda: check_fits(Resources()),
        "resume": lambda: resume_elsewhere(paths, None, None, Options(), Changes({"trials": 4}), Console()),
    }
    for way in ways.values():
        with pytest.raises(FileSizeError, match=r"cannot grow beyond 1,073,741,824 bytes .*`ulimit -f unlimited`"):
            way()
    assert not (paths.root / "budget-changes.json").exists()
    assert check(load_spec(spec_file), here=False).num_trials == 2  # a job's limits are those of its own node


def test_without_a_limit_nothing_is_refused():
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY, "tests need `ulimit -f unlimited`"
    require_unlimited_files()


@pytest.mark.parametrize("command", [["run"], ["launch", "--on", "local"]])
def test_a_search_is_not_begun_under_a_limit(spec_file, searches, command):
    program = [sys.executable, "-P", "-m", "swell", command[0], str(spec_file), *command[1:]]
    done = subprocess.run(
        ["bash", "-c", 'ulimit -S -f 10; exec "$@"', "bash", *program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "10,240 bytes" in line
    assert not searches.exists()
