"""What a search costs besides its trials: seconds, files and memory, at several numbers of trials.

    python benchmarks/overhead.py --trials 100 1000 3000 [--sampler random] [--asha]

Each number is one search of a method that does nothing and reports three times, on one slot. Wave boundaries (the time
between the last trial of a wave and the first of the next) are reported apart.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from cluster.state.notes import RESULT
from cluster.state.paths import SearchPaths
from cluster.state.records import load_waves, open_study

ROOT = Path(__file__).resolve().parents[1]
SPEC = """\
name: overhead
trainable: benchmarks.nothing
objective: {{metric: val_nothing, mode: min}}
space:
  x: {{low: 0.0, high: 1.0}}
sampler: {{name: {sampler}, seed: 0}}
report: false
early_stopping: {{name: {stopping}, grace_steps: 1, reduction: 3}}
budget: {{trials: {trials}}}
resources: {{cpus: 1}}
keep: {{checkpoints: {keep}}}
"""


def memory_mb(process: psutil.Process, module: str) -> float:
    """Return the resident memory of a process or its descendant that runs a module."""
    for candidate in [process, *process.children(recursive=True)]:
        try:
            if module in " ".join(candidate.cmdline()[:4]):
                return candidate.memory_info().rss / 2**20
        except psutil.Error:
            continue
    return 0.0


def run(trials: int, sampler: str, stopping: str, keep: str) -> dict[str, float]:
    """Run one search and return its figures."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        spec = root / "overhead.yaml"
        spec.write_text(SPEC.format(trials=trials, sampler=sampler, stopping=stopping, keep=keep))
        environment = {**os.environ, "SWELL_ROOT": str(root / "searches"), "SWELL_CACHE": str(root / "cache")}
        environment["PYTHONPATH"] = str(ROOT)
        start = time.monotonic()
        with (root / "output").open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "swell", "run", str(spec)],
                env=environment,
                cwd=ROOT,
                stdout=output,
                stderr=output,
            )
            watched = psutil.Process(process.pid)
            memory: dict[str, list[float]] = {"swell": [], "cluster.driver.main": []}
            while process.poll() is None:
                for module, seen in memory.items():
                    seen.append(memory_mb(watched, module))
                time.sleep(0.5)
        elapsed = time.monotonic() - start
        if process.returncode:
            sys.exit((root / "output").read_text())
        return {
            "trials": trials,
            "elapsed_s": elapsed,
            **figures(root / "searches" / "overhead", trials),
            # The driver's largest; the supervisor's median, since the same process prints the table at the end.
            "driver_mb": max(memory["cluster.driver.main"]),
            "supervisor_mb": statistics.median(memory["swell"]),
        }


def figures(search: Path, trials: int) -> dict[str, float]:
    """Return a finished search's cost per trial and files per trial.

    The cost is the median time from one trial's end to the next one's within a wave, all included: asking, starting,
    three reports through Ray and Tune, the actor's own work, telling. The first trial's compilation is not in it.
    """
    paths = SearchPaths(search)
    waves = load_waves(paths)
    ends: dict[int, list[float]] = {}
    with open_study(paths) as study:
        assert study is not None
        storage, study_id = study
        trials_ended = storage.get_all_trials(study_id, deepcopy=False)
    for trial in trials_ended:
        assert trial.datetime_complete is not None
        ends.setdefault(RESULT.of(trial)["wave"], []).append(trial.datetime_complete.timestamp())
    gaps = [b - a for wave in ends.values() for a, b in itertools.pairwise(sorted(wave))]
    files = sum(1 for path in search.rglob("*") if path.is_file())
    return {
        "waves": len(waves),
        "ms_per_trial": 1000 * statistics.median(gaps),
        "ms_last_100": 1000 * statistics.median(gaps[-100:]),
        "trials_s": sum(wave["trials_s"] for wave in waves),
        "files_per_trial": files / trials,
        "journal_kb_per_trial": paths.journal.stat().st_size / 1024 / trials,
    }


def main() -> None:
    """Print a table, a row for each number of trials."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000, 3000])
    parser.add_argument("--sampler", default="random")
    parser.add_argument("--keep", default="best", choices=["best", "all", "none"])
    parser.add_argument("--asha", action="store_true")
    arguments = parser.parse_args()
    columns = {
        "trials": lambda r: f"{r['trials']}",
        "ms per trial": lambda r: f"{r['ms_per_trial']:.1f}",
        "of the last 100": lambda r: f"{r['ms_last_100']:.1f}",
        "waves": lambda r: f"{r['waves']}",
        "s per boundary": lambda r: f"{(r['elapsed_s'] - r['trials_s']) / r['waves']:.1f}",
        "files per trial": lambda r: f"{r['files_per_trial']:.2f}",
        "journal kB per trial": lambda r: f"{r['journal_kb_per_trial']:.2f}",
        "driver MB": lambda r: f"{r['driver_mb']:.0f}",
        "supervisor MB": lambda r: f"{r['supervisor_mb']:.0f}",
    }
    table = Table(*columns, box=None)
    for trials in arguments.trials:
        result = run(trials, arguments.sampler, "asha" if arguments.asha else "none", arguments.keep)
        print(json.dumps(result), file=sys.stderr, flush=True)
        table.add_row(*(show(result) for show in columns.values()))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
