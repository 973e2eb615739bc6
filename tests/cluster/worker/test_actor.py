"""The actor without Ray around it: it is a class like any other."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cluster.machine.resources import thread_caps, xla_pool_threads
from cluster.state.figures import MEASURED
from cluster.state.outcomes import Outcome
from cluster.wire.heartbeats import HEARTBEATS, IDLE, read_heartbeats
from cluster.worker.actor import TrialActor, WorkerSpentError
from tests.methods.ripple.config import Config
from tests.methods.ripple.method import method
from trainables._shared.checkpoint import read_checkpoint
from trainables._shared.datasets import DatasetStore
from trainables._shared.program import Program
from trainables._shared.saved import load_model
from trainables._shared.training import Training


@pytest.fixture
def trial(tmp_path, monkeypatch):
    """Return a function that makes a task's actor, in a process capped for it."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    if not xla_pool_threads():
        jnp.ones(2).sum().block_until_ready()  # under the caps of the tests
    assert xla_pool_threads() == 1

    def make(cpus=1, trainable="tests.methods.ripple", models=None, **config):
        for name, value in thread_caps(cpus).items():
            monkeypatch.setenv(name, value)
        task = {
            "trial": 3,
            "trainable": trainable,
            "config": Config(**config).model_dump(mode="json"),
            "cpus": cpus,
            "checkpoint": str(tmp_path / "trial.npz"),
            "run_permit": str(tmp_path / "run_permit"),
            "keep": True,
        } | ({"models": models} if models else {})
        return TrialActor({"task": json.dumps(task)})

    (tmp_path / "run_permit").touch()
    (tmp_path / "heartbeats").mkdir()
    monkeypatch.setenv(HEARTBEATS, str(tmp_path / "heartbeats"))
    return SimpleNamespace(
        make=make, checkpoint=tmp_path / "trial.npz", run_permit=tmp_path / "run_permit", folder=tmp_path
    )


def finish(actor):
    """Return the reports of a trial to its end."""
    reports = []
    while not reports or "outcome" not in reports[-1]:
        reports.append(json.loads(actor.train()["report"]))
    return reports


def saved_at_its_first_report(trial, **config):
    trial.run_permit.unlink()
    report = json.loads(trial.make(**config).train()["report"])
    trial.run_permit.touch()
    assert report["saved_step"] == report["step"] == 10


def test_a_trial_goes_on_from_its_checkpoint(trial):
    saved_at_its_first_report(trial)
    reports = finish(trial.make())
    assert [report["step"] for report in reports] == [10, 20, 30]  # its driver may have died before it heard the first
    assert reports[0]["saved_step"] == 10


def models_at(folder, **asked):
    return {
        "every": None,
        "most": 20,
        "on_the_way": f"{folder}/trial-000003-step-{{step:09d}}.npz",
        "last": None,
    } | asked


def steps_in(folder):
    return [int(file.stem[-9:]) for file in sorted(folder.glob("trial-000003-step-*.npz"))]


def test_models_on_the_way_are_those_after_each_multiple_and_the_last_is_of_the_last_step(trial):
    last = trial.folder / "trial-000003-last.npz"
    finish(trial.make(models=models_at(trial.folder, every=15, last=str(last)), steps=40))
    assert steps_in(trial.folder) == [20, 30]  # the first reports at or after 15 and 30; 45 is beyond the end
    state = read_checkpoint(trial.checkpoint).tree("state", Training(*_parts(Config(steps=40))).state)
    assert np.array_equal(load_model(last).model.x, state.params.x)
    on_the_way = load_model(trial.folder / "trial-000003-step-000000020.npz")
    assert not np.array_equal(on_the_way.model.x, state.params.x)
    assert on_the_way.metrics == finish(trial.make(steps=20))[-1]["last"]
    assert last.stat().st_size < trial.checkpoint.stat().st_size


def _parts(config):
    return Program(method, config), config, method.data(config, DatasetStore())


def test_at_most_so_many_models_on_the_way_stay_and_without_being_asked_none(trial):
    finish(trial.make(models=models_at(trial.folder, every=10, most=2), steps=50))
    assert steps_in(trial.folder) == [40, 50]
    assert not (trial.folder / "trial-000003-last.npz").exists()
    trial.checkpoint.unlink()
    for file in trial.folder.glob("trial-000003-*"):
        file.unlink()
    finish(trial.make(steps=50))
    assert list(trial.folder.glob("trial-000003-*")) == []


