"""Whole searches: `python -m swell run` in a process of its own, with a real Ray, real signals and real kills."""

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

from cluster.machine.processes import carrying
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from cluster.state.records import load_history, load_trials, load_waves
from cluster.state.snapshot import load_status

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
HEAD = "trainable: tests.methods.ripple\nobjective: {metric: val_error}\nresources: {cpus: 2}\nreport: false\n"
TROUBLES = f"""{HEAD}
space:
  trouble: [none, nan, solver, exception]
  learning_rate: [0.01, 0.1, 0.5]
sampler: {{name: grid}}
keep: {{top: 2}}
"""
LOST = """\
trainable: tests.methods.ripple
objective: {metric: val_error}
space:
  trouble: [none, kill]
  learning_rate: [0.1, 0.5]
sampler: {name: grid}
resources: {cpus: 2, cpus_per_trial: 2}
retries: 1
budget: {trials: 3}
report: false
"""
STEPS, EVERY = 400, 4
LONG = f"""{HEAD}
base: {{steps: {STEPS}, report_every: {EVERY}, pace_s: 0.05}}
space:
  learning_rate: [0.001, 0.01, 0.1, 0.5]
  shift: [0.0, 1.0, -2.0]
sampler: {{name: grid}}
"""
NUM_LONG = 12
PATIENCE_S = 60.0
"""How long a process may take to be gone that has been told to end."""
BORDER = """\
trainable: border.method
objective: {metric: test_error}
space:
  do:
    - "jax.config.update('jax_enable_x64', True)"
    - ""
    - "threading.Thread(target=lambda: time.sleep(600), daemon=True, name='left').start()"
    - "pass"
    - "self.score = lambda *_: {'plain': TestResult({'test_error': None}, {})}"
sampler: {name: grid}
resources: {cpus: 1, cpus_per_trial: 1}
report: false
"""
BORDER_METHOD = """\
import threading, time
import jax
from tests.methods.ripple.method import Config as Plain, Ripple
from trainables._shared.contract import TestResult


class Config(Plain):
    do: str = ""


class Border(Ripple):
    config_type = Config

    def data(self, config, store):
        vars(self).pop("score", None)
        exec(config.do)
        return super().data(config, store)


method = Border()
"""
FRONT = """\
trainable: elsewhere.own_method
objective: [{metric: val_error}, {metric: train_loss, mode: max}]
space:
  learning_rate: {low: 1e-3, high: 0.5, log: true}
  shift: {low: -1.0, high: 1.0}
sampler: {name: nsga2}
repeats: {seeds: [3, 5]}
budget: {trials: 8}
resources: {cpus: 2}
"""
FRONT_METHOD = """\
import json, os, sys

MODULES = set(sys.modules)

import psutil
from tests.methods.ripple.method import Config, Ripple


class Noting(Ripple):
    def data(self, config, store):
        node_server = psutil.Process().parent()
        noted = dict(
            before=sorted(MODULES),
            modules=sorted(sys.modules),
            siblings=[" ".join(process.cmdline()) for process in node_server.children()],
        )
        with open({noted!r}, "a") as file:
            file.write(json.dumps(noted) + "\\n")
        return super().data(config, store)


method = Noting()
"""


