"""Whole searches over training data: trials are scored on one task; a search of before that moves it goes on."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from cluster.commands.search import create_search
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from cluster.state.records import load_trials
from search_spaces.spec import load_spec

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
SPEC = """\
name: task
trainable: jacobian_ode
objective: {metric: val_free_running_mse}
base:
  system: van_der_pol
  points_per_period: 50
  hidden: [8]
  traj_init_steps: 5
  sequence_length: 10
  horizon: 5
  test_horizons: [1, 5]
  steps: 10
  report_every: 10
SCORED_ON
space:
  trajectories: [4, 8]
  periods: [1, 2]
sampler: {name: grid}
resources: {cpus: 1}
report: false
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    scratch = Path(tempfile.mkdtemp(prefix="sw", dir="/tmp"))  # Ray's socket paths must be short
    monkeypatch.setenv("SWELL_ROOT", str(tmp_path / "searches"))
    monkeypatch.setenv("SWELL_SCRATCH", str(scratch))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    yield tmp_path
    shutil.rmtree(scratch, ignore_errors=True)


def swell(*arguments):
    command = [sys.executable, "-m", "swell", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=900)


def persistence(place, name):
    """Return by trajectories and periods what the last given sample scores: the data's own, whatever the model."""
    trials = load_trials(SearchPaths(place / "searches" / name))
    assert [trial.outcome for trial in trials] == [Outcome.COMPLETED] * 4
    return {tuple(trial.params.values()): trial.metrics["val_persistence_mse"] for trial in trials}


def test_a_search_over_training_data_is_refused_and_with_a_task_all_are_scored_on_the_same(place):
    spec = place / "task.yaml"
    spec.write_text(SPEC.replace("SCORED_ON\n", ""))
    refused = swell("run", spec)
    assert refused.returncode == 2
    assert f"{spec}:15: space.trajectories = [4, 8]: changes what val_free_running_mse is measured by" in refused.stderr
    assert "base.scored_on" in refused.stderr
    assert not (place / "searches" / "task").exists()

    spec.write_text(SPEC.replace("SCORED_ON", "  scored_on: {trajectories: 6, periods: 2}"))
    done = swell("run", spec)
    assert done.returncode == 0, done.stderr
    scores = persistence(place, "task")
    assert len(scores) == 4
    assert len(set(scores.values())) == 1
    tests = {trial.metrics["test_persistence_mse_5"] for trial in load_trials(SearchPaths(place / "searches" / "task"))}
    assert len(tests) == 1
    again = swell("rerun", "task", "0")
    assert again.returncode == 0, again.stderr
    assert swell("best", "task").returncode == 0


def test_a_search_of_before_that_moves_the_yardstick_goes_on(place):
    source = place / "task.yaml"
    source.write_text(SPEC.replace("SCORED_ON\n", ""))
    paths = create_search(load_spec(source).spec, source, "before")
    spec = json.loads(paths.spec.read_text())
    assert "scored_on" not in spec["base"]
    done = swell("resume", "before")
    assert done.returncode == 0, done.stderr
    assert len(set(persistence(place, "before").values())) > 1
