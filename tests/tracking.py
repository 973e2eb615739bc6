"""Tracked searches for the tests, without Ray: waves whose trials report and end as they are told."""

import json
import os
import subprocess
import sys
from pathlib import Path

from cluster.installation import own_folder
from cluster.tracking.offline_file import read_records
from cluster.tracking.spool import Spool

USAGE = {"cpu_seconds": 3.5, "compile_seconds": 0.5, "peak_memory_mb": 120.0, "xla_threads": 1, "host": "node7"}


def say(wave, number, step, seconds, **metrics):
    """Let a trial report."""
    return wave.report(number, {**USAGE, "step": step, "seconds": seconds, "saved_step": -1, "metrics": metrics})


def end(wave, number, step, seconds, outcome="completed", **result):
    """Let a trial end."""
    wave.end(number, {**USAGE, "step": step, "seconds": seconds, "outcome": outcome, **result})


def run_trials(search, num, number=1, study=None):
    """Run some trials of a search that complete, with two reports each, in one wave; return their numbers."""
    study = study or search.open()
    wave = search.wave(study, number)
    numbers = []
    for _ in range(num):
        trial = wave.next()["number"]
        say(wave, trial, 10, 1.0, val_error=0.5, train_loss=2.0)
        say(wave, trial, 20, 2.0, val_error=0.25, train_loss=1.0)
        best = {"val_error": 0.25, "test_error": 0.125 + trial, "best_step": 20}
        end(wave, trial, 30, 3.0, metrics=best, last={"val_error": 0.75, "train_loss": 0.5})
        numbers.append(trial)
    wave.close()
    return numbers


def environment(tmp_path, **more):
    """Return an environment with a home and a scratch of the test's own."""
    for name in ("home", "cwd", "s"):
        (tmp_path / name).mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "XDG_"))}
    own = {"HOME": str(tmp_path / "home"), "SWELL_SCRATCH": str(tmp_path / "s"), "PYTHONPATH": str(own_folder())}
    return {**kept, **own, **more}


def start_tracker(search, tmp_path, more=None, **options):
    """Start a tracker in its own process, with W&B's folders in the test's, as the supervisor does.

    `more` goes into its environment, `options` to Popen.
    """
    spool, place = Spool(search.paths), tmp_path / "w"
    wandb = {"WANDB_DIR": spool.root, "WANDB_DATA_DIR": spool.staging, "WANDB_ERROR_REPORTING": "false"}
    wandb |= {f"WANDB_{name}_DIR": place / name for name in ("CACHE", "CONFIG", "ARTIFACT")}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "cluster.tracking.tracker", str(search.paths.root)],
        env=environment(tmp_path, **{name: str(value) for name, value in wandb.items()}, **(more or {})),
        cwd=tmp_path / "cwd",
        stdin=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **{"stdout": subprocess.PIPE, **options},
    )


def track(search, tmp_path):
    """Let a tracker write everything there is, and return what it said."""
    tracker = start_tracker(search, tmp_path)
    said, _ = tracker.communicate(timeout=600)
    assert tracker.returncode == 0, said.decode()
    return said.decode()


def files(search):
    """Return the file of every run in the spool by its trial."""
    found = sorted(Spool(search.paths).runs.glob("*run-*/*.wandb"))
    return {int(file.stem.rpartition("-")[2]): file for file in found}


def content(file: Path):
    """Return what a run's file says: `run`, `config`, `history` by step, `summary`, `exit_code`."""
    said = {"history": {}, "summary": {}, "metrics": []}
    for record in read_records(file):
        match record.WhichOneof("record_type"):
            case "run":
                said["run"] = record.run
                said["config"] = {item.key: json.loads(item.value_json) for item in record.run.config.update}
            case "history":
                step = {item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
                said["history"][step.pop("_step")] = {k: v for k, v in step.items() if not k.startswith("_")}
            case "summary":
                for item in record.summary.update:
                    key = item.key or item.nested_key[0]
                    if not key.startswith("_"):
                        said["summary"][key] = json.loads(item.value_json)
            case "metric":
                said["metrics"].append(record.metric)
            case "exit":
                said["exit_code"] = record.exit.exit_code
    return said
