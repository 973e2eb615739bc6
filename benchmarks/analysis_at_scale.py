"""What the analysis of a large search costs: 6000 trials of 30 reports, each command in a process of its own.

    python -m benchmarks.analysis_at_scale [FOLDER] [--trials 6000] [--reports 30] [--runs 3] [--only compare]

FOLDER is a search that `benchmarks/large_search.py` has made; it is made first if it is not there. The first run of
each command has nothing of it in a cache of ours, the others may; times are medians. "CPU s" is what the command itself
needed, whatever else the machine did: if it is far below "seconds", the machine was busy.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.large_search import make_large

ROOT = Path(__file__).resolve().parents[1]
SWELL = (sys.executable, "-m", "swell")


@dataclass(frozen=True)
class Cost:
    """What one run of a command cost."""

    seconds: float
    cpu_s: float
    peak_mb: float


def commands(search: Path, out: Path) -> Iterator[tuple[str, tuple[str, ...], float | None]]:
    """Yield each command with its name and the seconds that it should stay below."""
    yield "swell --help", ("--help",), None
    yield "swell status", ("status", str(search)), None
    yield "swell table --top 10", ("table", str(search), "--top", "10"), 3
    yield "swell table --format csv", ("table", str(search), "--format", "csv", "-o", str(out / "table.csv")), 3
    yield "swell compare", ("compare", str(search), "-o", str(out / "compare.txt")), 20
    yield "swell report", ("report", str(search), "-o", str(out / "report.html")), 60


def measure(command: Sequence[str], environment: dict[str, str]) -> Cost:
    """Run a swell command to its end and return what it cost.

    Raises RuntimeError, with what it printed, if it failed.
    """
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [*SWELL, *command], cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, text=True
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            output.seek(0)
            raise RuntimeError(f"swell {' '.join(command)} failed:\n{output.read()}")
    return Cost(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--trials", type=int, default=6000)
    parser.add_argument("--reports", type=int, default=30)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="", help="only commands with this in their name")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="large") as scratch:
        search = options.folder or Path(scratch, "large")
        if not search.exists():
            make_large(search, options.trials, options.reports, 3, options.reports)
        environment = {**os.environ, "SWELL_ROOT": str(search.resolve().parent)}
        shown = Table(title=f"{search.name}: {options.trials} trials of {options.reports} reports")
        for column in ("command", "seconds", "of the goal", "CPU s", "first run, s", "peak MB", "writes MB"):
            shown.add_column(column, justify="left" if column == "command" else "right")
        for name, command, goal in commands(search.resolve(), Path(scratch)):
            if options.only not in name:
                continue
            costs = [measure(command, environment) for _ in range(options.runs)]
            seconds = median(cost.seconds for cost in costs)
            written = Path(command[-1]) if "-o" in command else None
            shown.add_row(
                name,
                f"{seconds:.1f}",
                f"{seconds / goal:.0%}" if goal else "",
                f"{median(cost.cpu_s for cost in costs):.1f}",
                f"{costs[0].seconds:.1f}",
                f"{max(cost.peak_mb for cost in costs):.0f}",
                f"{written.stat().st_size / 1e6:.1f}" if written else "",
            )
        Console(width=120).print(shown)


if __name__ == "__main__":
    main()
