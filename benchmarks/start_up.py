"""What looking at a small search costs: `swell status` and `swell table`, each in a process of its own.

    python -m benchmarks.start_up [FOLDER] [--trials 24] [--runs 10] [--against CHECKOUT]

FOLDER is a search that `benchmarks/large_search.py` has made, or any other; it is made first if it is not there. With
--against, the same commands of another checkout with a `.venv` of its own are run in turn, so that both meet the same
machine; FOLDER must be one that both can read. Times are medians, the first run of each is not counted.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.analysis_at_scale import ROOT, Cost, measure
from benchmarks.large_search import make_large

COMMANDS = ("status", "table")


def main() -> None:
    """Run the commands in turn and print what they cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--against", type=Path, help="another checkout, with a .venv")
    options = parser.parse_args()
    trees = {"this": (sys.executable, ROOT)}
    if options.against:
        other = options.against.resolve()
        trees[other.name] = (str(other / ".venv" / "bin" / "python"), other)
    with tempfile.TemporaryDirectory(prefix="small") as scratch:
        search = (options.folder or Path(scratch, "small")).resolve()
        if not search.exists():
            make_large(search, options.trials, 30, 1, 30)
        environment = {**os.environ, "SWELL_ROOT": str(search.parent), "COLUMNS": "200"}
        costs: dict[tuple[str, str], list[Cost]] = {}
        for _ in range(options.runs + 1):
            for command in COMMANDS:
                for tree, (python, folder) in trees.items():
                    cost = measure((command, search.name), environment, python, folder)
                    costs.setdefault((command, tree), []).append(cost)
    shown = Table(title=f"{search.name}: {options.runs} runs in turn")
    for column in ("command", "checkout", "seconds", "CPU s", "peak MB"):
        shown.add_column(column, justify="left" if column in ("command", "checkout") else "right")
    for (command, tree), (_, *counted) in costs.items():
        seconds, cpu_s = median(one.seconds for one in counted), median(one.cpu_s for one in counted)
        peak_mb = max(one.peak_mb for one in counted)
        shown.add_row(f"swell {command}", tree, f"{seconds:.2f}", f"{cpu_s:.2f}", f"{peak_mb:.0f}")
    Console(width=100).print(shown)


if __name__ == "__main__":
    main()