class Place:
    """A root for searches with a scratch of its own, and the command line run in it."""

    def __init__(self, folder, scratch):
        self.folder = folder
        self.searches = folder / "searches"
        self.scratch = scratch
        own = {"SWELL_ROOT": str(self.searches), "SWELL_SCRATCH": str(scratch), "PYTHONPATH": str(ROOT)}
        self.environment = {**os.environ, **own}

    def paths(self, name):
        return SearchPaths(self.searches / name)

    def start(self, *arguments, cwd=ROOT):
        return subprocess.Popen(
            [sys.executable, "-m", "swell", *map(str, arguments)],
            env=self.environment,
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def swell(self, *arguments, cwd=ROOT):
        return finish(self.start(*arguments, cwd=cwd))

    def write(self, text, name):
        spec = self.folder / f"{name}.yaml"
        spec.write_text(f"name: {name}\n{text}")
        return spec

    def ours(self):
        """Return the processes of our searches: by their environment, and by files they hold open in our scratch."""
        holding = [
            int(fd.parts[2]) for fd in Path("/proc").glob("[0-9]*/fd/*") if _target(fd).startswith(str(self.scratch))
        ]
        return sorted({*carrying("SWELL_ROOT", str(self.searches)), *holding})


def _target(link):
    try:
        return str(link.readlink())
    except OSError:  # closed meanwhile, or another user's
        return ""


def finish(process):
    out, err = process.communicate(timeout=900)
    return SimpleNamespace(code=process.returncode, out=out, err=err)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    # Ray's socket paths must be short: pytest's own folders are too long for them.
    scratch = Path(tempfile.mkdtemp(prefix="sw", dir="/tmp"))
    found = Place(tmp_path_factory.mktemp("runs"), scratch)
    yield found
    for pid in found.ours():
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(scratch, ignore_errors=True)


@pytest.fixture(scope="module")
def troubles(place):
    return place.swell("run", place.write(TROUBLES, "troubles")), place.paths("troubles")


@pytest.fixture(scope="module")
def undisturbed(place):
    """The long grid in three waves that nobody disturbs, the last in a Ray of its own."""
    waves = "waves: {trials: 4, restart_ray_trials: 8}\n"
    done = place.swell("run", place.write(f"{LONG}{waves}", "undisturbed"))
    return done, place.paths("undisturbed")


def results(paths):
    """Return what a search found out: everything but what it used."""
    return {
        record.number: (record.outcome, record.configuration, record.params, record.config, record.metrics)
        for record in load_trials(paths)
    }


def wait_for(condition, process):
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def in_the_midst(paths, more_than=2):
    """Whether some trials have ended and another has reported."""
    ended = {record.number for record in load_trials(paths) if record.outcome}
    return len(ended) > more_than and any(entry["trial"] not in ended for entry in load_history(paths))


def assert_nothing_is_left(place):
    assert list(place.scratch.iterdir()) == []
    patience = time.monotonic() + PATIENCE_S
    while left := place.ours():  # what has been ended may take a moment on a busy machine
        assert time.monotonic() < patience, left
        time.sleep(0.1)


# -- a search with troubles


def test_a_search_ends_with_exit_code_0_and_prints_its_best_trials(troubles):
    done, paths = troubles
    assert done.code == 0, done.err
    rows = [line.split() for line in done.out.splitlines()]
    assert rows[0][:4] == ["rank", "trial", "outcome", "val_error"]
    assert [row[0] for row in rows[1:4]] == ["1", "2", "3"]
    assert "swell table troubles" in done.out
    assert str(paths.root) in done.out
    assert "Finished: 3 done, 9 failed" in done.err
    assert len(load_trials(paths)) == 12
    assert load_status(paths)["finished"] == "trials: all 12 have ended"


def test_a_trials_own_failure_is_its_outcome_and_touches_no_other(troubles):
    _, paths = troubles
    outcomes = {"none": "completed", "nan": "diverged", "solver": "solver_failed", "exception": "crashed"}
    records = load_trials(paths)
    assert all(record.outcome.value == outcomes[record.config["trouble"]] for record in records)
    assert all(record.attempts == 1 for record in records)
    completed = [record for record in records if record.outcome is Outcome.COMPLETED]
    assert {record.step for record in completed} == {30}
    assert all(record.metrics.keys() >= {"val_error", "test_error", "best_step"} for record in completed)


def test_a_crash_has_its_traceback_in_the_table(troubles, place):
    _, paths = troubles
    for record in load_trials(paths):
        crashed = record.outcome is Outcome.CRASHED
        assert record.error.startswith("Traceback") == crashed
        assert ('RuntimeError("the method\'s own bug")' in record.error) == crashed
    table = place.swell("table", "troubles", "--format", "csv")
    assert table.code == 0
    assert table.out.count("RuntimeError: the method's own bug") == 3


def test_a_trial_uses_as_many_threads_as_it_has_cpus(troubles):
    _, paths = troubles
    records = [record for record in load_trials(paths) if record.outcome is Outcome.COMPLETED]
    assert {record.xla_threads for record in records} == {1}
    assert all(record.peak_memory_mb > 50 and record.cpu_seconds > 0 and record.host for record in records)


def test_few_files_are_left_of_a_trial(troubles):
    _, paths = troubles
    files = [file.relative_to(paths.root) for file in paths.root.rglob("*") if file.is_file()]
    assert len([file for file in files if file.parts[0] == "checkpoints"]) == 2  # keep: {top: 2}
    own = [file for file in files if file.parts[0] not in ("checkpoints", "code")]  # `code`: the method's modules
    assert len(own) <= 14


def test_the_drivers_log_is_short_and_without_alarm(troubles):
    _, paths = troubles
    text = paths.driver_log(1).read_text()
    assert len(text.splitlines()) <= 3
    assert "WARNING" not in text
    assert "Traceback" not in text


def test_the_best_model_is_exported(troubles, place, tmp_path):
    done = place.swell("best", "troubles", "--output", tmp_path / "best")
    assert done.code == 0, done.err
    written = sorted(file.name for file in (tmp_path / "best").iterdir())
    assert written == ["config.yaml", "export.json", "metrics.json", "model.npz", "plain.csv"]
    metrics = json.loads((tmp_path / "best" / "metrics.json").read_text())
    best = min(r.metrics["val_error"] for r in load_trials(place.paths("troubles")) if r.outcome is Outcome.COMPLETED)
    assert metrics["val_error"] == best


def test_nothing_is_left_in_scratch_and_no_process_after_a_search(troubles, place):
    assert_nothing_is_left(place)


# -- workers that die


def test_a_lost_worker_is_retried_and_then_given_up_and_the_others_go_on(place):
    done = place.swell("run", place.write(LOST, "lost"))
    assert done.code == 0, done.err
    records = load_trials(place.paths("lost"))
    assert len(records) == 3
    for record in records:
        if record.config["trouble"] == "kill":
            assert (record.outcome, record.attempts) == (Outcome.WORKER_LOST, 2)
            assert record.error.startswith("its worker process died")
        else:
            assert (record.outcome, record.attempts, record.step) == (Outcome.COMPLETED, 1, 30)
            assert record.xla_threads == 2  # cpus_per_trial
    assert {record.config["trouble"] for record in records} == {"none", "kill"}
    assert_nothing_is_left(place)


def test_a_pool_of_another_size_than_the_cap_ends_the_trial_and_its_record_says_so(place, tmp_path):
    method = tmp_path / "wide" / "own"
    method.mkdir(parents=True)
    (method / "__init__.py").write_text("")
    (method / "config.py").write_text("from tests.methods.ripple.config import Config\n")
    # Only a trial imports this: after its caps were checked, and before there is a pool.
    (method / "method.py").write_text(
        'import os\n\nos.environ["PJRT_NPROC"] = "3"\nfrom tests.methods.ripple.method import method\n'
    )
    text = TROUBLES.replace("tests.methods.ripple", "wide.own").replace("[none, nan, solver, exception]", "[none]")
    done = place.swell("run", place.write(f"{text}retries: 0\nbudget: {{trials: 1}}\n", "wide"), cwd=tmp_path)
    assert "0 done, 1 failed" in done.err
    (record,) = load_trials(place.paths("wide"))
    assert record.outcome is Outcome.WORKER_LOST
    assert "ThreadCapError: XLA's pool has 3 threads in a worker of 1 CPUs" in record.error


# -- waves, interruptions and kills: always the same table


def test_a_search_runs_in_waves(undisturbed, place):
    done, paths = undisturbed
    assert done.code == 0, done.err
    records = load_trials(paths)
    assert [record.wave for record in records] == [1] * 4 + [2] * 4 + [3] * 4
    waves = load_waves(paths)
    assert [wave["trials"] for wave in waves] == [4, 4, 4]
    started = [("ray_start_s" in wave, wave["driver"]) for wave in waves]
    assert started == [(True, 1), (False, 1), (True, 2)]  # one Ray for two waves, started afresh after eight trials
    assert all(0 < wave["utilisation"] < 1.1 for wave in waves)
    assert waves[0]["began_at"] < waves[0]["ended_at"] < waves[1]["began_at"] < waves[1]["ended_at"]
    assert {record.outcome for record in records} == {Outcome.COMPLETED}
    steps = [entry["step"] for entry in load_history(paths) if entry["trial"] == 5 and "step" in entry]
    assert steps == list(range(EVERY, STEPS + 1, EVERY))
    assert_nothing_is_left(place)


def test_a_killed_driver_is_replaced_a_closed_terminal_saves_and_resume_ends_with_the_same_table(undisturbed, place):
    paths = place.paths("interrupted")
    process = place.start("run", place.write(LONG, "interrupted"))
    wait_for(lambda: in_the_midst(paths, more_than=0), process)
    refused = place.swell("resume", "interrupted")
    assert refused.code == 2
    assert f"is being worked on by process {process.pid} on" in refused.err
    assert "running" in place.swell("status", "interrupted").out
    before = {record.number: record for record in load_trials(paths) if record.outcome}
    (driver,) = [
        pid for pid in place.ours() if b"cluster.driver.main" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    ]
    os.kill(driver, signal.SIGKILL)

    wait_for(lambda: "was ended by SIGKILL" in paths.supervisor_log.read_text(), process)
    since = sum(record.outcome is not None for record in load_trials(paths))
    wait_for(lambda: in_the_midst(paths, more_than=since), process)
    process.send_signal(signal.SIGHUP)
    done = finish(process)
    assert done.code == 130, done.err
    assert "Stopping: every running trial saves" in done.err
    assert "swell resume interrupted" in done.err
    assert "was ended by SIGKILL" in paths.supervisor_log.read_text()
    then = {record.number: record for record in load_trials(paths)}
    assert {number: then[number] for number in before} == before
    stopped = [record for record in then.values() if record.outcome is Outcome.STOPPED]
    assert len(stopped) <= 2  # a trial may just have ended
    assert all(0 < record.step < STEPS and paths.checkpoint(record.number).exists() for record in stopped)
    assert_nothing_is_left(place)
    assert "stopped" in place.swell("status", "interrupted").out

    assert place.swell("stop", "interrupted").code == 2  # nobody works on it
    done = place.swell("resume", "interrupted")
    assert done.code == 0, done.err
    assert results(paths) == results(undisturbed[1])
    after = {record.number: record for record in load_trials(paths)}
    ended = then.keys() - {record.number for record in stopped}
    assert {number: after[number] for number in ended} == {number: then[number] for number in ended}
    assert max(record.attempts for record in after.values()) == 2
    for record in stopped:
        again = [entry["step"] for entry in load_history(paths) if entry["trial"] == record.number and "step" in entry]
        assert again == list(range(EVERY, STEPS + 1, EVERY))
    assert_nothing_is_left(place)


def test_a_search_goes_on_unread_and_its_driver_stops_with_a_killed_supervisor(undisturbed, place):
    paths = place.paths("orphaned")
    process = place.start("run", place.write(LONG, "orphaned"))
    process.stderr.close()
    process.stdout.close()
    while not in_the_midst(paths):
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert "resume" in place.swell("status", "orphaned").out
    done = place.swell("resume", "orphaned")  # at once: it waits for the driver of before
    assert done.code == 0, done.err
    assert results(paths) == results(undisturbed[1])
    assert {record.attempts for record in load_trials(paths)} == {1}  # every trial was saved
    assert_nothing_is_left(place)


# -- a method of the user's own, several objectives, repeats


@pytest.fixture(scope="module")
def front(place, tmp_path_factory):
    folder = tmp_path_factory.mktemp("outside")
    for ours in ("analysis", "cluster", "trainables"):  # the user's own of these names are left alone
        (folder / ours).mkdir()
        (folder / ours / "__init__.py").write_text("raise ImportError('not ours')\n")
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "own_method.py").write_text(FRONT_METHOD.format(noted=str(folder / "noted.jsonl")))
    return place.swell("run", place.write(FRONT, "front"), cwd=folder), place.paths("front"), folder / "noted.jsonl"


