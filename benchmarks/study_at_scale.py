"""Measures what the study costs a driver after many trials: CPU time to open it and per trial, and memory.

    python -m benchmarks.large_search FOLDER --trials 10000 --reports 3
    python -m benchmarks.study_at_scale FOLDER [--trials 60] [--sampler random tpe] [--stopping none asha hyperband]

Each row is a driver of its own on a copy of the folder's journal, with another sampler and early stopping, neither Ray
nor waiting for the disk.
"""

import argparse
import multiprocessing
import os
import shutil
import tempfile
import time
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.nothing.config import Config
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from cluster.state.records import load_spec
from cluster.study.study import SearchStudy
from search_spaces.spec import Spec

MB = 2**20


def measure(folder: Path, sampler: str, stopping: str, trials: int) -> list[str]:
    """Return a row: a driver goes on with a copy of a search for so many trials."""
    before = load_spec(SearchPaths(folder)).model_dump(mode="json", exclude_unset=True)
    early = {"name": stopping} if stopping == "none" else {"name": stopping, "grace_steps": 1, "reduction": 3}
    new = {"sampler": {"name": sampler}, "early_stopping": early, "repeats": None, "budget": {"trials": 10**6}}
    spec = Spec.model_validate(before | new)
    os.fsync = lambda fd: None
    with tempfile.TemporaryDirectory() as root:
        for name in ("study.journal", "inputs.json"):
            shutil.copy(folder / name, root)
        began_mb, began = psutil.Process().memory_info().rss / MB, time.process_time()
        study = SearchStudy(SearchPaths(Path(root)), spec, Config)
        opened_s, num_before = time.process_time() - began, len(study.records())
        taken = {"ask": 0.0, "report": 0.0, "tell": 0.0}

        def timed(verb: str, began: float) -> None:
            taken[verb] += time.process_time() - began

        # The first trial takes in what the others need not look at again.
        for number in range(-1, trials):
            if not number:
                taken = dict.fromkeys(taken, 0.0)
            began = time.process_time()
            assigned = study.ask()
            timed("ask", began)
            assert assigned is not None
            began, goes_on = time.process_time(), True
            value = 0.1 + 0.5 * assigned.config["x"]
            for step in (1, 2, 3):
                goes_on = goes_on and study.report(assigned.number, step, {"val_nothing": value}, float(step))
            timed("report", began)
            outcome = Outcome.COMPLETED if goes_on else Outcome.PRUNED
            began = time.process_time()
            study.tell(assigned.number, outcome, {"metrics": {"val_nothing": value}, "seconds": 3.0, "step": 3})
            timed("tell", began)
        grown_mb = psutil.Process().memory_info().rss / MB - began_mb
        study.close()
    each = [f"{1000 * seconds / trials:.1f}" for seconds in (*taken.values(), sum(taken.values()))]
    return [str(num_before), sampler, stopping, f"{opened_s:.2f}", *each, f"{grown_mb:.0f}"]


def main() -> None:
    """Print a row for each folder, sampler and early stopping."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--sampler", nargs="+", default=["random", "tpe"])
    parser.add_argument("--stopping", nargs="+", default=["none", "asha", "hyperband"])
    options = parser.parse_args()
    heads = ["trials before", "sampler", "early stopping", "s to open", "ask ms", "3 reports ms", "tell ms", "all ms"]
    table = Table(*heads, "MB more", box=None)
    rows = [(f, s, e, options.trials) for f in options.folders for s in options.sampler for e in options.stopping]
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for row in pool.starmap(measure, rows, chunksize=1):
            table.add_row(*row)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
