"""What the boundary of a wave costs: seconds from the end of its last trial to the start of the next wave's first.

    python benchmarks/boundary.py --waves 6

Two searches in turn, of the method that does nothing: one keeps its Ray between waves, one starts it afresh each time.
"""

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cluster.state.paths import SearchPaths
from cluster.state.records import load_waves

ROOT = Path(__file__).resolve().parents[1]
WAVE_TRIALS = 20
HALF_AN_HOUR_S = 1800.0
SPEC = """\
name: boundary
trainable: benchmarks.nothing
objective: {{metric: val_nothing, mode: min}}
space:
  x: {{low: 0.0, high: 1.0}}
sampler: {{name: random, seed: 0}}
report: false
budget: {{trials: {trials}}}
resources: {{cpus: 1}}
waves: {{trials: {wave_trials}, restart_ray_trials: {restart}}}
"""


def boundaries_s(waves: int, restart: int) -> list[float]:
    """Run one search and return the seconds of its boundaries."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        spec = root / "boundary.yaml"
        spec.write_text(SPEC.format(trials=waves * WAVE_TRIALS, wave_trials=WAVE_TRIALS, restart=restart))
        own = {"SWELL_ROOT": str(root / "searches"), "SWELL_CACHE": str(root / "cache"), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "swell", "run", str(spec)]
        done = subprocess.run(command, env={**os.environ, **own}, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        found = load_waves(SearchPaths(root / "searches" / "boundary"))
        return [after["began_at"] - before["ended_at"] for before, after in itertools.pairwise(found)]


def main() -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waves", type=int, default=6)
    arguments = parser.parse_args()
    table = Table("between waves", "median s", "least s", "most s", "of a wave of 30 min", box=None)
    for what, restart in (("the same Ray", 10**6), ("a new Ray", 1)):
        seconds = boundaries_s(arguments.waves, restart)
        median = statistics.median(seconds)
        share = f"{100 * median / HALF_AN_HOUR_S:.2f} %"
        table.add_row(what, f"{median:.1f}", f"{min(seconds):.1f}", f"{max(seconds):.1f}", share)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
