"""What a trial costs in the study, by storage and number of drivers: ask, three reports and tell, without training.

    python benchmarks/shared_study.py [--trials 200] [--postgres postgresql://USER@HOST:PORT/DATABASE]

Each line is one search by drivers in processes of their own on this machine. Times are per trial of one driver (what
it waits for its storage) and of all together (what the storage carries), the latter also as a ratio to one writer.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cluster.commands.search import create_search
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from cluster.state.records import load_spec
from cluster.study.study import SearchStudy
from search_spaces.spec import Spec
from trainables._shared.discovery import load_config_type

ROOT = Path(__file__).resolve().parents[1]
SPEC = {
    "name": "shared",
    "trainable": "benchmarks.nothing",
    "objective": {"metric": "val_nothing"},
    "space": {"x": {"low": 0.0, "high": 1.0}},
    "sampler": {"name": "random"},
    "early_stopping": {"name": "asha", "grace_steps": 1000},
}


def drive(root: str, job: int | None) -> None:
    """Work a search through, and print how many trials that were and the seconds they took."""
    paths = SearchPaths(Path(root), job)
    spec = load_spec(paths)
    study = SearchStudy(paths, spec, load_config_type(spec.trainable))
    print("ready", flush=True)
    sys.stdin.readline()
    began, num = time.perf_counter(), 0
    while assignment := study.ask():
        for step in (1, 2, 3):
            study.report(assignment.number, step, {"val_nothing": 1.0})
        study.tell(assignment.number, Outcome.COMPLETED, {"metrics": {"val_nothing": 1.0}, "seconds": 1.0, "step": 3})
        num += 1
    took = time.perf_counter() - began
    study.close()
    print(json.dumps({"trials": num, "seconds": took}))


def measure(storage: str, jobs: Sequence[int | None], trials: int) -> tuple[float, float]:
    """Return the milliseconds of a trial, for one driver and for all together."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SWELL_ROOT"] = folder
        source = Path(folder) / "shared.yaml"
        source.write_text("")
        paths = create_search(Spec.model_validate({**SPEC, "storage": storage, "budget": {"trials": trials}}), source)
        drivers = [
            subprocess.Popen(
                [sys.executable, __file__, "--drive", str(paths.root), *([] if job is None else [str(job)])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            for job in jobs
        ]
        for driver in drivers:
            assert driver.stdout is not None
            assert driver.stdout.readline() == "ready\n"
        began = time.perf_counter()
        said = [json.loads(driver.communicate("go\n")[0]) for driver in drivers]
        took = max(one["seconds"] for one in said) if len(said) == 1 else time.perf_counter() - began
    assert sum(one["trials"] for one in said) == trials
    busy = sum(one["seconds"] for one in said)
    return 1000 * busy / trials, 1000 * took / trials


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--postgres", help="a server to measure too")
    parser.add_argument("--drive", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.drive:
        drive(arguments.drive[0], int(arguments.drive[1]) if len(arguments.drive) > 1 else None)
        return
    table = Table("storage", "drivers", "ms per trial of one", "ms per trial of all", "to one writer", box=None)
    lots: list[tuple[str, str, Sequence[int | None]]] = [("journal, one writer", "journal", [None])]
    for name, storage in (("shared journal", "journal"), ("PostgreSQL", arguments.postgres)):
        if storage:
            lots += [(name, storage, list(range(1, 1 + num))) for num in (1, 2, 4)]
    base = None
    for name, storage, jobs in lots:
        of_one, of_all = measure(storage, jobs, arguments.trials)
        base = base or of_all
        table.add_row(name, str(len(jobs)), f"{of_one:.1f}", f"{of_all:.1f}", f"{of_all / base:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