def test_a_method_outside_of_the_repository_is_searched_by_its_import_path(front):
    done, paths, _ = front
    assert done.code == 0, done.err
    assert {record.outcome for record in load_trials(paths)} == {Outcome.COMPLETED}


def test_a_search_ends_with_a_report_and_says_where_it_is(front):
    done, paths, _ = front
    assert f"report: {paths.report}" in done.out, paths.report_log.read_text()
    assert "8 completed" in paths.report.read_text(encoding="utf-8")


def test_a_worker_imports_nothing_of_its_drivers_and_is_ready_before_its_method_comes(front):
    for line in front[2].read_text().splitlines():
        noted = json.loads(line)
        heavy = {"pandas", "ray.tune", "ray.data", "ray.train", "optuna", "scipy", "diffrax"}
        assert not heavy & set(noted["modules"])
        assert {"jax", "equinox", "trainables._shared.training", "cluster.worker.ready"} <= set(noted["before"])


def test_rays_node_has_no_agents(front):
    for line in front[2].read_text().splitlines():
        siblings = json.loads(line)["siblings"]
        assert not [command for command in siblings if "/agent" in command or "Agent" in command]
        assert [command for command in siblings if command.startswith("ray::TrialActor")]


def test_repeated_configurations_have_equal_params_and_a_trial_per_seed(front):
    _, paths, _ = front
    records = load_trials(paths)
    assert [record.config["seed"] for record in records] == [3, 5] * 4
    assert [record.configuration for record in records] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert all(first.params == second.params for first, second in zip(records[::2], records[1::2], strict=True))