def test_a_trial_that_goes_on_writes_the_models_that_are_still_due(trial):
    models = models_at(trial.folder, every=10, last=str(trial.folder / "last.npz"))
    trial.run_permit.unlink()
    assert json.loads(trial.make(models=models).train()["report"])["saved_step"] == 10
    trial.run_permit.touch()
    assert steps_in(trial.folder) == [10]
    first = (trial.folder / "trial-000003-step-000000010.npz").stat().st_mtime_ns
    finish(trial.make(models=models))
    assert steps_in(trial.folder) == [10, 20, 30]
    assert (trial.folder / "trial-000003-step-000000010.npz").stat().st_mtime_ns == first


def test_a_training_that_fails_leaves_no_last_model(trial):
    models = models_at(trial.folder, every=1, last=str(trial.folder / "last.npz"))
    reports = finish(trial.make(models=models, trouble="nan"))
    assert reports[-1]["outcome"] == "diverged"
    assert not (trial.folder / "last.npz").exists()


def test_a_trial_starts_from_a_model_and_goes_on_from_its_own_checkpoint(trial):
    start = trial.folder / "start.npz"
    finish(trial.make(steps=20, shift=0.0))
    trial.checkpoint.rename(start)
    random = finish(trial.make())
    trial.checkpoint.unlink()
    trained = finish(trial.make(init_from=str(start)))
    assert trained[0]["metrics"] != random[0]["metrics"]
    trial.checkpoint.unlink()
    saved_at_its_first_report(trial, init_from=str(start))
    start.unlink()
    gone_on = finish(trial.make(init_from=str(start)))
    assert [report["metrics"] for report in gone_on] == [report["metrics"] for report in trained]
    trial.checkpoint.unlink()
    (report,) = finish(trial.make(init_from=str(start)))
    assert report["outcome"] == "crashed"
    assert f"init_from = '{start}': not a readable model file" in report["error"]


