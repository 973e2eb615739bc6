"""Whether a search whose trials leave much behind lives on a small scratch, and what it costs.

    python benchmarks/small_scratch.py --trials 2000 --scratch-gb 2

Every trial writes 20 MiB to TMPDIR, puts 50 MiB into Ray's object store, and stages a W&B artifact offline. As root the
scratch is a file system of its own (tmpfs); otherwise a folder, bounded by the guard's `max_scratch_gb` alone.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cluster.machine.disks import used_bytes
from cluster.state.guarding import load_guard_events
from cluster.state.paths import SearchPaths
from cluster.state.records import load_trials, load_waves

ROOT = Path(__file__).resolve().parents[1]
SPEC = """\
name: hoard
trainable: benchmarks.hoard
objective: {{metric: val_nothing, mode: min}}
base: {{artifact_kb: {artifact_kb}}}
space:
  x: {{low: 0.0, high: 1.0}}
sampler: {{name: random, seed: 0}}
report: false
budget: {{trials: {trials}}}
resources: {{cpus: {cpus}}}
keep: {{checkpoints: none}}
guard: {{max_scratch_gb: {most_gb}}}
"""


@contextlib.contextmanager
def small_file_system(size_gb: float) -> Iterator[Path]:
    """Mount a tmpfs of that size, where we may."""
    with tempfile.TemporaryDirectory(prefix="sc") as folder:
        is_root = os.geteuid() == 0
        if is_root:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={int(size_gb * 1e9)}", "none", folder], check=True)
        try:
            yield Path(folder)
        finally:
            if is_root:
                subprocess.run(["umount", folder], check=True)


def run(trials: int, scratch_gb: float, cpus: int, artifact_kb: int) -> dict[str, float]:
    """Run the search and return its figures."""
    with tempfile.TemporaryDirectory(prefix="hoard") as folder, small_file_system(scratch_gb) as scratch:
        root = Path(folder)
        spec = root / "hoard.yaml"
        most_gb = scratch_gb / 2
        spec.write_text(SPEC.format(trials=trials, cpus=cpus, most_gb=most_gb, artifact_kb=artifact_kb))
        environment = {**os.environ, "SWELL_ROOT": str(root / "searches"), "SWELL_CACHE": str(root / "cache")}
        environment |= {"SWELL_SCRATCH": str(scratch), "PYTHONPATH": str(ROOT)}
        start, peak = time.monotonic(), 0
        with (root / "output").open("w") as output:
            command = [sys.executable, "-m", "swell", "run", str(spec)]
            process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=output, stderr=output)
            while process.poll() is None:
                peak = max(peak, used_bytes(scratch))
                time.sleep(0.5)
        elapsed_s = time.monotonic() - start
        if process.returncode:
            sys.exit((root / "output").read_text())
        return {
            "elapsed_s": elapsed_s,
            "peak_gb": peak / 1e9,
            **figures(SearchPaths(root / "searches" / "hoard"), scratch),
        }


def figures(paths: SearchPaths, scratch: Path) -> dict[str, float]:
    """Return what a finished search left, and what was freed on its way."""
    records, waves = load_trials(paths), load_waves(paths)
    cleaned = [event for event in load_guard_events(paths) if event["what"] == "cleaned"]
    freed = sum(event["freed_bytes"] for event in cleaned) + 1e6 * sum(wave["freed_mb"] for wave in waves)
    return {
        "completed": sum(record.outcome is not None and record.outcome.value == "completed" for record in records),
        "attempts": sum(record.attempts for record in records),
        "waves": len(waves),
        "rays": len(cleaned),
        "freed_gb": freed / 1e9,
        "scratch_files": sum(1 for _ in scratch.rglob("*")),
        "runs": sum(1 for _ in paths.spool.rglob("*.wandb")),
        "spool_mb": used_bytes(paths.spool) / 1e6,
    }


def main() -> None:
    """Print one row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--scratch-gb", type=float, default=2.0)
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--artifact-kb", type=int, default=16, help="0 leaves W&B out")
    arguments = parser.parse_args()
    found = run(arguments.trials, arguments.scratch_gb, arguments.cpus, arguments.artifact_kb)
    print(json.dumps(found), file=sys.stderr)
    table = Table(*found, box=None)
    table.add_row(*(f"{value:.4g}" for value in found.values()))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
