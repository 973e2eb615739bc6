"""A rerun in a process of its own: its environment, its end, and a trial of a real search."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from cluster.state.paths import SearchPaths
from cluster.state.records import load_trials
from cluster.worker.environment import Origin, training_environment
from tests.rerunning import ROOT, TRACEBACK, WATCHED, content, table
from tests.searching import make_spec


@pytest.mark.slow
def test_a_process_that_dies_is_told_by_its_signal(recorded, rerun):
    done = rerun(recorded(trouble="kill", spec={"retries": 0}.items()))
    assert done.code == 1
    assert "its process was ended by signal 9 (SIGKILL); 9 is often the lack of memory" in done.lines
    assert done.lines[-1].startswith("recorded: ")


@pytest.mark.slow
def test_a_process_of_its_own_trains_to_the_same_numbers(recorded, rerun):
    done = rerun(recorded())
    assert (done.code, done.err) == (0, "")
    assert "ended as before: completed at step 30" in done.lines
    assert "reports: 3 of 3 are the same" in done.lines
    assert "differs" not in done.out


@pytest.mark.slow
def test_a_process_of_its_own_ends_with_the_traceback(recorded, rerun):
    done = rerun(recorded(trouble="exception"))
    assert done.code == 1
    assert "ended as before: crashed at step 0" in done.lines
    assert (done.err.splitlines()[0], done.err.splitlines()[-1]) == (TRACEBACK, "RuntimeError: the method's own bug")


def launched(make_search, folder, monkeypatch, **parts):
    """Make a search of a user's method, launched from its folder, with one trial; return to where we were."""
    before = Path.cwd()
    monkeypatch.chdir(folder)
    search = make_search(trainable="lab_ours.own", budget={"trials": 1}, **parts)
    monkeypatch.chdir(before)
    search.open().ask()
    return search.paths


@pytest.mark.slow
def test_a_users_method_is_found_from_where_the_search_was_launched(make_search, own_method, monkeypatch, rerun):
    line = "print('threads', os.environ['PJRT_NPROC'], os.environ['OMP_NUM_THREADS'])"
    resources = {"cpus_per_trial": 2}
    paths = launched(make_search, own_method(line), monkeypatch, resources=resources)
    done = rerun(paths)
    assert (done.code, done.err) == (0, "")
    assert "threads 2 2" in done.lines
    assert not [entry for entry in sys.path if "lab" in Path(entry).parts]


@pytest.mark.slow
def test_a_method_that_exits_has_crashed(make_search, own_method, monkeypatch, rerun):
    done = rerun(launched(make_search, own_method("sys.exit(0)", "sys"), monkeypatch))
    assert done.code == 1
    assert done.err.splitlines()[-1] == "SystemExit: 0"
    assert "trained on: was open, at step 0, is crashed at step 0" not in done.lines
    assert "ended differently: was open, at step 0, is crashed at step 0" in done.lines


@pytest.mark.slow
def test_a_breakpoint_in_a_method_works(make_search, own_method, monkeypatch, watched):
    paths = launched(make_search, own_method("breakpoint()"), monkeypatch)
    out, err = watched(paths).communicate("p config.steps * 1000\nc\n", timeout=600)
    assert "(Pdb) 30000\n" in out, err
    assert "is completed at step 30" in out


def read_until(process, start):
    for line in process.stdout:
        if line.startswith(start):
            return
    raise AssertionError(process.stderr.read())


@pytest.mark.slow
def test_ctrl_c_ends_it_without_a_traceback(recorded, watched):
    paths = recorded(most=1, steps=10**8, report_every=1000)
    process = watched(paths)
    read_until(process, "step 1000 of ")
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 130
    assert "interrupted at step " in out
    assert err == ""
    assert nothing_is_left_of(process)


