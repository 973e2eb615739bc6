"""What the tests of `swell rerun` share: recorded trials, and reruns of them in this process or in one of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from cluster.commands.rerun import rerun_command
from cluster.commands.rerun_worker import Rerun
from cluster.console import Console
from cluster.state.outcomes import Outcome, outcome_of
from cluster.state.records import load_history
from tests.methods.ripple.method import Config, method
from trainables._shared.datasets import DatasetStore
from trainables._shared.program import Program
from trainables._shared.training import Training

ROOT = Path(__file__).parents[1]
TRACEBACK = "Traceback (most recent call last):"
WATCHED = """\
import sys
from pathlib import Path
from cluster.console import Console
from cluster.state.paths import SearchPaths
from cluster.commands.rerun import rerun_command
sys.exit(rerun_command(SearchPaths(Path(sys.argv[1])), int(sys.argv[2]), here="--here" in sys.argv, console=Console()))
"""
OWN = """\
import {imports}
from tests.methods.ripple.method import Config, Ripple


class Own(Ripple):
    def data(self, config, store):
        {line}
        return super().data(config, store)


method = Own()
"""


def train(config, most=10**6):
    """Train ripple as an actor does, at most so many reports; return the outcome, the reports and the result."""
    reports = []
    try:
        training = Training(Program(method, config), config, method.data(config, DatasetStore()))
        while len(reports) < most:
            report = training.advance()
            reports.append((report.step, report.metrics))
            if report.ending == "completed":
                measured = training.test()["plain"].metrics
                metrics = {**measured, **training.best.metrics, "best_step": training.best.step}
                return Outcome.COMPLETED, reports, {"metrics": metrics, "step": report.step}
            if report.ending:
                break
    except RuntimeError as error:
        import traceback

        # A wave writes the last report of a crashed trial too, which has no metrics.
        return outcome_of(error), [*reports, (0, {})], {"metrics": {}, "step": 0, "error": traceback.format_exc()}
    outcome = Outcome(report.ending) if report.ending else Outcome.PRUNED
    return outcome, reports, {"metrics": report.metrics, "step": report.step}


@pytest.fixture
def recorded(make_search):
    """Return a function that makes a search whose one trial has been trained and recorded."""

    def make(most=10**6, outcome=None, tell=True, spec=(), **config):
        values = {"shift": 0.7, "learning_rate": 0.1, "trouble": "none"} | config
        first, *others = values
        base = {name: values[name] for name in others}
        search = make_search(
            **({"base": base, "space": {first: [values[first]]}, "budget": {"trials": 1}} | dict(spec))
        )
        study = search.open()
        number = study.ask().number
        if config.get("trouble") == "kill":
            ended, reports, found = Outcome.WORKER_LOST, [], {"metrics": {}, "step": 0}
        else:
            ended, reports, found = train(Config(**values), most)
        write_history(search.paths, [(number, step, metrics) for step, metrics in reports])
        if tell:
            study.tell(number, outcome or ended, {"seconds": 1.0, **found})
        return search.paths

    return make


def write_history(paths, reports):
    lines = [{"trial": trial, "step": step, "seconds": 1.0, "metrics": metrics} for trial, step, metrics in reports]
    paths.history(1).write_text("".join(json.dumps(line) + "\n" for line in lines))


def change_history(paths, change):
    """Change every report of a search."""
    entries = list(load_history(paths))
    for entry in entries:
        change(entry)
    write_history(paths, [(entry["trial"], entry["step"], entry["metrics"]) for entry in entries])


def content(folder):
    return {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.rglob("*") if file.is_file()}


def printed(code, captured):
    return SimpleNamespace(code=code, lines=captured.out.splitlines(), out=captured.out, err=captured.err)


def in_this_process(request, environment):
    """Run the worker as its process does, without the seconds of the imports."""
    try:
        return Rerun(json.loads(json.dumps(request))).run()
    except Exception:
        sys.excepthook(*sys.exc_info())
        return 1


@pytest.fixture
def rerun(capfd):
    """Return a function that reruns a trial here, in a process of its own, and returns what it printed."""

    def run(paths):
        code = rerun_command(paths, 0, here=True, console=Console(width=80))
        return printed(code, capfd.readouterr())

    return run


@pytest.fixture
def quick_rerun(monkeypatch, rerun):
    """Return a function that does so in this process."""
    monkeypatch.setattr("cluster.commands.rerun._run_worker", in_this_process)
    return rerun


@pytest.fixture
def own_method(tmp_path):
    """Return a function that writes a user's method, in a folder of its own, with a line that its data runs."""

    def write(line, imports="os", package="lab_ours"):
        folder = tmp_path / "lab"
        own = folder / package / "own"
        own.mkdir(parents=True)
        (own / "method.py").write_text(OWN.format(line=line, imports=imports))
        (own / "config.py").write_text("from tests.methods.ripple.config import Config\n")
        return folder

    return write


@pytest.fixture
def watched():
    """Return a function that starts a rerun in a process group of its own, as a shell does."""

    def watch(paths):
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", WATCHED, str(paths.root), "0", "--here"],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    started = []
    yield watch
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def table(done):
    """Return the printed metrics: name to the words behind it."""
    start = next(index for index, line in enumerate(done.lines) if line.startswith("metrics "))
    return {line.split()[0]: line.split()[1:] for line in done.lines[start:]}