@pytest.mark.parametrize("damage", ["torn", "empty", "foreign"])
def test_a_checkpoint_that_cannot_be_used_costs_its_steps_and_not_the_trial(trial, damage, caplog):
    whole = finish(trial.make())
    trial.checkpoint.unlink()
    saved_at_its_first_report(trial, **({"size": 4} if damage == "foreign" else {}))
    if damage != "foreign":
        content = trial.checkpoint.read_bytes()
        trial.checkpoint.write_bytes(content[: len(content) // 2] if damage == "torn" else b"")
    with caplog.at_level(logging.WARNING):
        actor = trial.make()
    assert not trial.checkpoint.exists()
    assert "starting from step 0: " in caplog.text
    assert str(trial.checkpoint) in caplog.text
    reports = finish(actor)
    assert [report["step"] for report in reports] == [10, 20, 30]
    assert (reports[0]["saved_step"], reports[-1]["outcome"]) == (-1, "completed")
    assert reports[-1]["metrics"] == whole[-1]["metrics"]


@pytest.mark.parametrize(
    ("raised", "outcome"),
    [
        ("MemoryError('no room')", Outcome.OUT_OF_MEMORY),
        ("OSError(28, 'No space left on device')", Outcome.DISK_FULL),
        ("ValueError('a bug')", Outcome.CRASHED),
    ],
)
@pytest.mark.parametrize("place", ["data", "score"])
def test_a_machine_too_small_is_not_the_methods_own_failure(trial, monkeypatch, raised, outcome, place):
    package = f"raising_in_{place}"
    (trial.folder / package).mkdir()
    (trial.folder / package / "method.py").write_text(
        "from tests.methods.ripple.method import Config, Ripple\n\n\nclass Raising(Ripple):\n"
        f"    def {place}(self, *_):\n        raise {raised}\n\n\nmethod = Raising()\n"
    )
    monkeypatch.syspath_prepend(trial.folder)
    for name in (package, f"{package}.method"):  # of the other exceptions
        monkeypatch.delitem(sys.modules, name, raising=False)
    last = finish(trial.make(trainable=f"{package}.method"))[-1]
    assert last["outcome"] == outcome.value
    assert last["error"].startswith("Traceback")
    assert raised.split("(")[0] in last["error"].splitlines()[-1]


@pytest.mark.slow
def test_a_pool_of_another_size_than_the_trials_cpus_is_refused_with_both_numbers(trial):
    assert jax.default_backend() == "cpu"
    (last,) = finish(trial.make(cpus=2))
    assert last["outcome"] == "worker_lost"  # the machine's doing: retried, and not held against the configuration
    assert "ThreadCapError: XLA's pool has 1 threads in a worker of 2 CPUs" in last["error"]


def test_a_worker_without_its_caps_is_refused_before_it_imports_anything(trial, monkeypatch):
    actor = trial.make()
    monkeypatch.setenv("PJRT_NPROC", "8")
    actor._begin({"task": json.dumps(actor._task)})
    (last,) = finish(actor)
    assert "ThreadCapError: a worker of 1 CPUs was started without its caps: PJRT_NPROC" in last["error"]


ENDED = """
import json, os, signal, sys
from pathlib import Path
from cluster.worker.actor import TrialActor, WorkerSpentError
from tests.methods.ripple.config import Config

signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as Ray does: an exception in whatever the method is doing
folder = Path(sys.argv[1])
task = {"trial": 0, "trainable": "tests.methods.ripple", "config": Config().model_dump(mode="json"), "cpus": 1}
task |= {"checkpoint": str(folder / "trial.npz"), "run_permit": str(folder), "keep": True}
actor = TrialActor({"task": json.dumps(task)})
actor._training.advance = lambda: os.kill(os.getpid(), signal.SIGTERM)
print(actor.train())
"""


def test_a_worker_that_is_ended_does_not_call_that_its_methods_failure(tmp_path):
    command = [sys.executable, "-c", ENDED, str(tmp_path)]
    environment = {**os.environ, **thread_caps(1), HEARTBEATS: str(tmp_path)}
    root = Path(__file__).parents[3]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stdout) == (128 + signal.SIGTERM, "")  # no report that it had crashed


def test_a_worker_says_which_trial_it_runs_and_that_it_waits(trial):
    actor = trial.make()
    (heartbeat,) = read_heartbeats(trial.folder / "heartbeats")
    assert heartbeat.trial == 3
    os.utime(trial.folder / "heartbeats" / str(os.getpid()), ns=(0, 0))
    actor.train()
    (heartbeat,) = read_heartbeats(trial.folder / "heartbeats")
    assert heartbeat.mtime_ns > 0
    finish(actor)
    assert [heartbeat.trial for heartbeat in read_heartbeats(trial.folder / "heartbeats")] == [IDLE]


def test_every_report_has_all_that_a_worker_measures(trial):
    first = json.loads(trial.make().train()["report"])
    assert set(first) == {*MEASURED, "saved_step", "metrics"}
    assert first["step"] == 10
    assert first["xla_threads"] == 1
    assert min(first[name] for name in ("seconds", "cpu_seconds", "compile_seconds", "peak_memory_mb")) > 0


def test_numbers_of_numpy_are_numbers(trial, monkeypatch):
    from tests.methods.ripple.method import Ripple
    from trainables._shared.contract import TestResult

    def score(self, config, tests, prediction):
        return {"plain": TestResult({"test_error": prediction["error"].mean()}, {"error": prediction["error"]})}

    monkeypatch.setattr(Ripple, "score", score)
    last = finish(trial.make())[-1]
    assert last["outcome"] == "completed"
    assert isinstance(last["metrics"]["test_error"], float)
    assert len(last["tests"]["plain"]["error"]) == 3


def test_a_test_metric_does_not_replace_what_was_selected_by(trial, monkeypatch):
    from tests.methods.ripple.method import Ripple
    from trainables._shared.contract import TestResult

    monkeypatch.setattr(Ripple, "score", lambda *_: {"plain": TestResult({"val_error": -99.0}, {})})
    last = finish(trial.make())[-1]
    assert last["metrics"]["val_error"] > 0


def test_a_method_that_exits_has_crashed_and_its_worker_lives(trial, monkeypatch):
    from tests.methods.ripple.method import Ripple

    monkeypatch.setattr(Ripple, "data", lambda *_: sys.exit(3))
    last = finish(trial.make())[-1]
    assert last["outcome"] == "crashed"
    assert "SystemExit: 3" in last["error"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "test_error is None, not a number"),
        (np.array([1.0]), "test_error is an array of shape (1,) and type float64, not a number"),
        ("1.0", "test_error is the text '1.0', not a number"),
        pytest.param(
            10**400, "test_error is a whole number of about 401 digits, which is too large for a number", id="digits"
        ),
    ],
)
def test_a_value_that_is_no_number_has_crashed_with_one_message_and_its_worker_goes_on(trial, monkeypatch, value, said):
    from tests.methods.ripple.method import Ripple
    from trainables._shared.contract import TestResult

    actor = trial.make()
    with monkeypatch.context() as patched:
        patched.setattr(Ripple, "score", lambda *_: {"plain": TestResult({"test_error": value}, {})})
        last = finish(actor)[-1]
    assert last["outcome"] == "crashed"
    assert last["error"].splitlines()[-1] == f"trainables._shared.returned.ReturnedError: {said}"
    assert last["raised"][-1]["message"].endswith(said)
    assert last["raised"][-1]["frames"][-1][2] == "number"
    actor.reset({"task": json.dumps(actor._task)})
    assert finish(actor)[-1]["outcome"] == "completed"