def nothing_is_left_of(group):
    """Whether a process's group is empty, once who has inherited the dead has reaped them."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.killpg(group.pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
def test_ctrl_c_twice_ends_what_does_not_hear_it(make_search, own_method, monkeypatch, watched):
    line = "signal.signal(2, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    process = watched(launched(make_search, own_method(line, "signal, time"), monkeypatch))
    read_until(process, "deaf")
    os.killpg(process.pid, signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.0)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=600)
    assert process.returncode == 130
    assert nothing_is_left_of(process)


def test_a_worker_is_capped_and_on_the_cpu_unless_it_has_gpus(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    origin = Origin(tmp_path, (tmp_path,))
    environment = training_environment(make_spec(resources={"cpus_per_trial": 3}).resources, origin)
    assert {environment[name] for name in ("PJRT_NPROC", "OMP_NUM_THREADS", "MKL_NUM_THREADS")} == {"3"}
    assert environment["JAX_PLATFORMS"] == "cpu"
    assert (environment["SWELL_METHOD_FOLDERS"], environment["SWELL_WORKING_DIRECTORY"]) == (str(tmp_path),) * 2
    with_gpus = training_environment(make_spec(resources={"gpus_per_trial": 1}).resources, origin)
    assert with_gpus["JAX_PLATFORMS"] == "cuda"


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A real search of mixed troubles."""
    folder = tmp_path_factory.mktemp("rerun")
    scratch = Path(tempfile.mkdtemp(prefix="sw", dir="/tmp"))  # Ray's socket paths must be short
    spec = folder / "mixed.yaml"
    spec.write_text(
        "name: mixed\ntrainable: tests.methods.ripple\nobjective: {metric: val_error}\nresources: {cpus: 2}\n"
        "space:\n  trouble: [none, nan, exception]\n  curve: [square, hyperbola]\n"
        "sampler: {name: grid}\nreport: false\n"
    )
    own = {"SWELL_ROOT": str(folder / "searches"), "SWELL_SCRATCH": str(scratch), "PYTHONPATH": str(ROOT)}
    environment = {**os.environ, **own}

    def python(*arguments):
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False
        )
        return SimpleNamespace(code=done.returncode, lines=done.stdout.splitlines(), out=done.stdout, err=done.stderr)

    done = python("-m", "swell", "run", str(spec))
    assert done.code == 0, done.err
    paths = SearchPaths(folder / "searches" / "mixed")
    assert json.loads(paths.branches.read_text()) == {"curve": ["square", "hyperbola"]}
    trials = {record.config["trouble"]: record for record in load_trials(paths)}
    yield SimpleNamespace(paths=paths, trials=trials, rerun=lambda *rest: python("-P", "-c", WATCHED, *rest))
    shutil.rmtree(scratch, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.parametrize("how", [[], ["--here"]])
def test_a_trial_of_a_real_search_trains_to_the_same_numbers(searched, how):
    record = searched.trials["none"]
    done = searched.rerun(str(searched.paths.root), str(record.number), *how)
    assert done.code == 0, done.err
    assert "ended as before: completed at step 30" in done.lines
    assert "reports: 3 of 3 are the same" in done.lines
    assert "differs" not in done.out
    assert table(done)["val_error"] == [f"{record.metrics['val_error']:.6g}"] * 2
    if not how:
        (again,) = load_trials(SearchPaths(searched.paths.root.with_name(f"mixed-rerun-{record.number}")))
        assert (again.config, again.metrics) == (record.config, record.metrics)
        others = SearchPaths(searched.paths.root.with_name(f"mixed-rerun-{record.number}")).branches
        assert others.read_text() == searched.paths.branches.read_text()


@pytest.mark.slow
def test_a_crash_of_a_real_search_crashes_again(searched):
    record = searched.trials["exception"]
    before = content(searched.paths.root)
    done = searched.rerun(str(searched.paths.root), str(record.number))
    assert done.code == 1
    assert f"ended as before: crashed at step {record.step}" in done.lines
    assert "RuntimeError: the method's own bug" in done.lines
    assert "its error is the same" in done.lines
    assert content(searched.paths.root) == before
