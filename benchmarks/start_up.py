"""What starting costs: `swell status` and `swell table` on a small search, or a search until its first report.

    python -m benchmarks.start_up [FOLDER] [--trials 24] [--runs 10] [--against CHECKOUT]
    python -m benchmarks.start_up FOLDER --report [--runs 3] [--against CHECKOUT]
    python -m benchmarks.start_up --first-report [SPEC] [--report-every 1] [--runs 3] [--against CHECKOUT]

FOLDER is a search that `benchmarks/large_search.py` has made, or any other; it is made first if it is not there. With
--against, the same commands of another checkout with a `.venv` of its own are run in turn, so that both meet the same
machine; FOLDER must be one that both can read. Times are medians, the first run of each is not counted.

With --report, the report is written anew instead, as a search does at its end: that of a search with trained models has
their figures, whose programs the first run compiles.

With --first-report, SPEC (search_spaces/quickstart.yaml) is run until its first report, all programs compiled before,
and the CPU of its processes counted; with --report-every 1, the first report comes after the first step.
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
from benchmarks.first_report import ORDER, FirstReport, Used, first_report, with_reports_every
from benchmarks.large_search import make_large
from cluster.worker.environment import program_cache

LOOKS = ("status", "table")


def _trees(against: Path | None) -> dict[str, tuple[str, Path]]:
    """Return the Python and the folder of each checkout to be measured, by its name."""
    trees = {"this": (sys.executable, ROOT)}
    if against is not None:
        other = against.resolve()
        trees[other.name] = (str(other / ".venv" / "bin" / "python"), other)
    return trees


def main() -> None:
    """Run the commands in turn and print what they cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--runs", type=int)
    parser.add_argument("--against", type=Path, help="another checkout, with a .venv")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--first-report", type=Path, nargs="?", const=ROOT / "search_spaces" / "quickstart.yaml")
    parser.add_argument("--report-every", type=int)
    options = parser.parse_args()
    trees = _trees(options.against)
    if options.first_report:
        show_first_reports(options.first_report.resolve(), options.report_every, options.runs or 3, trees)
    else:
        runs = options.runs or (3 if options.report else 10)
        show_looks(options.folder, options.trials, runs, trees, ("report",) if options.report else LOOKS)


def show_looks(
    folder: Path | None, num_trials: int, runs: int, trees: dict[str, tuple[str, Path]], commands: tuple[str, ...]
) -> None:
    """Print what looking at a search costs."""
    with tempfile.TemporaryDirectory(prefix="small") as scratch:
        search = (folder or Path(scratch, "small")).resolve()
        if not search.exists():
            make_large(search, num_trials, 30, 1, 30)
        environment = {**os.environ, "SWELL_ROOT": str(search.parent), "COLUMNS": "200", **program_cache()}
        output = ("--output", str(Path(scratch, "report.html")))
        costs: dict[tuple[str, str], list[Cost]] = {}
        for _ in range(runs + 1):
            for command in commands:
                for tree, (python, checkout) in trees.items():
                    asked = (command, search.name, *(output if command == "report" else ()))
                    cost = measure(asked, environment, python, checkout)
                    costs.setdefault((command, tree), []).append(cost)
    shown = Table(title=f"{search.name}: {runs} runs in turn")
    for column in ("command", "checkout", "seconds", "CPU s", "peak MB"):
        shown.add_column(column, justify="left" if column in ("command", "checkout") else "right")
    for (command, tree), (_, *counted) in costs.items():
        seconds, cpu_s = median(one.seconds for one in counted), median(one.cpu_s for one in counted)
        peak_mb = max(one.peak_mb for one in counted)
        shown.add_row(f"swell {command}", tree, f"{seconds:.2f}", f"{cpu_s:.2f}", f"{peak_mb:.0f}")
    Console(width=100).print(shown)


def show_first_reports(spec: Path, report_every: int | None, runs: int, trees: dict[str, tuple[str, Path]]) -> None:
    """Print what a search takes until its first report."""
    found: dict[str, list[FirstReport]] = {tree: [] for tree in trees}
    with tempfile.TemporaryDirectory(prefix="warm") as scratch:
        if report_every:
            spec = with_reports_every(spec, report_every, Path(scratch))
        for _ in range(runs + 1):  # the first compiles the programs
            for tree, (python, checkout) in trees.items():
                cache = {"SWELL_CACHE": str(Path(scratch, tree))}
                found[tree].append(first_report(spec, python, checkout, cache))
    shown = Table(title=f"{spec.name} until its first report: {runs} runs in turn")
    shown.add_column("")
    for tree in trees:
        for column in ("number", "begins at s", "CPU s"):
            shown.add_column(f"{tree}: {column}", justify="right")
    for role in ORDER:
        row = [_cells([one.used[role] for one in reports[1:] if role in one.used]) for reports in found.values()]
        if any(map(any, row)):
            shown.add_row(role, *(cell for cells in row for cell in cells))
    totals = [(median(one.seconds for one in reports[1:]), reports[1:]) for reports in found.values()]
    cells = [("", f"reports at {at:.2f}", f"{median(one.cpu_s for one in counted):.2f}") for at, counted in totals]
    shown.add_row("together", *(cell for triple in cells for cell in triple))
    Console(width=160).print(shown)


def _cells(used: list[Used]) -> tuple[str, str, str]:
    if not used:
        return "", "", ""
    number = max(one.number for one in used)
    begun, cpu_s = median(one.began_s for one in used), median(one.cpu_s for one in used)
    return str(number), f"{begun:.2f}", f"{cpu_s:.2f}"


if __name__ == "__main__":
    main()