def test_with_several_objectives_no_trial_is_best(front, place, tmp_path):
    assert place.swell("best", "front").code == 2
    done = place.swell("best", "front", "--trial", "3", "--output", tmp_path / "best")
    assert done.code == 0, done.err
    assert "# Trial 3 of front" in (tmp_path / "best" / "config.yaml").read_text()


def test_a_trial_neither_inherits_anothers_process_state_nor_fails_by_its_values(place, tmp_path):
    (tmp_path / "border").mkdir()
    (tmp_path / "border" / "method.py").write_text(BORDER_METHOD)
    done, paths = place.swell("run", place.write(BORDER, "border"), cwd=tmp_path), place.paths("border")
    assert (done.code, "Traceback" in done.err) == (0, False)
    records = {record.config["do"]: record for record in load_trials(paths)}
    crashed = [record for record in records.values() if record.outcome is not Outcome.COMPLETED]
    assert [record.raised[-1].message for record in crashed] == [
        "trainables._shared.returned.ReturnedError: test_error is None, not a number"
    ]
    # Whichever comes after which: a trial that changes nothing of its own gets the same number.
    plain = [record.metrics for do, record in records.items() if record not in crashed and not do.startswith("jax")]
    assert len(plain) == 3
    assert plain[0] == plain[1] == plain[2]
    (other,) = (record.metrics for do, record in records.items() if do.startswith("jax"))
    assert other != plain[0]
    assert {record.attempts for record in records.values()} == {1}
    assert "begins in another worker: thread left of the user's code" in paths.driver_log(1).read_text()
