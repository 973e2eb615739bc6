"""Makes a large search directory in a minute or two: what it shows depends on its arguments alone, nothing is trained.

    python -m benchmarks.large_search FOLDER [--trials 6000] [--reports 30] [--seeds 3] [--grace 3] [--test-orbits 0]

The study, its journal and the histories are written by the search's own code, only without waiting for the disk after
each line. The results have known causes: val_nothing has its optimum at a learning rate of 0.003, falls with x, is 0.05
lower with a cosine schedule, rises by 0.02 with a weight decay only if the schedule is constant, and has noise of 0.01
between configurations and of 0.02 between seeds; batch_size changes nothing. Two trials in a hundred crash, one
diverges.
"""

import argparse
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from benchmarks.nothing.config import Config
from cluster.commands.search import create_search
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from cluster.study.study import Assignment, SearchStudy
from search_spaces.spec import Spec

TRIALS_PER_WAVE = 500
SLOTS = 16


def large_spec(name: str, trials: int, seeds: int, grace: int) -> Spec:
    """Return the spec; `grace` is the first step at which early stopping decides."""
    space = {
        "x": {"low": 0.0, "high": 1.0},
        "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
        "schedule": ["constant", "cosine", "linear"],
        "weight_decay": [0.0, 1e-4, 1e-2],
        "batch_size": {"low": 32, "high": 512, "step": 32, "type": "int"},
    }
    values = {
        "name": name,
        "trainable": "benchmarks.nothing",
        "objective": {"metric": "val_nothing"},
        "space": space,
        "sampler": {"name": "random", "seed": 0},
        "early_stopping": {"name": "asha", "grace_steps": grace, "reduction": 3},
        "repeats": {"seeds": list(range(seeds))} if seeds > 1 else None,
        "budget": {"trials": trials},
        "keep_going": True,
    }
    return Spec.model_validate(values)


def reports(config: dict[str, Any], reports: int, rng: np.random.Generator, offset: float) -> Iterator[dict[str, Any]]:
    """Yield what a trial measures at each of its steps, with noise of its own around what its configuration gives."""
    is_constant = config["schedule"] == "constant"
    value = 0.2 + offset + 0.1 * math.log10(config["learning_rate"] / 3e-3) ** 2 - 0.05 * config["x"]
    value += -0.05 * (config["schedule"] == "cosine") + 0.02 * (is_constant and config["weight_decay"] > 0)
    value += rng.normal(0.0, 0.02)
    for step in range(1, reports + 1):
        now = value + 0.8 * math.exp(-4.0 * step / reports) + rng.normal(0.0, 0.002)
        metrics = {"train_loss": now**2, "val_nothing": now, "skipped_steps": 0.0, "recoveries": 0.0}
        yield {name: float(number) for name, number in metrics.items()}


class Writer:
    """Works a search through: its waves, its reports and its endings, at times that are made up."""

    def __init__(self, paths: SearchPaths, spec: Spec, num_reports: int, test_orbits: int) -> None:
        self._paths, self._num_reports, self._test_orbits = paths, num_reports, test_orbits
        self._num_seeds = len(spec.seeds)
        self._study = SearchStudy(paths, spec, Config)
        self._slot_s = 0.0

    def write(self) -> None:
        """Write the whole search, one wave after the other."""
        wave = 1
        while assigned := self._study.ask():
            began, num = self._slot_s, 0
            with self._paths.history(wave).open("w") as history:
                while assigned is not None:
                    self._trial(assigned, history, wave)
                    num += 1
                    assigned = self._study.ask() if num < TRIALS_PER_WAVE else None
            trials_s = (self._slot_s - began) / SLOTS
            figures = {"wave": wave, "trials": num, "trials_s": trials_s, "slots": SLOTS, "utilisation": 0.95}
            times = {"began_at": 1.7e9 + began / SLOTS, "ended_at": 1.7e9 + self._slot_s / SLOTS, "tail_s": 1.0}
            self._study.add_wave({**figures, **times})
            wave += 1
        self._study.close()

    def _trial(self, assigned: Assignment, history: TextIO, wave: int) -> None:
        number = assigned.number
        rng = np.random.default_rng((7, number))
        offset = np.random.default_rng((5, number // self._num_seeds)).normal(0.0, 0.01)
        pace_s, fate = rng.uniform(0.5, 1.5), rng.random()
        fails_at = rng.integers(1, self._num_reports + 1) if fate < 0.03 else None
        outcome, step, metrics = Outcome.COMPLETED, 0, {}
        for step, metrics in enumerate(reports(assigned.config, self._num_reports, rng, offset), start=1):
            if step == fails_at:
                outcome = Outcome.CRASHED if fate < 0.02 else Outcome.DIVERGED
                break
            entry = {"trial": number, "step": step, "seconds": round(step * pace_s, 3), "metrics": metrics}
            history.write(json.dumps(entry) + "\n")
            if not self._study.report(number, step, metrics, step * pace_s) and step < self._num_reports:
                outcome = Outcome.PRUNED
                break
        if outcome is Outcome.COMPLETED and self._test_orbits:
            errors = (metrics["val_nothing"] * rng.lognormal(0.0, 0.5, self._test_orbits)).tolist()
            history.write(json.dumps({"trial": number, "tests": {"orbits": {"error": errors}}}) + "\n")
        used = {"step": step, "seconds": step * pace_s, "cpu_seconds": 0.9 * step * pace_s, "compile_seconds": 0.4}
        used |= {"peak_memory_mb": 400.0 + 100.0 * rng.random(), "xla_threads": 1, "host": f"node{number % 4}"}
        error = {"error": f"ValueError: bad batch in step {step}"} if outcome is Outcome.CRASHED else {}
        self._slot_s += used["seconds"]
        self._study.tell(number, outcome, {**used, **error, "metrics": metrics, "wave": wave})


def make_large(root: Path, trials: int, num_reports: int, seeds: int, grace: int, test_orbits: int = 0) -> SearchPaths:
    """Make the search directory `root`, which must not exist, and return its paths."""
    spec = large_spec(root.name, trials, seeds, grace)
    os.environ["SWELL_ROOT"] = str(root.parent)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as source:
        source.write(f"# made by benchmarks/large_search.py\nname: {root.name}\n")
        source.flush()
        paths = create_search(spec, Path(source.name))
    fsync, os.fsync = os.fsync, lambda _: None  # a million lines; nothing here has to outlive a crash
    try:
        Writer(paths, spec, num_reports, test_orbits).write()
    except BaseException:
        shutil.rmtree(paths.root, ignore_errors=True)
        raise
    finally:
        os.fsync = fsync
    return paths


def main() -> None:
    """Make the search that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, default=6000)
    parser.add_argument("--reports", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each configuration; 1 for no repeats")
    parser.add_argument("--grace", type=int, help="first rung; by default the last report, so that nothing is pruned")
    parser.add_argument("--test-orbits", type=int, default=0, help="length of a table of tests for each trial")
    options = parser.parse_args()
    if options.folder.exists():
        parser.error(f"{options.folder} exists")
    grace = options.grace or options.reports
    print(make_large(options.folder, options.trials, options.reports, options.seeds, grace, options.test_orbits).root)


if __name__ == "__main__":
    main()