def test_an_objective_that_was_not_measured_has_crashed(trial):
    actor = trial.make()
    actor._task["objectives"] = ["test_rmse"]
    last = finish(actor)[-1]
    assert last["outcome"] == "crashed"
    assert "test_rmse, the objective, was not measured; measured were test_error, " in last["error"]


def test_a_report_too_large_for_the_driver_has_crashed(trial, monkeypatch):
    from tests.methods.ripple.method import Ripple
    from trainables._shared.contract import TestResult

    table = {"error": np.zeros(5 * 10**6)}
    monkeypatch.setattr(Ripple, "score", lambda *_: {"far": TestResult({"test_error": 1.0}, table)})
    last = finish(trial.make())[-1]
    assert (last["outcome"], "tests" in last) == ("crashed", False)
    assert "its last report comes to 25 MB, the test table of far alone 25 MB; at most 20 MB" in last["error"]


class MuteError(BaseException):
    """What a user may raise."""

    def __str__(self):
        raise ValueError("no words")


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), GeneratorExit(), MuteError(), ValueError("x" * 10**7)])
def test_whatever_a_method_raises_has_crashed_and_is_recorded_within_bounds(trial, monkeypatch, raised):
    from tests.methods.ripple.method import Ripple

    def data(*_):
        raise raised

    monkeypatch.setattr(Ripple, "data", data)
    report = trial.make().train()["report"]
    last = json.loads(report)
    assert last["outcome"] == "crashed"
    assert type(raised).__name__ in last["error"]
    assert last["raised"][-1]["frames"][-1][2] == "data"
    assert len(report) < 50_000


def again(actor):
    """Give an actor its trial once more, as a new one, and return its last report."""
    Path(actor._task["checkpoint"]).unlink(missing_ok=True)
    assert actor.reset({"task": json.dumps(actor._task)})
    return finish(actor)[-1]


def test_a_trial_gets_the_numbers_that_it_gets_alone_whatever_the_one_before_it_has_set(trial, monkeypatch):
    from tests.methods.ripple.method import Ripple

    actor = trial.make()
    alone = finish(actor)[-1]["metrics"]
    data = Ripple.data

    def changing(*args):
        jax.config.update("jax_enable_x64", True)
        np.seterr(all="raise")
        return data(*args)

    with monkeypatch.context() as patched:
        patched.setattr(Ripple, "data", changing)
        other = again(actor)["metrics"]
    assert other != alone  # of another precision
    assert again(actor)["metrics"] == alone
    assert not jax.config.jax_enable_x64


def test_global_random_numbers_are_the_trials_own(trial, monkeypatch):
    from tests.methods.ripple.method import Ripple

    drawn, data = [], Ripple.data

    def drawing(*args):
        drawn.append(np.random.random())
        return data(*args)

    monkeypatch.setattr(Ripple, "data", drawing)
    actor = trial.make(seed=7)
    again(actor)
    trial.make(seed=8)
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_worker_that_cannot_be_put_back_as_it_was_hands_the_next_trial_back_and_ends(trial, monkeypatch):
    from tests.methods.ripple.method import Ripple

    data, over = Ripple.data, threading.Event()

    def leaving(*args):
        threading.Thread(target=lambda: over.wait(), name="left").start()
        return data(*args)

    with monkeypatch.context() as patched:
        patched.setattr(Ripple, "data", leaving)
        actor = trial.make()
    try:
        finish(actor)
        assert actor.reset({"task": json.dumps(actor._task)})
        first = actor.train()
        report = json.loads(first["report"])
        assert (first["done"], report["worker_spent"]) == (False, "thread left of the user's code still runs in it")
        assert report["step"] == 0
        with pytest.raises(WorkerSpentError, match="thread left"):
            actor.train()
    finally:
        over.set()
